"""The README's examples run as they stand."""

import re
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from cocosnet_hf import MaskCondition, Matching

README = Path(__file__).parent.parent / "README.md"


def test_the_first_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    condition = MaskCondition.from_names(["ground", "sky"])
    tiny.pipeline(condition, image_size=64).save_pretrained(tmp_path / "folder-or-user" / "repo")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (70, 80, 3), np.uint8)).save(tmp_path / "exemplar.jpg")
    for name in ("mask.png", "exemplar_mask.png"):
        Image.fromarray(rng.integers(0, 2, (70, 80), np.uint8)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names = {"x": 10, "y": 20}
    exec(code, names)
    assert names["out"].images[0].size == names["out"].warped_exemplars[0].size == (72, 64)
    assert isinstance(names["out"].matching, Matching)
