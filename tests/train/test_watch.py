"""Warnings of a run that goes wrong, and what runs say about themselves."""

import json
import re
from pathlib import Path

import pytest

from tests.support.training import write_config
from train.config import load_config
from train.header import asked_processes
from train.machine import make_accelerator
from train.page import curve
from train.report import METRICS_FILE, Report, read_metrics, require_loggers
from train.watch import Watch

GOOD = {"copy_score": 0.3, "exemplar_l1": 0.3, "variety": 0.9}


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"exemplar_l1": 0.0}, "their own exemplars.*set data.retrieve=true"),
        ({"copy_score": 0.02}, "the condition is ignored.*Go on from best/"),
        ({"variety": 0.01}, "has collapsed.*discriminator_lr"),
        ({"warp_accuracy": 0.5, "identity_accuracy": 0.6}, "Teach it first"),
    ],
)
def test_a_validation_that_went_wrong_is_told_once_with_its_remedy(
    metrics: dict[str, float], message: str
):
    watch = Watch(total=100)
    (told,) = watch.scores(60, GOOD | metrics)
    assert re.search(f"warning: .*{message}", told)
    assert watch.scores(80, GOOD | metrics) == []
    assert Watch(total=100).scores(60, GOOD) == []


def test_rising_losses_and_waiting_for_data_are_told():
    watch, steady = Watch(100), Watch(100)
    told: list[str] = []
    for number in range(12):
        told += watch.losses({"generator/cycle": 2.0 if number < 8 else 20.0})
        values = {"generator/cycle": 2.0, "generator/gradient_norm": float(10**number)}
        assert steady.losses(values) == []
    assert len(told) == 1 and "generator loss is 10.0 times its lowest" in told[0]
    hungry = {"data_waiting_share": 0.5}
    assert steady.losses(hungry) != [] and steady.losses(hungry) == []


def test_a_launch_that_asked_for_more_processes_is_seen():
    launch = ["python", "/bin/accelerate", "launch", "--num_processes", "2", "train.py"]
    assert asked_processes(launch) == 2
    assert asked_processes(["accelerate", "launch", "--num-processes=4"]) == 4
    assert asked_processes(["bash"]) == 1


def test_a_logger_that_is_unknown_or_not_installed_is_an_error(tmp_path: Path):
    path = write_config(tmp_path, networks={"task": "ade20k"})
    assert load_config(path, ["--output.report_to=none"]).output.loggers == ()
    both = load_config(path, ["--output.report_to=tensorboard, wandb"])
    assert both.output.loggers == ("tensorboard", "wandb")
    with pytest.raises(ValueError, match="any of tensorboard, wandb, trackio .*; got wanb"):
        load_config(path, ["--output.report_to=wanb"])
    with pytest.raises(ImportError, match="pip install nothing"):
        require_loggers(("nothing",))


@pytest.mark.usefixtures("fresh_process")
def test_values_of_steps_that_come_again_are_forgotten(tmp_path: Path):
    chosen = load_config(
        write_config(tmp_path, networks={"task": "ade20k"}),
        ["--output.report_to=none", f"--output_dir={tmp_path / 'run'}"],
    )
    path = tmp_path / "run" / METRICS_FILE
    path.parent.mkdir()
    path.write_text("".join(json.dumps({"step": step}) + "\n" for step in (1, 2, 3)) + '{"st')
    report = Report(make_accelerator(chosen), chosen, first_step=2, total=4)
    report.scores(3, {"validation/swd": float("nan")})
    assert read_metrics(path.parent) == [
        {"step": 1},
        {"step": 2},
        {"step": 3, "validation/swd": None},
    ]


def test_a_curve_spans_its_figure_and_a_single_point_is_one():
    drawn = curve("a/b", [(0, 1.0), (5, 3.0), (10, 2.0)])
    assert 'points="4.0,106.0 150.0,4.0 296.0,55.0"' in drawn
    assert "a/b: 2 (1 to 3)" in drawn
    assert 'points="4.0,106.0"' in curve("x", [(3, 0.0)])
