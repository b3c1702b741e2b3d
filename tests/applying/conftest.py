"""A tiny pipeline, drawn scenes to paint, and others for exemplars."""

from pathlib import Path

import pytest

from cocosnet_hf.synthetic import SyntheticExamples, write_imagefolder
from tests.support import tiny


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pipeline`, which paints from edges, `data` of 20 scenes and `pool` of 8."""
    pytest.importorskip("datasets")
    folder = tmp_path_factory.mktemp("collection")
    tiny.pipeline().save_pretrained(folder / "pipeline")
    write_imagefolder(SyntheticExamples("mask", 40, length=20), folder / "data")
    write_imagefolder(SyntheticExamples("mask", 40, length=8, first=100), folder / "pool")
    return folder
