"""Checkpoints: kept, resumed, refused."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support import tiny
from tests.support.disk import full_disk
from tests.support.training import made_system
from train import checkpoints
from train.checkpoints import (
    complete_folder,
    find_checkpoint,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
    upgrade,
)
from train.config import MAY_CHANGE_ON_RESUME
from train.networks import export_pipeline
from train.trainer import require_same_data


def test_a_checkpoint_comes_back_and_old_ones_go(tmp_path: Path):
    config = {"seed": 1, "output": {"keep": 2}}
    for step in (1, 2, 30):
        save_checkpoint(tmp_path, step, {"weight": torch.tensor(step)}, config, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "checkpoint-00000002",
        "checkpoint-00000030",
    ]
    step, state = load_checkpoint(find_checkpoint(tmp_path, "latest"), config, ())
    assert (step, state["weight"].item()) == (30, 30)


def test_a_half_written_checkpoint_is_never_picked_up(tmp_path: Path):
    save_checkpoint(tmp_path, 1, {}, {}, keep=3)
    with pytest.raises(KeyboardInterrupt):
        with complete_folder(tmp_path / "checkpoint-00000002") as folder:
            (folder / "state.pt").write_bytes(b"half")
            assert find_checkpoint(tmp_path, "latest").name == "checkpoint-00000001"
            raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000001"]


def test_what_a_killed_process_left_behind_is_overwritten(tmp_path: Path):
    (tmp_path / ".checkpoint-00000001.writing").mkdir()
    (tmp_path / ".checkpoint-00000001.writing" / "junk").touch()
    path = save_checkpoint(tmp_path, 1, {}, {}, keep=1)
    assert sorted(item.name for item in path.iterdir()) == ["run.json", "state.pt"]


def test_a_full_disk_keeps_what_was_saved_and_names_the_remedy(tmp_path: Path):
    save_checkpoint(tmp_path, 1, {}, {}, keep=1)
    large = {"weight": torch.rand(100_000)}
    with full_disk(), pytest.raises(OSError, match="free some space.*--resume latest"):
        save_checkpoint(tmp_path, 2, large, {}, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000001"]


def test_a_full_disk_leaves_the_pipeline_that_was_exported_before(tmp_path: Path):
    system = made_system()
    target = tmp_path / "best"
    export_pipeline(system, system.networks, target)
    before = sorted(path.stat().st_mtime_ns for path in target.rglob("*"))
    with full_disk(10_000), pytest.raises(OSError, match=r"could not write .*best: .*free some"):
        export_pipeline(system, system.networks, target)
    assert sorted(path.stat().st_mtime_ns for path in target.rglob("*")) == before


def test_a_checkpoint_of_before_systems_is_of_the_first_and_has_an_optimiser_for_each_network(
    tmp_path: Path,
):
    path = save_checkpoint(tmp_path, 1, {}, {"ema": 0.9}, keep=1)
    assert load_checkpoint(path, {"ema": 0.9, "system": "cocosnet"}, ()) == (1, {})
    with pytest.raises(ValueError, match="system was 'cocosnet'"):
        load_checkpoint(path, {"ema": 0.9, "system": "style_vector"}, ())
    made = [tiny.correspondence(), tiny.translation()]
    joint = torch.optim.Adam([{"params": list(network.parameters())} for network in made], lr=0.1)
    for network in made:
        for parameter in network.parameters():
            parameter.grad = torch.rand_like(parameter)
    joint.step()
    state = {"optimizers": {"generator": joint.state_dict()}, "scaler": None}
    found = upgrade(state)
    assert found["optimizers"].keys() == {"correspondence", "translation"}
    for name, network in zip(("correspondence", "translation"), made, strict=True):
        own = torch.optim.Adam(network.parameters())
        own.load_state_dict(found["optimizers"][name])
        for parameter in network.parameters():
            assert own.state[parameter]["step"] == 1
            assert torch.equal(own.state[parameter]["exp_avg"], joint.state[parameter]["exp_avg"])
    assert upgrade(found) is found


def test_a_checkpoint_of_before_settings_were_renamed_is_resumed(tmp_path: Path):
    before = {"data": {"color": 0.3, "warp": 0.1}, "optimizer": {"generator_rate": 1e-4}}
    now = {"data": {"color_jitter": 0.3, "elastic": 0.1}, "optimizer": {"generator_lr": 1e-4}}
    path = save_checkpoint(tmp_path, 1, {}, before, keep=1)
    assert load_checkpoint(path, now, ()) == (1, {})
    now["data"]["elastic"] = 0.2
    with pytest.raises(ValueError, match=r"data\.elastic was 0\.1"):
        load_checkpoint(path, now, ())


def test_a_checkpoint_of_before_weights_decayed_is_of_a_run_in_which_they_do_not(tmp_path: Path):
    path = save_checkpoint(tmp_path, 1, {}, {"optimizer": {"generator_lr": 1.0}}, keep=1)
    now = {"optimizer": {"generator_lr": 1.0, "weight_decay": 0.0}}
    assert load_checkpoint(path, now, ()) == (1, {})
    now["optimizer"]["weight_decay"] = 1e-4
    with pytest.raises(ValueError, match="optimizer.weight_decay was 0.0"):
        load_checkpoint(path, now, ())


def test_a_checkpoint_of_before_systems_had_options_is_resumed_with_the_same_ones(tmp_path: Path):
    off = {"crop": 0, "networks": {"freeze_correspondence": False}, "schedule": {"mask_warmup": 0}}
    path = save_checkpoint(tmp_path, 1, {}, off, keep=3)
    rest: dict[str, Any] = {"networks": {}, "schedule": {}}
    assert load_checkpoint(path, rest | {"system_options": {}}, ()) == (1, {})  # of another system
    options = {"crop": 0, "freeze_correspondence": False, "mask_warmup": 0}
    assert load_checkpoint(path, rest | {"system_options": options}, ()) == (1, {})
    with pytest.raises(ValueError, match=r"system_options\.crop was 0"):
        load_checkpoint(path, rest | {"system_options": options | {"crop": 64}}, ())

    on = {"crop": 64, "networks": {"freeze_correspondence": True}, "schedule": {"mask_warmup": 0}}
    path = save_checkpoint(tmp_path, 2, {}, on, keep=3)
    options |= {"crop": 64, "freeze_correspondence": True}
    assert load_checkpoint(path, rest | {"system_options": options}, ()) == (2, {})
    with pytest.raises(ValueError, match=r"freeze_correspondence was True"):
        load_checkpoint(
            path, rest | {"system_options": options | {"freeze_correspondence": False}}, ()
        )


def test_a_run_with_other_settings_is_not_resumed(tmp_path: Path):
    path = save_checkpoint(tmp_path, 1, {}, {"ema": 0.9, "output": {"keep": 2}}, keep=1)
    now = {"ema": 0.99, "output": {"keep": 5}}
    with pytest.raises(ValueError, match="ema was 0.9"):
        load_checkpoint(path, now, ("output.",))
    assert load_checkpoint(path, now, ("output.", "ema"))[0] == 1
    assert load_checkpoint(path, now | {"processes": 1}, ("output.", "ema"))[0] == 1


def test_going_on_before_newer_checkpoints_is_refused(tmp_path: Path):
    paths = [save_checkpoint(tmp_path, step, {}, {}, keep=3) for step in (2, 4)]
    assert find_checkpoint(tmp_path, str(paths[1])) == paths[1]
    with pytest.raises(FileExistsError, match="newer checkpoints, up to checkpoint-00000004"):
        find_checkpoint(tmp_path, str(paths[0]))
    assert find_checkpoint(tmp_path / "other", str(paths[0])) == paths[0]


def test_a_path_without_checkpoint_is_refused(tmp_path: Path):
    assert find_checkpoint(tmp_path, "latest") is None
    with pytest.raises(FileNotFoundError, match="is no checkpoint"):
        find_checkpoint(tmp_path, str(tmp_path / "elsewhere"))


def test_a_damaged_checkpoint_gives_way_to_the_one_before_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told: list[str] = []
    monkeypatch.setattr(checkpoints.logger, "warning", told.append)
    for step in (1, 2):
        save_checkpoint(tmp_path, step, {"weight": torch.rand(1000)}, {}, keep=3)
    newest = tmp_path / "checkpoint-00000002/state.pt"
    newest.write_bytes(newest.read_bytes()[:2000])
    found = find_checkpoint(tmp_path, "latest")
    assert found is not None and found.name == "checkpoint-00000001"
    assert len(told) == 1 and "checkpoint-00000002 is damaged" in told[0]
    with pytest.raises(ValueError, match=r"00000002/state\.pt cannot be read.*the one before"):
        load_checkpoint(newest.parent, {}, ())
    (tmp_path / "checkpoint-00000001/state.pt").unlink()
    with pytest.raises(ValueError, match="every checkpoint in .* is damaged"):
        find_checkpoint(tmp_path, "latest")
    assert find_checkpoint(tmp_path / "mistyped", "latest") is None
    assert "no checkpoint in" in told[-1] and "mistyped" in told[-1]


def test_others_can_read_what_is_written(tmp_path: Path):
    system = made_system()
    before = os.umask(0o022)
    try:
        export_pipeline(system, system.networks, tmp_path / "best")
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "best").rglob("*") if path.is_file()]
    assert any(path.suffix == ".safetensors" for path in files)
    assert {path.stat().st_mode & 0o777 for path in files} == {0o644}


def test_data_may_move_between_runs_and_not_change(tmp_path: Path):
    path = save_checkpoint(tmp_path, 1, {}, {"data": {"source": "there", "flip": 0.5}}, keep=1)
    moved = {"data": {"source": "here", "flip": 0.5}}
    assert load_checkpoint(path, moved, MAY_CHANGE_ON_RESUME)[0] == 1
    with pytest.raises(ValueError, match=r"data\.flip was 0\.5"):
        load_checkpoint(path, {"data": {"source": "here", "flip": 0}}, MAY_CHANGE_ON_RESUME)
    require_same_data(None, 7)
    require_same_data(7, 7)
    with pytest.raises(ValueError, match="a run on 7 photos, .* have 8: name the same data"):
        require_same_data(7, 8)
