"""A training process ends when its run does, and says why."""

import os
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

from cocosnet_hf.datasets.reading import TooManyBroken
from cocosnet_hf.synthetic import SyntheticExamples, write_imagefolder
from tests.support.paths import REPOSITORY
from tests.support.processes import command, ended
from tests.support.training import SETTINGS, gone_on, last_state, wait_for_checkpoint
from train.checkpoints import list_checkpoints
from train.config import load_config
from train.mistakes import is_mistake, message_of
from train.stopping import Interrupted, Stopping
from train.train import train

LONGEST = 60
"""Seconds until a process whose run is over is gone; loading processes once kept it for 300."""


def folder_run(folder: Path, *, length: int = 8, **data: Any) -> Path:
    """The recipe of a run on masks that lie in a folder."""
    for split, count in (("train", length), ("validation", 4)):
        write_imagefolder(SyntheticExamples("mask", 32, length=count), folder / "set", split)
    columns = {"condition_column": "label", "exemplar_condition_column": "exemplar_label"}
    settings = SETTINGS | {
        "output_dir": str(folder / "run"),
        "data": SETTINGS["data"] | {"source": str(folder / "set")} | columns | data,
        "output": {"log_every": 0, "grid_every": 0, "validate_every": 0, "check_rows": 0},
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def start(path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "train/train.py", "--config", str(path), *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def spoil(path: Path, label: int) -> None:
    """A label map of a class that there is not."""
    Image.fromarray(np.full_like(np.asarray(Image.open(path)), label)).save(path)


@pytest.mark.slow
def test_a_label_without_a_class_ends_the_run_with_its_message_and_what_was_trained(
    tmp_path: Path,
):
    path = folder_run(tmp_path, workers=2)
    order = np.random.default_rng([0, 0]).permutation(8)
    bad = sorted((tmp_path / "set/train/labels").iterdir())[order[-1]]
    spoil(bad, 200)
    process = start(path, "--schedule.constant=100000")
    printed = process.communicate(timeout=240)[0]
    assert process.returncode == 2, printed
    assert "Traceback" not in printed
    assert "train.py: error: " in printed and "200" in printed.splitlines()[-1]
    assert [found.name for found in list_checkpoints(tmp_path / "run/checkpoints")] == [
        "checkpoint-00000003"
    ]


@pytest.mark.slow
def test_a_finished_stream_ends_the_process_although_loading_processes_read_on(tmp_path: Path):
    path = folder_run(tmp_path, workers=1, streaming=True)
    process = start(path)
    printed = process.communicate(timeout=240)[0]
    gone = time.time()
    assert process.returncode == 0, printed
    written = max(file.stat().st_mtime for file in (tmp_path / "run/pipeline").rglob("*"))
    assert gone - written < LONGEST


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_ctrl_c_saves_and_a_resumed_run_ends_as_one_without_it(workers: int, tmp_path: Path):
    path, log = folder_run(tmp_path, workers=workers), tmp_path / "log"
    each = "--output.checkpoint_every=1"
    words = ["--config", str(path), "--schedule.constant=100000", each]
    process = command("train.train", log, *words)
    wait_for_checkpoint(tmp_path / "run", process, log)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    code, printed = ended(process, LONGEST), log.read_text()
    assert code == 128 + signal.SIGINT, printed
    assert "Traceback" not in printed and "stopped at step" in printed
    assert gone_on(path, tmp_path / "run", each) == []


@pytest.mark.slow
def test_a_signal_ends_a_validation_which_the_resumed_run_makes_up_for(tmp_path: Path):
    path = folder_run(tmp_path)
    chosen = load_config(path, ["--output.validate_every=2", "--output.validation_batches=1"])
    stopping = Stopping()
    folder = train(chosen, stopping=stopping)
    assert folder is not None and stopping.received == 0
    assert last_state(tmp_path / "run")["validated"] == 4


def test_after_a_signal_no_further_item_is_given():
    stopping = Stopping()
    items = stopping.interrupts([1, 2, 3])
    assert next(items) == 1
    stopping.watch()
    try:
        signal.raise_signal(signal.SIGTERM)
        assert (stopping.name, stopping.exit_code) == ("SIGTERM", 143)
        with pytest.raises(Interrupted):
            next(items)
        signal.raise_signal(signal.SIGINT)
        assert (stopping.name, stopping.exit_code) == ("Ctrl-C", 130)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Failing(torch.utils.data.Dataset):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error", [ValueError("label 9: set values\nValueError or not"), TooManyBroken("2 of 3")]
)
def test_the_message_of_a_loading_process_comes_without_its_traceback(error: Exception):
    loader = torch.utils.data.DataLoader(Failing(error), num_workers=1)
    with pytest.raises(type(error)) as raised:
        list(loader)
    assert is_mistake(raised.value)
    assert message_of(raised.value) == str(error)
    assert not is_mistake(TypeError("ours"))
