"""Settings, the command line, several processes."""

import re
from pathlib import Path
from typing import Any

import pytest

from cocosnet_hf import PoseCondition
from cocosnet_hf.evaluate import main
from cocosnet_hf.evaluation import Evaluation, evaluate
from tests.support import tiny
from tests.support.evaluating import BASELINES, SIDE, settings
from tests.support.processes import two_commands

pytest.importorskip("datasets")
pytestmark = pytest.mark.usefixtures("fresh_process")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"segmenter": "a:b", "data": "pose"}, ValueError, "A segmenter needs a mask condition"),
        ({"pose_finder": "a:b"}, ValueError, "A pose finder needs a pose condition"),
        (
            {"extractors": (f"a={BASELINES}:colours",) * 2},
            ValueError,
            "extractor needs a name of its",
        ),
        ({"baselines": ("exemplar", "exemplar")}, ValueError, "baseline needs a name of its own"),
        (
            {"baselines": (f"a b={BASELINES}:blurred", f"A-b={BASELINES}:tensors")},
            ValueError,
            "a name of its own",
        ),
        (
            {"baselines": ("warped", f"warped-exemplar={BASELINES}:blurred")},
            ValueError,
            "since it names a",
        ),
        (
            {"baselines": ("sharp", f"sharp-exemplar={BASELINES}:blurred")},
            ValueError,
            "since it names a",
        ),
        ({"diversity": 1}, ValueError, "'diversity' must be 0 or at least 2"),
        ({"batch_size": 0}, ValueError, "'batch_size' must be at least 1"),
        ({"background": 99}, ValueError, "'background' must be one of the"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_any_work(
    changes: dict[str, Any],
    error: type[Exception],
    message: str,
    pipeline: Path,
    perceptual: str,
    tmp_path: Path,
):
    if changes.pop("data", None):
        pipeline = tmp_path / "pose"
        tiny.pipeline(PoseCondition(), image_size=SIDE).save_pretrained(pipeline)
    with pytest.raises(error, match=message):
        evaluate(settings(pipeline, perceptual, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_the_command_line_evaluates_and_prints_the_tables(
    pipeline: Path, perceptual: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = [str(pipeline), "--data=synthetic", "--exemplars=random", "--pool-limit=4"]
    arguments += ["--condition-column=condition", "--limit=2", "--diversity=0", "--classes"]
    arguments += ["--extractors", f"--perceptual={perceptual}", f"--output={tmp_path / 'out'}"]
    main(arguments)
    printed = capsys.readouterr().out
    assert "| nearest photo |" in printed and "## warp_accuracy by class, PNG" in printed
    assert "| method | painting | scoring | swd | pairs scored per second |" in printed
    evaluation = Evaluation.load(tmp_path / "out")
    taken = evaluation.throughput["pipeline"]
    rate = f"{1 / (taken['scoring'] + taken['swd']):.4g}"
    assert re.search(rf"^\| pipeline \|.*\| {re.escape(rate)} \|$", printed, re.MULTILINE)
    assert evaluation.peak_memory["process"] > 100
    peak = f"process {evaluation.peak_memory['process']:,.0f} MB"
    assert f"Peak memory since the last start: {peak}." in printed
    assert evaluation.provenance["size"] == SIDE  # the pipeline's
    assert evaluation.provenance["exemplars"] == "random from 'train', seed 0"


def test_a_mistake_on_the_command_line_ends_with_the_remedy(
    pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        main([str(pipeline), "--data=synthetic", "--perceptual=none", f"-o={tmp_path / 'out'}"])
    assert "needs 'condition_column'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_tables_are_printed_even_if_the_figures_cannot_be_put_into_the_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    tiny.pipeline(image_size=SIDE).save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "README.md").write_bytes(b"\xff is no text")
    arguments = [str(tmp_path / "saved"), "--card", "--data=synthetic", "--exemplars=random"]
    arguments += ["--limit=2", "--pool-limit=4", "--diversity=0"]
    arguments += ["--baselines", "--extractors", "--perceptual=none", f"-o={tmp_path / 'out'}"]
    with pytest.raises(SystemExit):
        main(arguments)
    printed = capsys.readouterr()
    assert "| method | painting | scoring |" in printed.out
    assert "can't decode byte 0xff" in printed.err


def test_what_cannot_be_loaded_is_left_out_with_a_note_unless_it_was_asked_for(
    pipeline: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    try:
        import torch_fidelity  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("everything can be loaded here")
    automatic = {"extractors": "auto", "lpips": "auto", "limit": 1, "baselines": ()}
    evaluation = evaluate(settings(pipeline, "auto", tmp_path / "out", **automatic))
    assert evaluation.find("pipeline", "FID") is None
    assert "Not measured: FID and KID" in caplog.text
    assert "Not measured: semantic consistency" in caplog.text
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| not measured | why |" in report and "| FID and KID | FID needs torch" in report
    with pytest.raises(ImportError, match="FID needs torchmetrics, torch-fidelity"):
        evaluate(settings(pipeline, "auto", tmp_path / "other", extractors=("Inception",)))


@pytest.mark.slow
def test_two_processes_give_the_figures_of_one(
    run: tuple[Path, Evaluation], pipeline: Path, perceptual: str, tmp_path: Path
):
    arguments = [str(pipeline), "--data=synthetic", "--condition-column=condition", "--limit=5"]
    arguments += ["--exemplar-column=exemplar", "--exemplar-condition-column=exemplar_condition"]
    arguments += [
        "--exemplars=column",
        "--baselines",
        "warped",
        "exemplar",
        f"-o={tmp_path / 'out'}",
    ]
    arguments += ["--diversity=3", "--diversity-items=2", "--batch-size=2"]
    arguments += ["--extractors", f"colours={BASELINES}:colours", f"--perceptual={perceptual}"]
    printed = two_commands("cocosnet_hf.evaluate", tmp_path / "log", *arguments)
    assert printed.count("# Evaluation of") == 1
    for result in run[1].results:
        found = Evaluation.load(tmp_path / "out").find(result.method, result.metric, result.format)
        # Rounding moves a pixel by one where processes have other batches, and with it the places
        # where its picture's patches lie.
        close = 0.1 if result.metric == "SWD" else 1e-2
        assert found.estimate.value == pytest.approx(result.estimate.value, rel=close, abs=1e-6)


def test_processes_that_do_not_know_of_each_other_are_an_error(
    pipeline: Path, perceptual: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match="2 processes were launched but accelerate sees 1"):
        evaluate(settings(pipeline, perceptual, tmp_path / "out"))
