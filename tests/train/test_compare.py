"""Comparisons: what is refused before any training, how a budget is shared, and one end to end."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pandas
import pytest
import yaml
from safetensors.torch import save_file

from cocosnet_hf import DistilledVGG19Features
from cocosnet_hf.settings_file import build
from tests.support import tiny
from tests.support.paths import CONFIGS
from tests.support.training import SETTINGS
from train.compare import (
    Budget,
    Comparison,
    as_overrides,
    compare,
    evaluation_settings,
    forget,
    main,
    require_fair,
    schedule_of,
    seconds_per_step,
    stages_by_system,
    what_changes,
)
from train.compare_page import Ablated
from train.config import ScheduleConfig, read_files

pytestmark = pytest.mark.usefixtures("fresh_process")

QUIET = {
    "log_every": 0,
    "grid_every": 0,
    "validate_every": 0,
    "checkpoint_every": 0,
    "check_rows": 0,
}
CONDITION = SETTINGS["networks"]["condition"]
NETWORKS: dict[str, dict[str, Any]] = {
    "pix2pix": {
        "generator": {"base_channels": 4, "levels": 4},
        "discriminator": {"base_channels": 4, "halvings": 1},
    },
    "bicyclegan": tiny.BICYCLEGAN_SETTINGS,
}


def written(folder: Path, **changes: Any) -> Path:
    """A comparison of two tiny systems."""
    for name, networks in NETWORKS.items():
        recipe = {"system": name, "output_dir": "out", "networks": networks}
        recipe["schedule"] = {"constant": 6, "decay": 2}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    data = {name: value for name, value in SETTINGS["data"].items() if name != "batch_size"}
    values: dict[str, Any] = {
        "output_dir": str(folder / "out"),
        "budget": {"pictures": 16},
        "data": data,
        "settings": {"networks": {"condition": CONDITION}, "output": QUIET},
        "systems": {
            "bicyclegan": {"config": ["bicyclegan.yaml"], "settings": {"data": {"batch_size": 4}}},
            "pix2pix": {"config": ["pix2pix.yaml"], "settings": {"data": {"batch_size": 2}}},
        },
        "evaluation": {
            "exemplars": "column",
            "limit": 4,
            "extractors": ["colours=tests.support.baselines:colours"],
            "perceptual": None,
            "lpips": False,
            "diversity": 0,
        },
        "sheet": 2,
    }
    path = folder / "compare.yaml"
    path.write_text(yaml.safe_dump(values | changes))
    return path


def read(path: Path) -> Comparison:
    return build(Comparison, read_files(path), "")


def test_a_budget_is_one_of_three_and_above_0():
    for wrong in ({}, {"steps": 3, "minutes": 1}, {"pictures": 0}, {"minutes": -1.0}):
        with pytest.raises(ValueError, match="one of steps, pictures and minutes, above 0"):
            Budget(**wrong)
    assert str(Budget(pictures=2400)) == "2,400 pictures seen"


def test_pictures_become_steps_by_the_batches_of_each_system(tmp_path: Path):
    path = written(tmp_path)
    systems = stages_by_system(read(path), tmp_path)
    steps = {
        name: Budget(pictures=16).steps_of(stage.config, 1.0) for name, (stage,) in systems.items()
    }
    assert steps == {"bicyclegan": 4, "pix2pix": 8}
    stage = systems["pix2pix"][0]
    assert Budget(steps=9).steps_of(stage.config, 1 / 3) == 3
    assert Budget(steps=1).steps_of(stage.config, 1 / 3) == 1


def test_a_schedule_keeps_the_share_in_which_its_rates_fall():
    made = schedule_of(ScheduleConfig("epoch", 30, 10, patience=3), 100)
    assert made == ScheduleConfig("step", 75, 25)
    assert schedule_of(ScheduleConfig("step", 0, 7), 3) == ScheduleConfig("step", 0, 3)


def test_minutes_become_steps_that_fit_into_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = stages_by_system(read(written(tmp_path)), tmp_path)["pix2pix"][0].config
    monkeypatch.setattr("train.compare.seconds_per_step", lambda _: 0.5)
    assert Budget(minutes=2).steps_of(config, 1.0) == 240
    assert Budget(minutes=2).steps_of(config, 0.25) == 60


def test_settings_of_all_lie_on_each_recipe_and_its_own_on_both(tmp_path: Path):
    systems = stages_by_system(read(written(tmp_path)), tmp_path)
    configs = {name: stage.config for name, (stage,) in systems.items()}
    assert {name: config.system for name, config in configs.items()} == {
        name: name for name in NETWORKS
    }
    assert all(config.data.image_size == 32 for config in configs.values())
    assert all(config.networks.condition["type"] == "mask" for config in configs.values())
    assert configs["bicyclegan"].data.batch_size == 4
    assert configs["pix2pix"].output_dir == str(tmp_path / "out/systems/pix2pix")
    settings = evaluation_settings(read(written(tmp_path)), systems)
    assert settings.pipeline == str(tmp_path / "out/systems/bicyclegan/pipeline")
    assert settings.baselines == (f"pix2pix={tmp_path}/out/systems/pix2pix/pipeline", "exemplar")
    assert (settings.data.split, settings.train_split) == ("test", "train")


def test_an_evaluation_has_a_folder_for_each_way_of_measuring_alone(tmp_path: Path):
    def folder(**changes: Any) -> str:
        comparison = read(written(tmp_path, **changes))
        return evaluation_settings(comparison, stages_by_system(comparison, tmp_path)).output

    values = read_files(written(tmp_path))
    fewer = {"bicyclegan": values["systems"]["bicyclegan"]}
    assert folder(systems=fewer) == folder()
    assert folder(evaluation=values["evaluation"] | {"limit": 3}) != folder()


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"data": {"load_size": 40}}, "data.load_size is 36 in bicyclegan and 40 in pix2pix"),
        ({"diff_augment": True}, "diff_augment is False in bicyclegan and True in pix2pix"),
        ({"networks": {"condition": {"type": "edge"}}}, "networks.condition is"),
    ],
)
def test_trainings_on_other_data_or_augmentation_are_refused(
    own: dict[str, Any], message: str, tmp_path: Path
):
    systems = read_files(written(tmp_path))["systems"]
    systems["pix2pix"] = {"config": ["pix2pix.yaml"], "settings": own}
    comparison = read(written(tmp_path, systems=systems))
    with pytest.raises(ValueError, match=message):
        require_fair(comparison, stages_by_system(comparison, tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation": {"split": "train[:9]"}}, "shares photos with data.split 'train'"),
        ({"systems": {}}, "systems must name what is compared"),
        ({"systems": {"target": {"config": []}}}, "systems.target: a name is letters"),
        ({"systems": {"a": {"config": ["pix2pix.yaml"], "x": 1}}}, "unknown setting systems.a.x"),
        ({"systems": {"a": {"config": ["none.yaml"]}}}, "none.yaml"),
        ({"budget": {"hours": 1}}, "unknown setting budget.hours"),
        ({"ablations": {"a": {"of": "b"}}}, "ablations.a.of must be one of the systems (bicycleg"),
        ({"ablations": {"pix2pix": {"of": "pix2pix"}}}, "under another name, got pix2pix"),
        ({"ablations": {"a": {"of": "pix2pix"}}}, "ablations.a changes nothing of pix2pix"),
        (
            {"ablations": {"a": {"of": "pix2pix", "settings": {"data": {"load_size": 40}}}}},
            "data.load_size is 36 in bicyclegan and 40 in a",
        ),
    ],
)
def test_a_recipe_that_compares_nothing_ends_at_once_with_its_remedy(
    changes: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as end:
        main([str(written(tmp_path, **changes))])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_condition_is_one_setting():
    settings = {"networks": {"condition": {"type": "edge"}, "x": None}, "ema": 0.5}
    assert list(as_overrides(settings)) == [
        '--networks.condition={"type": "edge"}',
        "--networks.x=null",
        "--ema=0.5",
    ]


@pytest.mark.parametrize("path", [*(CONFIGS / "compare").iterdir()], ids=lambda path: path.stem)
def test_the_recipes_of_the_package_are_fair(path: Path):
    comparison = read(path)
    systems = stages_by_system(comparison, path.parent)
    require_fair(comparison, systems)
    chosen = [systems[name][0].config.system for name in comparison.systems]
    assert [name.replace("_", "-") for name in chosen] == list(comparison.systems)


def test_a_stage_on_smaller_pictures_stays_smaller_by_the_same_share(tmp_path: Path):
    """pix2pixHD begins at half the size: at the comparison's it would learn another coarse body."""
    system = {"config": [str(CONFIGS / "pix2pixhd.yaml")]}
    comparison = read(written(tmp_path, systems={"pix2pixhd": system}))
    systems = stages_by_system(comparison, tmp_path)
    sizes = [(s.config.data.image_size, s.config.data.load_size) for s in systems["pix2pixhd"]]
    assert sizes == [(16, 18), (32, 36), (32, 36)]
    require_fair(comparison, systems)
    last = dataclasses.replace(systems["pix2pixhd"][-1], config=systems["pix2pixhd"][0].config)
    with pytest.raises(ValueError, match="data.image_size is 32 in small and 16 in pix2pixhd"):
        require_fair(comparison, {"small": systems["pix2pixhd"][1:2], "pix2pixhd": [last]})


def test_the_supplements_ablations_change_a_line_each():
    path = CONFIGS / "compare/ablations.yaml"
    comparison = read(path)
    assert what_changes(comparison, stages_by_system(comparison, path.parent)) == {
        "batch-norm": Ablated("cocosnet", "networks.translation.norm was the default, is batch"),
        "position-wise": Ablated(
            "cocosnet", "networks.correspondence.centring was the default, is positions"
        ),
    }


def test_an_ablation_lies_on_all_that_its_system_has(tmp_path: Path):
    ablations = {"a": {"of": "bicyclegan", "config": ["layer.yaml"], "settings": {"ema": 0.5}}}
    path = written(tmp_path, ablations=ablations)
    (tmp_path / "layer.yaml").write_text("perceptual_shift: 2")
    systems = stages_by_system(read(path), tmp_path)
    (stage,) = systems["a"]
    assert stage.config.system == "bicyclegan" and stage.config.data.batch_size == 4
    assert (stage.config.ema, stage.config.perceptual_shift) == (0.5, 2)
    assert stage.config.output_dir == str(tmp_path / "out/systems/a")
    changes = "ema was 0.999, is 0.5; perceptual_shift was 0, is 2"
    assert what_changes(read(path), systems) == {"a": Ablated("bicyclegan", changes)}
    settings = evaluation_settings(read(path), systems)
    assert [one.partition("=")[0] for one in settings.baselines] == ["pix2pix", "a", "exemplar"]


@pytest.mark.slow
def test_two_systems_are_trained_measured_and_shown_and_nothing_is_done_twice(tmp_path: Path):
    weights = tmp_path / "perceptual.safetensors"
    save_file(DistilledVGG19Features().state_dict(), weights)
    measured = read_files(written(tmp_path))["evaluation"]
    measured["perceptual"] = f"VGG19-distilled={weights}"
    flat = {"of": "pix2pix", "settings": {"networks": {"generator": {"skips": False}}}}
    path = written(tmp_path, evaluation=measured, ablations={"flat": flat})
    comparison, out = read(path), tmp_path / "out"
    ((stage,), *_) = stages_by_system(comparison, tmp_path).values()
    assert seconds_per_step(stage.config) > 0 and not out.exists()
    page = compare(comparison, tmp_path)
    assert page == out / "compare.html"
    found = json.loads((out / "compare.json").read_text())
    assert {name: one["pictures"] for name, one in found["systems"].items()} == {
        "bicyclegan": 16,
        "pix2pix": 16,
        "flat": 16,
    }
    tables = found["tables"]
    quality, consistency = tables["Image quality"], tables["Semantic consistency"]
    assert list(quality) == list(consistency) == ["bicyclegan", "pix2pix", "exemplar"]
    assert all({"FD-colours", "KID-colours", "SWD"} <= set(one) for one in quality.values())
    assert list(tables["Style relevance"]) == ["bicyclegan"]  # pix2pix reads no exemplar
    ablated = tables["Ablations of pix2pix"]
    assert list(ablated) == ["pix2pix", "flat"] and ablated["pix2pix"] != ablated["flat"]
    for title in ("Image quality", "Semantic consistency"):
        assert tables[title]["pix2pix"].items() <= ablated["pix2pix"].items()
    text = page.read_text()
    assert "networks.generator.skips was the default, is False" in text
    worst = text.partition("all but the worst 10 % of the pictures reach")[2]
    scores = pandas.concat(map(pandas.read_parquet, out.glob("evaluation-*/scores/flat/*.parquet")))
    values = scores[scores["format"] == "png"]["semantic_consistency-VGG19-distilled"]
    assert f"<td>{values.quantile(0.1):.4g}</td>" in worst.partition("</table>")[0]
    for part in ("Image quality", "sheet.png", "16 pictures seen each", "seen by none"):
        assert part in text
    assert (out / "compare.md").is_file() and (out / "sheet.png").is_file()
    kept = {
        file: file.stat().st_mtime_ns
        for pattern in ("systems/*/pipeline/**/*.safetensors", "evaluation-*/scores/*/*.parquet")
        for file in out.glob(pattern)
    }
    assert len(kept) > 4
    compare(dataclasses.replace(comparison, sheet=0), tmp_path)
    assert "sheet.png" not in page.read_text()
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    with pytest.raises(ValueError, match="trained otherwise: budget.pictures was 16, is 20"):
        compare(dataclasses.replace(comparison, budget=Budget(pictures=20)), tmp_path)
    (scores,) = out.glob("evaluation-*/scores/pix2pix")
    shutil.rmtree(out / "systems/pix2pix")
    forget(comparison, "pix2pix")  # as the training of what is missing does
    assert not scores.exists() and scores.with_name("pipeline").exists()
