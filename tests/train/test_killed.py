"""Killed again and again at random moments, a training ends as one that was not."""

import random
import signal
import time
from pathlib import Path

import pytest

from tests.support.killing import kills
from tests.support.processes import command
from tests.support.training import SETTINGS, gone_on, last_state, write_config
from train.checkpoints import list_checkpoints

pytestmark = pytest.mark.usefixtures("fresh_process")

SEED = 0
EACH = [f"--output.{name}=1" for name in ("checkpoint_every", "validate_every", "grid_every")]
"""After each step all that a run writes, so that a kill meets every kind of it."""

PATIENCE = 300
"""Seconds for a process to take a step, on a machine that does much else."""


def last_step(run: Path) -> int:
    found = list_checkpoints(run / "checkpoints")
    return int(found[-1].name.removeprefix("checkpoint-")) if found else 0


def killed_once(path: Path, run: Path, log: Path, draw: random.Random) -> str:
    """Go on with a run and kill it: before its first step, or some time behind one of the next."""
    before, steps = last_step(run), draw.randint(0, 2)
    words = ["--config", str(path), "--resume", "latest", "--schedule.constant=100000", *EACH]
    process = command("train.train", log, *words)
    start = time.monotonic()
    while last_step(run) < before + steps:
        assert process.is_alive() and time.monotonic() - start < PATIENCE, log.read_text()
        time.sleep(0.002)
    pace = (time.monotonic() - start) / max(1, steps)
    process.join(draw.uniform(0, min(pace, 5.0) if steps else 2.0))
    assert process.is_alive(), log.read_text()
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return f"{before} -> {last_step(run)}"


@pytest.mark.slow
def test_a_training_killed_at_random_moments_ends_bit_for_bit_as_one_that_was_not(tmp_path: Path):
    draw, run = random.Random(SEED), tmp_path / "run"
    path = write_config(tmp_path, **SETTINGS | {"output_dir": str(run)})
    ways = [killed_once(path, run, tmp_path / "log", draw) for _ in range(kills(3))]
    print("steps between kills:", ", ".join(ways))
    assert gone_on(path, run, *EACH) == []
    one, other = (last_state(folder) for folder in (run, tmp_path / "whole"))
    assert {name: one[name] for name in ("best", "validated", "photos")} == {
        name: other[name] for name in ("best", "validated", "photos")
    }
    made = {
        folder: {
            str(file.relative_to(folder)): file.read_bytes()
            for part in ("pipeline", "best")
            for file in sorted((folder / part).rglob("*.safetensors"))
        }
        for folder in (run, tmp_path / "whole")
    }
    assert made[run] == made[tmp_path / "whole"] and made[run]
