"""Killed at any moment, a run ends as one that was not: no row is lost and none is there twice."""

import math
import random
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from cocosnet_hf.applying import ApplySettings
from cocosnet_hf.applying.record import Record
from tests.support.applying import assert_painted_alike, lines, process, run, settings
from tests.support.killing import kills

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.usefixtures("fresh_process")

ROWS = 20
KILLS = kills(6)
LARGE = {"height": 160, "width": 160}
"""Of pictures that take long enough to be interrupted, whatever else the machine does."""


def finished(chosen: ApplySettings) -> int:
    return len(list(Record(chosen.work_folder).entries()))


def killed_at_random(chosen: ApplySettings, seed: int) -> int:
    """Kill it again and again, each time at a random moment behind the next shard; then let it end.

    The number of times that it was killed with some but not all of its shards there.
    """
    draw, partly, shards = random.Random(seed), 0, math.ceil(ROWS / chosen.shard_items)
    for kill in range(KILLS):
        running = process(chosen)
        while running.is_alive() and finished(chosen) < kill:
            time.sleep(0.001)
        running.join(draw.uniform(0.0, 0.06))  # a shard takes about as long
        running.kill()
        running.join()
        partly += running.exitcode != 0 and 0 < finished(chosen) < shards
    last = process(chosen)
    last.join()
    assert last.exitcode == 0
    assert finished(chosen) >= shards
    return partly


@pytest.mark.slow
@pytest.mark.parametrize("form", ["folder", "stream", "x.parquet", "x.tar"])
def test_a_run_that_is_killed_at_random_moments_ends_as_one_that_is_not(form: str, root: Path):
    changes = {}
    if form == "stream":
        source = root / "streamed"
        source.mkdir()
        rows = datasets.load_dataset(
            "imagefolder", data_dir=str(root / "data"), split="train", cache_dir=str(root / "cache")
        )
        rows.to_parquet(str(source / "all.parquet"))
        streamed = {"source": str(source), "streaming": True}
        changes["data"] = settings(root).data.__class__(**streamed)
    items = 3 if KILLS < 7 else 1
    whole, broken_off = (
        settings(root, f"{kind}-{form}/{form}", shard_items=items, **LARGE, **changes)
        for kind in ("whole", "killed")
    )
    run(whole)
    assert killed_at_random(broken_off, seed=len(form)) > 0
    assert_painted_alike(root / f"killed-{form}", root / f"whole-{form}")
    if form in ("folder", "stream"):
        names = Counter(one["name"] for one in lines(Path(broken_off.output)))
        assert len(names) == ROWS
        assert set(names.values()) == {1}


def test_a_run_goes_on_behind_its_last_shard(root: Path):
    chosen = settings(root, "going-on", shard_items=2, **LARGE)
    running = process(chosen)
    while finished(chosen) < 3:
        assert running.is_alive() or finished(chosen) >= 3
        time.sleep(0.001)
    running.kill()
    running.join()
    before = {
        path: path.stat().st_mtime_ns for path in Path(chosen.output).glob("*/metadata.jsonl")
    }
    kept = {one.shard for one in Record(chosen.work_folder).entries()}
    run(chosen)
    for path, changed in before.items():
        if path.parent.name in kept:
            assert path.stat().st_mtime_ns == changed


def test_a_shard_without_its_entry_is_made_again_and_what_was_unfinished_is_removed(root: Path):
    chosen = settings(root, "torn")
    run(chosen)
    shutil.copytree(root / "torn", root / "whole")
    record = Record(chosen.work_folder)
    (chosen.work_folder / "shards" / "000001.json").unlink()
    (root / "torn" / "000001" / "000099.png").write_bytes(b"half a pic")
    shutil.copytree(root / "torn" / "000002", record.unfinished / "000001")
    run(chosen)
    assert_painted_alike(root / "torn", root / "whole")
    assert not record.unfinished.exists() or list(record.unfinished.iterdir()) == []
