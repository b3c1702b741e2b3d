"""Drawn scenes as folders and files."""

from dataclasses import replace
from pathlib import Path

import pytest

from cocosnet_hf.datasets import DataSettings
from cocosnet_hf.synthetic import SyntheticExamples, write_imagefolder
from tests.support.rows import COUNT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imagefolder with 12 drawn scenes of 40 x 40 pixels."""
    root = tmp_path_factory.mktemp("scenes")
    write_imagefolder(SyntheticExamples("mask", 40, length=COUNT), root)
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def scenes(folder: Path, cache: str) -> DataSettings:
    return DataSettings(
        source=str(folder), condition_column="label", image_size=32, load_size=36, cache_dir=cache
    )


@pytest.fixture(scope="module")
def parquet(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn scenes as three parquet files."""
    import datasets

    # Parquet streams otherwise wait five seconds after every shuffled pass.
    datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0
    root = tmp_path_factory.mktemp("parquet")
    rows = datasets.load_dataset(
        "imagefolder", data_dir=str(folder), split="train", cache_dir=str(root / "cache")
    )
    target = root / "data"
    target.mkdir()
    for shard in range(3):
        rows.shard(3, shard).to_parquet(str(target / f"train-{shard:05d}.parquet"))
    return target


@pytest.fixture
def stream_settings(parquet: Path, scenes: DataSettings) -> DataSettings:
    return replace(scenes, source=str(parquet), streaming=True)
