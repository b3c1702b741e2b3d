"""What a run's networks start from."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cocosnet_hf import CoCosPipeline, MaskCondition
from cocosnet_hf.bundled import locate
from tests.support import tiny
from tests.support.paths import CONFIGS
from tests.support.training import made_system, write_config
from train.config import TrainConfig, load_config
from train.networks import build_system, export_pipeline


def test_a_run_that_starts_from_a_pipeline_trains_all_three_networks(tmp_path: Path):
    system = made_system()
    export_pipeline(system, system.networks, tmp_path / "made")
    chosen = load_config(write_config(tmp_path), [f"--networks.init_from={tmp_path / 'made'}"])
    loaded = build_system(chosen).networks
    for network, other in zip(system.networks.values(), loaded.values(), strict=True):
        assert other.training
        for key, value in network.state_dict().items():
            assert torch.equal(other.state_dict()[key], value)


def test_networks_of_which_no_pipeline_can_be_made_are_refused_before_they_learn():
    with pytest.raises(ValueError, match="matching_scale must be 1, 2 or 4, and 1 unless"):
        build_system(load_config(CONFIGS / "quickstart.yaml", ["--data.matching_scale=2"]))


def test_a_run_starts_from_a_bundled_pipeline_by_its_name():
    chosen = load_config(CONFIGS / "edge-to-face.yaml", ["--networks.init_from=edge-to-face"])
    networks = build_system(chosen).networks
    source, variant = locate("edge-to-face")
    expected = CoCosPipeline.from_pretrained(source, variant=variant).translation.state_dict()
    found = networks["translation"].state_dict()
    assert networks["translation"].training
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == torch.float32
        assert torch.equal(found[key], value)


def saved_for_masks(folder: Path) -> CoCosPipeline:
    pipe = tiny.pipeline(MaskCondition.from_names(["a", "b"]), mix_condition=False)
    pipe.save_pretrained(folder)
    return pipe


def transfer_config(folder: Path, **translation: Any) -> TrainConfig:
    networks = {
        "transfer_from": str(folder / "masks"),
        "condition": {"type": "pose"},
        "correspondence": {
            "base_channels": 4,
            "feature_channels": 8,
            "spade_channels": 6,
            "num_adaptor_blocks": 2,
            "num_residual_blocks": 1,
            "mix_condition": False,
        },
        "translation": {"channels": [12, 10, 8, 6], "spade_channels": 6} | translation,
    }
    return load_config(write_config(folder, networks=networks))


def test_weights_transferred_to_another_condition_paint_and_look_as_before(tmp_path: Path):
    source = saved_for_masks(tmp_path / "masks")
    system = build_system(transfer_config(tmp_path))
    warped, exemplar = torch.rand(2, 1, 3, 32, 32)
    pose = torch.rand(1, system.condition.channels, 32, 32)
    painted = system.networks["translation"].eval()(warped, pose)
    torch.testing.assert_close(painted, source.translation(warped, torch.zeros(1, 2, 32, 32)))
    adaptor, other = (
        system.networks["correspondence"].exemplar_adaptor,
        source.correspondence.exemplar_adaptor,
    )
    torch.testing.assert_close(adaptor.eval()(exemplar), other(exemplar))


def test_a_transfer_between_unlike_networks_is_an_error_that_names_the_layers(tmp_path: Path):
    saved_for_masks(tmp_path / "masks")
    with pytest.raises(ValueError, match=r"translation: its networks have other settings.*blocks"):
        build_system(transfer_config(tmp_path, channels=[12, 10, 8, 8]))
    with pytest.raises(ValueError, match="give one of them"):
        load_config(write_config(tmp_path, networks={"init_from": "a", "transfer_from": "b"}))


@pytest.mark.slow
def test_a_pipeline_of_another_condition_is_refused_with_both_ways_out(tmp_path: Path):
    system = made_system()
    export_pipeline(system, system.networks, tmp_path / "made")
    start = [f"--networks.init_from={tmp_path / 'made'}"]
    other = ["--networks.condition={type: mask, classes: [a, c]}"]
    with pytest.raises(ValueError, match="another condition than this run: classes differ. Start"):
        build_system(load_config(write_config(tmp_path), start + other))
    same = ["--networks.condition={type: mask, classes: [a, b]}"]
    assert build_system(load_config(write_config(tmp_path), start + same)).condition.classes


def test_a_transfer_takes_the_settings_over_that_the_run_does_not_say(tmp_path: Path):
    pipe = saved_for_masks(tmp_path / "masks")
    networks = {"transfer_from": str(tmp_path / "masks"), "condition": {"type": "edge"}}
    system = build_system(load_config(write_config(tmp_path, networks=networks)))
    for name in ("correspondence", "translation"):
        source = getattr(pipe, name).config
        keys = [key for key in source if key[0] != "_" and key != "condition_channels"]
        # As JSON, which has no tuples.
        made, wanted = (
            json.dumps([found[key] for key in keys])
            for found in (system.networks[name].config, source)
        )
        assert keys and made == wanted
    content = system.networks["translation"].state_dict()["output_conv.weight"]
    assert torch.equal(content, pipe.translation.state_dict()["output_conv.weight"])


def test_pictures_of_a_size_that_networks_do_not_take_are_refused_with_the_nearest():
    sizes = ["--data.image_size=100", "--data.load_size=110"]
    with pytest.raises(
        ValueError, match="image_size must be a multiple of 16.*got 100; take 96 or"
    ):
        build_system(load_config(CONFIGS / "quickstart.yaml", sizes))
