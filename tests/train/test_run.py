"""Whole training runs, a few steps long and a few channels wide."""

import copy
import dataclasses
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from cocosnet_hf import CoCosPipeline, MultiscaleDiscriminator
from cocosnet_hf.synthetic import SyntheticExamples, write_imagefolder
from cocosnet_hf.systems import Batch, Generated
from tests.support.disk import full_disk
from tests.support.paths import REPOSITORY
from tests.support.processes import command, ended
from tests.support.training import (
    SETTINGS,
    differences,
    gone_on,
    last_state,
    wait_for_checkpoint,
)
from train.checkpoints import list_checkpoints
from train.config import TrainConfig, load_config
from train.report import read_metrics
from train.train import main, run, train
from train.trainer import Trainer

pytestmark = pytest.mark.usefixtures("fresh_process")


def config_file(folder: Path, name: str = "run") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"output_dir": str(folder / name)} | SETTINGS))
    return path


def config(folder: Path, *overrides: str, name: str = "run") -> TrainConfig:
    return load_config(config_file(folder, name), overrides)


def test_a_run_ends_with_the_averaged_pipeline_in_both_precisions_and_pictures(tmp_path: Path):
    folder = train(config(tmp_path))
    example = SyntheticExamples("mask", 32, seed=5)[0]
    for options in ({}, {"variant": "fp16"}):
        pipe = CoCosPipeline.from_pretrained(folder, **options)
        pipe.set_progress_bar_config(disable=True)
        out = pipe(example["condition"], example["exemplar"], example["exemplar_condition"])
        assert out.images[0].size == (32, 32)
        assert out.images[0].getcolors(maxcolors=1) is None  # more than one colour
    averaged = last_state(tmp_path / "run")["averages"]["translation"]
    assert averaged.pop("n_averaged") == 5
    exported = CoCosPipeline.from_pretrained(folder).translation.state_dict()
    named = {f"module.{name}": value for name, value in exported.items()}
    assert differences(named, averaged) == []
    weights = folder / "translation/diffusion_pytorch_model"
    full, half = (Path(f"{weights}{end}") for end in (".safetensors", ".fp16.safetensors"))
    assert half.stat().st_size < 0.7 * full.stat().st_size
    MultiscaleDiscriminator.from_pretrained(folder / "discriminator")
    CoCosPipeline.from_pretrained(tmp_path / "run/best")
    pictures = sorted(path.name for path in (tmp_path / "run/pictures").iterdir())
    assert pictures == [
        "training-00000004.png",
        "validation-00000000.png",
        "validation-00000002.png",
        "validation-00000004.png",
    ]
    with Image.open(tmp_path / "run/pictures/training-00000004.png") as grid:
        # Enlarged to hold the names of the columns, which stand above them.
        assert grid.size == (4 * (5 * 36 - 4), 4 * (2 * 36 - 4) + 16)
        heads = np.asarray(grid)[:16, ::, 0].reshape(16, -1)
        named = [(heads[:, 144 * column : 144 * column + 100] < 128).any() for column in range(5)]
        assert named == [True] * 5
    assert list((tmp_path / "run/logs").rglob("events.*"))


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param([], id="plain"),
        pytest.param(
            ["--diff_augment=true", "--data.workers=1", "--speed.accumulation=2"],
            id="augmented",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["--speed.gradient_checkpointing=true", "--speed.mixed_precision=bf16"],
            id="sparing",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_resumed_run_ends_bit_for_bit_as_one_that_was_not_interrupted(
    overrides: list[str], tmp_path: Path
):
    chosen = config(tmp_path, "--output.validate_every=0", "--output.grid_every=0", *overrides)
    train(chosen)
    whole = last_state(tmp_path / "run")
    assert whole["averages"]["translation"]["n_averaged"] == 5
    shutil.rmtree(tmp_path / "run/checkpoints/checkpoint-00000004")
    train(chosen, resume="latest")
    assert differences(last_state(tmp_path / "run"), whole) == []


@pytest.mark.slow
def test_a_run_says_what_it_is_how_long_it_takes_and_where_its_pipeline_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = train(config(tmp_path, "--output.log_every=1", "--output.check_rows=6"))
    printed = capsys.readouterr().out.splitlines()
    assert any("6 rows read, 0 cannot be used; photos: 36 x 36 (6)" in line for line in printed)
    assert any("12 classes are in them, most of all" in line for line in printed)
    assert (tmp_path / "run/check/train.png").is_file()
    assert re.fullmatch(r"(cpu|cuda\S*), 1 process, float32", printed[0])
    assert "10,000 photos, 2 a step: 5,000 steps an epoch; 4 steps in all" in printed
    assert f"the pipeline is in {folder}" in printed[-1]
    steps = [line for line in printed if line.startswith("step 1 of 4  ")]
    assert len(steps) == 1 and len(steps[0]) <= 100
    assert re.search(
        r"\d:\d\d:\d\d left  \S+ examples/s  generator \S+  discriminator \S+", steps[0]
    )
    rows = [row for row in read_metrics(tmp_path / "run") if "seconds_per_step" in row]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(row["seconds_per_step"] > 0 and 0 < row["data_waiting_share"] < 1 for row in rows)
    assert [row["learning_rate/translation"] for row in rows] == [1e-4, 1e-4, 1e-4, 5e-5]
    page = (tmp_path / "run/report.html").read_text()
    assert page.count("<polyline") >= 10 and page.count("data:image/jpeg;base64") == 3
    assert "http" not in page


@pytest.mark.slow
def test_another_seed_gives_another_run(tmp_path: Path):
    states = []
    for seed in (0, 1):
        name = f"seed-{seed}"
        train(config(tmp_path, f"--seed={seed}", "--output.validate_every=0", name=name))
        states.append(last_state(tmp_path / name)["networks"]["translation"])
    assert differences(*states) != []


@pytest.mark.slow
def test_every_parameter_of_all_three_networks_is_trained(tmp_path: Path):
    train(config(tmp_path, "--speed.accumulation=2", "--output.validate_every=0"))
    optimizers = last_state(tmp_path / "run")["optimizers"]
    assert optimizers.keys() == {"correspondence", "translation", "discriminator"}
    for name in optimizers:
        groups = optimizers[name]["param_groups"]
        assert len(optimizers[name]["state"]) == sum(len(group["params"]) for group in groups)
        assert groups[0]["betas"] == (0.0, 0.9)


@pytest.mark.slow
def test_a_run_can_start_from_the_pipeline_of_another(tmp_path: Path):
    first = train(config(tmp_path, "--output.validate_every=0"))
    second = config(
        tmp_path,
        f"--networks.init_from={first}",
        "--schedule.constant=1",
        "--schedule.decay=0",
        "--optimizer.generator_lr=0",
        name="second",
    )
    train(second)
    before, after = (
        CoCosPipeline.from_pretrained(tmp_path / name / "pipeline") for name in ("run", "second")
    )
    for old, new in zip(
        before.translation.parameters(), after.translation.parameters(), strict=True
    ):
        assert torch.equal(old, new)


@pytest.mark.slow
def test_a_run_whose_terms_look_at_no_picture_trains_the_correspondence_alone(tmp_path: Path):
    shown = []

    class Watched(Trainer):
        def report(self, batch: Batch, generated: Generated) -> None:
            shown.append(torch.equal(generated.image, generated.warped_exemplar))
            super().report(batch, generated)

    layer = REPOSITORY / "train/configs/layers/correspondence.yaml"
    trainer = Watched(load_config([config_file(tmp_path), layer]), resume=None)
    before = copy.deepcopy(trainer.system.networks)
    run(trainer)
    after = trainer.system.networks
    taught = zip(
        before["correspondence"].parameters(), after["correspondence"].parameters(), strict=True
    )
    assert all(not torch.equal(old, new) for old, new in taught)
    exported = CoCosPipeline.from_pretrained(tmp_path / "run" / "pipeline").translation
    for name, network in (
        ("translation", after["translation"]),
        ("translation", exported),
        ("discriminator", after["discriminator"]),
    ):
        state = network.state_dict()
        for key, value in before[name].state_dict().items():
            assert torch.equal(state[key], value)
    assert shown == [True] * 4


def test_a_run_that_diverges_stops_and_says_so(tmp_path: Path):
    with pytest.raises(RuntimeError, match="diverged: .*Lower optimizer.*--resume latest"):
        train(config(tmp_path, "--losses.self_pixel=1e60", "--output.validate_every=0"))
    assert list_checkpoints(tmp_path / "run/checkpoints") == []


@pytest.mark.slow
def test_a_run_goes_on_with_lower_rates_and_as_many_processes(tmp_path: Path):
    chosen = config(tmp_path, "--output.validate_every=0")
    train(chosen)
    shutil.rmtree(tmp_path / "run/checkpoints/checkpoint-00000004")
    rates = {"generator_lr": 1e-6, "discriminator_lr": 1e-6, "max_grad_norm": 1.0}
    slower = dataclasses.replace(chosen, optimizer=dataclasses.replace(chosen.optimizer, **rates))
    assert train(slower, resume="latest") is not None
    run = tmp_path / "run/checkpoints/checkpoint-00000004/run.json"
    run.write_text(run.read_text().replace('"processes": 1', '"processes": 2'))
    with pytest.raises(ValueError, match="other settings: processes was 2"):
        train(slower, resume="latest")


def test_processes_that_do_not_know_of_each_other_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match="2 processes were launched but accelerate sees 1"):
        train(config(tmp_path))


@pytest.mark.parametrize("warp", ["mean", "coherent"])
def test_rows_are_read_for_what_guides_only_where_the_networks_take_it(tmp_path: Path, warp: str):
    overrides = ["--networks.condition.guided=true", f"--networks.correspondence.warp={warp}"]
    if warp == "coherent":
        overrides += ["--networks.translation={class: BlendingTranslationNetwork}"]
        overrides += [
            "--networks.translation.channels=null",
            "--networks.translation.spade_channels=null",
        ]
    trainer = Trainer(config(tmp_path, *overrides, "--output.validate_every=0"), None)
    batch = next(iter(trainer.data))
    assert (batch.landmarks is not None) == (warp == "coherent")
    assert trainer.system.condition.has_landmarks


def test_noise_replaces_the_exemplars_condition_from_the_end_of_the_warm_up_on(tmp_path: Path):
    overrides = ["--networks.correspondence.exemplar_noise=0.01", "--system_options.mask_warmup=3"]
    trainer = Trainer(config(tmp_path, *overrides, "--output.validate_every=0"), None)
    system = trainer.system
    for network in system.networks.values():
        network.eval()  # so that the spectral norms stand still between two passes
    depends = []
    for batches in trainer.steps():
        batch = next(batches)
        condition = batch.exemplar_condition.flip(1)
        styles = []
        for item in (batch, dataclasses.replace(batch, exemplar_condition=condition)):
            torch.manual_seed(0)
            made = system.generate_to_learn(system.networks, item, trainer.phases.unit)
            styles.append(made.features.style)
        depends.append(not torch.equal(*styles))
    assert depends == [True, True, True, False]


@pytest.mark.slow
def test_a_full_disk_ends_a_run_that_can_go_on_where_it_was_saved(tmp_path: Path):
    overrides = ["--output.validate_every=0", "--output.grid_every=0", "--schedule.decay=0"]
    whole = config(tmp_path, *overrides, "--schedule.constant=4", name="whole")
    train(whole)
    train(config(tmp_path, *overrides, "--schedule.constant=2"))
    longer = config(tmp_path, *overrides, "--schedule.constant=4")
    with full_disk(), pytest.raises(OSError, match="What was saved before is intact; free some"):
        train(longer, resume="latest")
    train(longer, resume="latest")
    assert differences(last_state(tmp_path / "run"), last_state(tmp_path / "whole")) == []


def test_a_run_whose_validations_get_no_better_ends_early(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    still = ["--optimizer.generator_lr=0", "--optimizer.discriminator_lr=0", "--ema=0"]
    often = ["--output.validate_every=1", "--output.grid_every=0", "--output.checkpoint_every=0"]
    length = ["--schedule.patience=2", "--schedule.constant=40", "--schedule.decay=0"]
    folder = train(config(tmp_path, *still, *often, *length))
    assert folder is not None and folder.is_dir()
    (last,) = list_checkpoints(tmp_path / "run/checkpoints")
    assert 2 <= int(last.name.removeprefix("checkpoint-")) < 40
    assert last_state(tmp_path / "run")["stale"] == 2
    assert "as no validation was better than that of best/ 2 times" in capsys.readouterr().out


def test_a_new_run_does_not_overwrite_an_old_one(tmp_path: Path):
    chosen = config(tmp_path)
    (tmp_path / "run/checkpoints/checkpoint-00000002").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="--resume latest, or choose another output_dir"):
        train(chosen)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_half_precision_without_a_gpu_is_an_error(tmp_path: Path):
    with pytest.raises(ValueError, match="fp16 needs a GPU"):
        train(config(tmp_path, "--speed.mixed_precision=fp16"))


def test_a_data_set_without_the_needed_column_is_an_error_before_training(tmp_path: Path):
    with pytest.raises(ValueError, match="has no column 'mask'"):
        train(config(tmp_path, "--data.condition_column=mask"))
    assert not (tmp_path / "run/checkpoints").exists()


def test_fewer_examples_than_a_step_takes_are_an_error(tmp_path: Path):
    with pytest.raises(ValueError, match="lower data.batch_size or speed.accumulation"):
        train(config(tmp_path, "--speed.accumulation=1000000", "--output.validate_every=0"))


def test_a_dry_run_prints_the_resolved_run_and_trains_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    main(["--config", str(config_file(tmp_path)), "--data.batch_size=3", "--dry-run"])
    printed = capsys.readouterr().out
    assert "batch_size: 3" in printed
    assert re.search(r"# discriminator: [\d,]+ parameters", printed)
    assert yaml.safe_load(printed)["networks"]["translation"]["spade_channels"] == 4
    assert not (tmp_path / "run").exists()


def test_a_typo_on_the_command_line_ends_with_the_nearest_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        main(["--config", str(config_file(tmp_path)), "--schedule.constent=3"])
    assert "did you mean schedule.constant" in capsys.readouterr().err


# Killed processes --------------------------------------------------------------------------------


ENDLESS = ["--schedule.constant=100000", "--output.validate_every=0"]


def start(folder: Path, *arguments: str) -> Any:
    """A run of 100,000 steps that has saved a checkpoint; it prints into `log`."""
    words = ["--config", str(config_file(folder)), *ENDLESS, *arguments]
    process = command("train.train", folder / "log", *words)
    wait_for_checkpoint(folder / "run", process, folder / "log")
    return process


@pytest.mark.slow
def test_a_run_killed_at_any_time_resumes_to_the_same_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    process = start(tmp_path)
    time.sleep(random.uniform(0, 1))
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "run/pipeline").exists()
    assert gone_on(tmp_path / "run.yaml", tmp_path / "run", "--output.validate_every=0") == []
    assert "resumed from" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("to", ["the trainer", "its loading processes too"])
def test_sigterm_saves_and_says_how_the_run_goes_on(tmp_path: Path, to: str):
    process = start(tmp_path, "--data.workers=1")
    if to == "the trainer":
        process.terminate()
    else:  # as schedulers do
        os.killpg(process.pid, signal.SIGTERM)
    code, printed = ended(process, 60), (tmp_path / "log").read_text()
    assert code == 128 + signal.SIGTERM, printed
    saved = list_checkpoints(tmp_path / "run/checkpoints")[-1]
    assert f"saved {saved}" in printed
    assert re.search(r"stopped at step \d+ by SIGTERM; .*--resume latest", printed)
    assert not (tmp_path / "run/pipeline").exists()


@pytest.mark.slow
def test_two_processes_see_the_losses_of_one_with_the_doubled_batch(tmp_path: Path):
    # The other terms are normalised per process, as in official networks, 11.
    overrides = [f"--losses.{name}=0" for name in ("self_warp", "self_pixel", "warped_mask")]
    overrides += ["--output.log_every=1", "--output.validate_every=0", "--output.grid_every=0"]
    train(config(tmp_path, *overrides, "--data.batch_size=4", name="one"))
    two = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
        + ["train/train.py", "--config", str(config_file(tmp_path, "two")), *overrides],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert two.returncode == 0, two.stderr
    losses = {
        name: [
            (term, value)
            for row in read_metrics(tmp_path / name)
            for term, value in row.items()
            if term.startswith(("generator/", "discriminator/"))
        ]
        for name in ("one", "two")
    }
    assert len(losses["one"]) == len(losses["two"]) >= 4 * 6
    for (term, value), (other, same) in zip(losses["one"], losses["two"], strict=True):
        assert term == other
        assert same == pytest.approx(value, rel=1e-2, abs=1e-3), term


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_stream_ends_bit_for_bit_as_one_that_was_not_interrupted(
    workers: int, tmp_path: Path
):
    for split, length in (("train", 7), ("validation", 4)):
        write_imagefolder(SyntheticExamples("mask", 32, length=length), tmp_path / "set", split)
    streamed = config(
        tmp_path,
        f"--data.source={tmp_path / 'set'}",
        "--data.streaming=true",
        "--data.condition_column=label",
        "--data.exemplar_condition_column=exemplar_label",
        f"--data.workers={workers}",
    )
    train(streamed)
    whole = last_state(tmp_path / "run")
    shutil.rmtree(tmp_path / "run/checkpoints/checkpoint-00000004")
    train(streamed, resume="latest")
    again = last_state(tmp_path / "run")
    for name in ("networks", "averages", "optimizers"):
        assert differences(again[name], whole[name]) == []
