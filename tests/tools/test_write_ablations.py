"""A pipeline is written without one of its pieces, which all else of it does without."""

import json
import shutil
from pathlib import Path

from cocosnet_hf import CoCosPipeline
from cocosnet_hf.bundled import locate
from tools.write_ablations import PIECES, write_without


def test_each_piece_of_a_bundled_model_can_be_left_out(tmp_path: Path):
    folder, variant = locate("edge-to-face")
    for name, (file, keys, value) in PIECES.items():
        assert write_without(Path(folder), tmp_path / name, name), name
        left = json.loads((tmp_path / name / file).read_text())
        for key in keys:
            left = left[key]
        assert left == value
        CoCosPipeline.from_pretrained(tmp_path / name, variant=variant)


def test_what_a_pipeline_does_not_have_is_not_written(tmp_path: Path):
    folder, _ = locate("edge-to-face")
    assert write_without(Path(folder), tmp_path / "once", "unguided")
    assert not write_without(tmp_path / "once", tmp_path / "twice", "unguided")
    assert not (tmp_path / "twice").exists()
    shutil.rmtree(tmp_path / "once" / "translation")
    assert not write_without(tmp_path / "once", tmp_path / "twice", "detail-as-painted")
    settings = json.loads((tmp_path / "once" / "model_index.json").read_text())
    del settings["condition"]
    (tmp_path / "once" / "model_index.json").write_text(json.dumps(settings))
    assert not write_without(tmp_path / "once", tmp_path / "twice", "unguided")
