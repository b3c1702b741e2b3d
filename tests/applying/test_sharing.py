"""Several processes and a cluster share the work; the Hub takes it in few commits."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cocosnet_hf.applying import apply, outputs
from cocosnet_hf.applying.ray_cluster import apply_with_ray
from cocosnet_hf.applying.record import Record
from tests.support.applying import assert_painted_alike, run, settings
from tests.support.loopback_hub import ALICE, LoopbackHub, connect_datasets, connected_hub
from tests.support.paths import REPOSITORY
from tests.support.processes import two_commands

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.usefixtures("fresh_process")

ROWS = 20


def words(root: Path, output: Path) -> list[str]:
    return [
        *(str(root / "pipeline"), "--data", str(root / "data")),
        *("--exemplars", str(root / "pool"), "--cache-dir", str(root / "cache")),
        *("--shard-items", "6", "--batch-size", "3", "--threads", "2", "--output", str(output)),
    ]


def test_two_processes_share_the_shards_without_overlap(root: Path):
    run(settings(root, "alone"))
    printed = two_commands("cocosnet_hf.apply", root / "log", *words(root, root / "together"))
    assert_painted_alike(root / "together", root / "alone")
    assert "20 pictures in 4 shards" in printed
    assert "now 20 in" in printed  # of both: none was painted twice
    assert "by 2 processes" in printed


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    with connected_hub(monkeypatch, tmp_path / "home") as running:
        connect_datasets(monkeypatch, running)
        yield running


def test_a_hub_data_set_gets_every_shard_in_few_commits(
    root: Path, hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_TOKEN", ALICE)
    monkeypatch.setattr(outputs, "SHARDS_PER_COMMIT", 3)
    chosen = settings(root, "unused").__class__(
        **vars(settings(root, "unused")) | {"output": "alice/painted", "work": str(tmp_path / "w")}
    )
    apply(chosen)
    assert len(hub.commits) == 2
    held = hub.files("alice/painted", kind="dataset")
    shards = sorted(name for name in held if name.endswith(".parquet"))
    assert shards == [f"data/{number:06d}.parquet" for number in range(4)]
    names = []
    for name in shards:
        path = tmp_path / Path(name).name
        path.write_bytes(held[name])
        rows = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
        names += rows["name"]
    assert len(set(names)) == len(names) == ROWS
    assert list((tmp_path / "w" / "unsent").rglob("*.parquet")) == []


@pytest.mark.slow
def test_what_a_broken_connection_left_is_sent_by_the_next_run(
    root: Path, hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_TOKEN", ALICE)
    own = {"output": "alice/later", "work": str(tmp_path / "w")}
    chosen = settings(root).__class__(**vars(settings(root)) | own)
    hub.cut_after = 100
    with pytest.raises(ConnectionError, match="push again"):
        apply(chosen)
    assert len(list(Record(tmp_path / "w").entries())) == 4
    hub.cut_after = None
    summary = apply(chosen)
    assert (summary.items, summary.painted) == (ROWS, 0)
    held = hub.files("alice/later", kind="dataset")
    assert sum(name.endswith(".parquet") for name in held) == 4


def test_the_name_of_somebody_elses_repository_is_refused_before_anything_is_painted(
    root: Path, hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_TOKEN", ALICE)
    own = {"output": "bob/painted", "work": str(tmp_path / "w")}
    with pytest.raises(Exception, match="no rights to write to bob/painted"):
        apply(settings(root).__class__(**vars(settings(root)) | own))
    assert hub.commits == []
    assert not (tmp_path / "w" / "shards").exists()


@pytest.mark.filterwarnings("ignore")  # of Ray's own
def test_the_workers_of_a_ray_cluster_paint_what_one_process_paints(root: Path):
    ray = pytest.importorskip("ray")
    run(settings(root, "single"))
    own = {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])}
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": own})
    try:
        summary = apply_with_ray(settings(root, "cluster"), workers=2, gpus=0)
        again = apply_with_ray(settings(root, "cluster"), workers=1, gpus=0)
    finally:
        ray.shutdown()
    assert (summary.items, summary.painted) == (ROWS, ROWS)
    assert (again.items, again.painted) == (ROWS, 0)
    assert_painted_alike(root / "cluster", root / "single")
