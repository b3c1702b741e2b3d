"""Recipes with stages: how they are read, and whole runs of two short ones."""

import filecmp
import shutil
import signal
import weakref
from pathlib import Path
from typing import Any

import pytest
import yaml

from cocosnet_hf import CoCosPipeline
from tests.support.paths import REPOSITORY
from tests.support.processes import two_commands
from tests.support.training import SETTINGS, differences, last_state
from train.config import load_config
from train.stages import Stage, load_stages
from train.train import main, train_stages
from train.trainer import Trainer

pytestmark = pytest.mark.usefixtures("fresh_process")

NEVER = ("log_every", "grid_every", "validate_every", "check_rows")
QUIET = dict.fromkeys(NEVER, 0) | {"checkpoint_every": 1}
STAGES: list[dict[str, Any]] = [
    {"name": "matching", "losses": {"self_pixel": 0}},
    {"name": "painter", "data": {"color_jitter": 0.1}, "speed": {"mixed_precision": "bf16"}},
]


def recipe(folder: Path, stages: Any = STAGES, **settings: Any) -> Path:
    path = folder / "recipe.yaml"
    short = {"schedule": {"constant": 2, "decay": 0}, "output": QUIET}
    every = {"output_dir": str(folder / "run"), "stages": stages} | SETTINGS | short | settings
    path.write_text(yaml.safe_dump(every))
    return path


def weights(run: Path) -> dict[str, Any]:
    return {name: last_state(run)[name] for name in ("networks", "averages", "optimizers")}


# Reading -----------------------------------------------------------------------------------------


def test_a_stage_lies_on_the_recipe_and_the_command_line_on_both(tmp_path: Path):
    path = recipe(tmp_path, output=QUIET | {"push_to_hub": "someone/faces"})
    first, second = load_stages(path, ["--schedule.constant=3", "--losses.cycle=2"])
    assert (first.name, second.name) == ("matching", "painter")
    assert (first.config.losses.self_pixel, second.config.losses.self_pixel) == (0, 1)
    assert (first.config.data.color_jitter, second.config.data.color_jitter) == (0.3, 0.1)
    for stage in (first, second):
        assert (stage.config.schedule.constant, stage.config.losses.cycle) == (3, 2)
        assert stage.config.output_dir == str(tmp_path / "run" / stage.name)
    assert (first.config.output.push_to_hub, second.config.output.push_to_hub) == (
        None,
        "someone/faces",
    )
    assert (first.copy_to, second.copy_to) == (None, tmp_path / "run/pipeline")


def starts(stages: list[Stage]) -> list[tuple[str | None, str | None]]:
    chosen = [stage.config.networks for stage in stages]
    return [(networks.init_from, networks.transfer_from) for networks in chosen]


def test_a_stage_starts_with_the_pipeline_before_unless_it_says_otherwise(tmp_path: Path):
    networks = SETTINGS["networks"] | {"transfer_from": "edge-to-face"}
    own: list[dict[str, Any]] = [
        {"init_from": "there"},
        {"transfer_from": "x"},
        {"init_from": None},
    ]
    stages = [{"name": "a"}, {"name": "b"}]
    stages += [{"name": f"own-{i}", "networks": value} for i, value in enumerate(own)]
    path = recipe(tmp_path, stages, networks=networks)
    other = [("there", None), (None, "x"), (None, None)]
    before = (str(tmp_path / "run/a/pipeline"), None)
    assert starts(load_stages(path)) == [(None, "edge-to-face"), before, *other]
    given = ["--networks.transfer_from=null", "--networks.init_from=given"]
    assert starts(load_stages(path, given)) == [("given", None), before, *other]
    assert starts(load_stages(path, given, only="b")) == [("given", None)]


def test_a_recipe_without_stages_is_one_run_without_a_name(tmp_path: Path):
    path = recipe(tmp_path)
    plain = yaml.safe_load(path.read_text())
    plain.pop("stages")
    without = tmp_path / "plain.yaml"
    without.write_text(yaml.safe_dump(plain))
    assert load_stages(without, ["--seed=3"]) == [Stage(None, load_config(without, ["--seed=3"]))]
    assert load_config(path) == load_config(without)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], r"stages must be a list of groups of settings, got \[\]"),
        ({"name": "a"}, "stages must be a list"),
        (["a"], "stage 1 must be a group of settings with a `name` .*, got 'a'"),
        ([{"name": "a"}, {"seed": 1}], "stage 2 must be a group of settings with a `name`"),
        ([{"name": "a b"}], "letters, digits and hyphens, .*, got 'a b'"),
        ([{"name": "pipeline"}], "which is not 'pipeline', got 'pipeline'"),
        ([{"name": "a"}, {"name": "a"}], "two stages are called 'a'"),
        ([{"name": "a", "losses": {"cicle": 1}}], "stage 'a': unknown setting losses.cicle; did"),
        ([{"name": "a", "stages": []}], "stage 'a': unknown setting stages"),
        ([{"name": "a", "data": 3}], "stage 'a': data must be a group"),
        ([{"name": "a", "output_dir": "b"}], "stage 'a': output_dir is the recipe's"),
    ],
)
def test_mistaken_stages_are_errors_that_name_them(stages: Any, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        load_stages(recipe(tmp_path, stages))


def test_a_stage_that_cannot_be_run_alone_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = recipe(tmp_path)
    with pytest.raises(ValueError, match="no stage 'draw'; the stages are matching, painter"):
        load_stages(path, only="draw")
    with pytest.raises(ValueError, match="'painter' starts with .*: run stage 'matching' first"):
        load_stages(path, only="painter")
    with pytest.raises(ValueError, match="no stage 'painter': the recipe has no stages"):
        load_stages(REPOSITORY / "train/configs/quickstart.yaml", only="painter")
    with pytest.raises(SystemExit):
        main(["--config", str(path), "--resume", "checkpoint-00000001"])
    assert "a checkpoint is of one stage" in capsys.readouterr().err


def test_a_dry_run_prints_every_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    main(["--config", str(recipe(tmp_path)), "--dry-run"])
    printed = capsys.readouterr().out
    assert printed.count("# translation: ") == 2 and "# stage painter\n" in printed
    runs = list(yaml.safe_load_all(printed))
    assert [run["losses"]["self_pixel"] for run in runs] == [0, 1]
    assert runs[1]["networks"]["init_from"] == str(tmp_path / "run/matching/pipeline")
    assert not (tmp_path / "run").exists()


# Running -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_command_runs_both_stages_and_the_second_starts_with_the_firsts_weights(
    tmp_path: Path,
):
    handler = signal.getsignal(signal.SIGTERM)
    frozen = STAGES[1] | {"optimizer": {"generator_lr": 0}}
    path = recipe(tmp_path, [STAGES[0], frozen])
    main(["--config", str(path)])
    assert signal.getsignal(signal.SIGTERM) == handler
    run = tmp_path / "run"
    first, second, last = (
        CoCosPipeline.from_pretrained(folder)
        for folder in (run / "matching/pipeline", run / "painter/pipeline", run / "pipeline")
    )
    for name in ("correspondence", "translation"):
        trained = [dict(getattr(pipe, name).named_parameters()) for pipe in (first, second, last)]
        assert differences(trained[0], trained[1]) == []
        assert differences(trained[1], trained[2]) == []
    compared = filecmp.dircmp(run / "painter/pipeline", run / "pipeline")
    assert not (compared.left_only or compared.right_only or compared.diff_files)


@pytest.mark.slow
def test_a_run_interrupted_in_its_second_stage_resumes_to_the_same_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path, run = recipe(tmp_path), tmp_path / "run"
    main(["--config", str(path)])
    whole = weights(run / "painter")
    first = {file: file.stat().st_mtime_ns for file in (run / "matching").rglob("*")}
    for left in ("painter/checkpoints/checkpoint-00000002", "painter/pipeline", "pipeline"):
        shutil.rmtree(run / left)
    capsys.readouterr()
    main(["--config", str(path), "--resume", "latest"])
    printed = capsys.readouterr().out
    assert "stage matching is complete" in printed and "resumed from" in printed
    assert differences(weights(run / "painter"), whole) == []
    assert first == {file: file.stat().st_mtime_ns for file in (run / "matching").rglob("*")}
    assert (run / "pipeline").is_dir()

    main(["--config", str(path), "--resume", "latest"])
    assert capsys.readouterr().out.count(" is complete: ") == 2


@pytest.mark.slow
def test_stages_run_one_by_one_end_as_those_of_one_command(tmp_path: Path):
    path = recipe(tmp_path)
    main(["--config", str(path)])
    alone = tmp_path / "alone"
    for name in ("matching", "painter"):
        main(["--config", str(path), "--stage", name, f"--output_dir={alone}"])
        assert (alone / "pipeline").is_dir() == (name == "painter")
    assert differences(weights(alone / "painter"), weights(tmp_path / "run/painter")) == []


@pytest.mark.slow
@pytest.mark.parametrize("when", ["report", "finish"])
def test_sigterm_in_one_stage_ends_the_run_which_can_go_on(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stages, run = load_stages(recipe(tmp_path)), tmp_path / "run"
    done = getattr(Trainer, when)

    def signalled(self: Trainer, *arguments: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return done(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, when, signalled)
        assert train_stages(stages) is None
    steps = sorted(path.name for path in (run / "matching/checkpoints").iterdir())
    assert steps[-1] == f"checkpoint-0000000{1 if when == 'report' else 2}"
    assert (run / "matching/pipeline").exists() == (when == "finish")
    assert not (run / "painter").exists()
    assert train_stages(stages, "latest") == run / "pipeline"


@pytest.mark.slow
def test_a_stage_holds_nothing_once_it_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trainers: list[weakref.ref[Trainer]] = []
    alive: list[bool] = []
    begin = Trainer.__init__

    def watched(self: Trainer, *arguments: Any) -> None:
        alive.extend(trainer() is not None for trainer in trainers)
        trainers.append(weakref.ref(self))
        begin(self, *arguments)

    monkeypatch.setattr(Trainer, "__init__", watched)
    train_stages(load_stages(recipe(tmp_path)))
    assert alive == [False]


def test_a_new_run_with_an_old_second_stage_is_refused_before_it_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = recipe(tmp_path)
    (tmp_path / "run/painter/checkpoints/checkpoint-00000002").mkdir(parents=True)
    with pytest.raises(SystemExit):
        main(["--config", str(path)])
    assert "painter holds checkpoints already; go on with" in capsys.readouterr().err
    assert not (tmp_path / "run/matching").exists()


@pytest.mark.slow
def test_two_processes_go_through_the_stages_together(tmp_path: Path):
    words = ["--config", str(recipe(tmp_path))]
    for resume in ([], ["--resume", "latest"]):
        printed = two_commands("train.train", tmp_path / "log", *words, *resume)
        assert printed.count("stage matching is complete") == len(resume[:1])
        shutil.rmtree(tmp_path / "run/pipeline")  # as after an interruption at the very end
    assert len(list((tmp_path / "run/painter/checkpoints").iterdir())) == 2
