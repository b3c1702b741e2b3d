"""Masks of many pixels: the same classes as in small ones, in little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf.conditions import MaskCondition, meaning

SHAPES = MaskCondition.from_names(
    ["ground", "disk", "square"], colors=("#000000", "#ff0000", "#0000ff"), unknown=0
)
STEPS = np.arange(120) // 20
LABELS = ((STEPS[:, None] + STEPS[None]) % 3).astype(np.uint8)


def pictures() -> dict[str, Image.Image]:
    """The same classes in every form."""
    plane = Image.fromarray(LABELS)
    colors = Image.fromarray(SHAPES.palette[LABELS])
    paletted = Image.fromarray((LABELS + 1) % 3)
    paletted.putpalette(np.roll(SHAPES.palette, 1, axis=0).ravel().tolist())
    clear = colors.convert("RGBA")
    clear.putalpha(Image.fromarray(np.where(LABELS == 0, 0, 255).astype(np.uint8)))
    return {
        "L": plane,
        "I": Image.fromarray(LABELS.astype(np.int32)),
        "I;16": Image.fromarray(LABELS.astype(np.uint16)),
        "F": Image.fromarray(LABELS.astype(np.float32)),
        "P in colours": paletted,
        "RGB": colors,
        "RGBA": clear,
        "numbers in RGB": Image.merge("RGB", [plane] * 3),
        "LA": Image.merge("LA", (plane, Image.new("L", plane.size, 255))),
    }


@pytest.mark.filterwarnings("ignore:The mask")  # says what was read
@pytest.mark.parametrize("size", [(120, 120), (48, 32)])
@pytest.mark.parametrize("form", pictures())
def test_a_mask_read_in_strips_has_the_classes_of_one_read_at_once(
    form: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
):
    expected = SHAPES.labels(LABELS, *size)
    for strip in (120, 700, 1 << 20):
        monkeypatch.setattr(meaning, "STRIP", strip)
        assert (SHAPES.labels(pictures()[form], *size) == expected).all()


def test_borders_that_jpeg_made_are_the_same_in_strips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    reader = MaskCondition(SHAPES.classes, SHAPES.colors, unknown=0, snap_colors=True)
    pictures()["RGB"].save(tmp_path / "mask.jpg", quality=70)
    whole = reader.labels(tmp_path / "mask.jpg", 120, 120)
    assert (whole.numpy() == LABELS).mean() > 0.95
    for strip in (120, 1000, 5000):
        monkeypatch.setattr(meaning, "STRIP", strip)
        assert (reader.labels(tmp_path / "mask.jpg", 120, 120) == whole).all()


def test_one_pixel_of_no_class_in_many_is_found():
    plane = np.zeros((2000, 2000), np.uint8)
    plane[1234, 567] = 9
    with pytest.raises(ValueError, match=r"holds the labels \[9\]"):
        SHAPES.encode(Image.fromarray(plane), 64, 64)
    colors = np.zeros((2000, 2000, 3), np.uint8)
    colors[1234, 567] = (9, 200, 9)
    with pytest.raises(ValueError, match=r"1 colours of no class: #09c809 \(1 pixels\)"):
        SHAPES.encode(Image.fromarray(colors), 64, 64)


MEASURED = """
import sys
from cocosnet_hf import MaskCondition
from cocosnet_hf.memory import process_peak
condition = MaskCondition.from_names("abc", colors=("#000000", "#ff0000", "#0000ff"))
before = process_peak()
condition.encode(sys.argv[1], 256, 256)
print(process_peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_mask_as_large_as_pillow_reads_takes_under_500_mb(mode: str, tmp_path: Path):
    side = int(Image.MAX_IMAGE_PIXELS**0.5)
    picture = Image.new(mode, (side, side), 1 if mode == "L" else (255, 0, 0))
    picture.paste(0 if mode == "L" else (0, 0, 0), (0, 0, side, side // 2))
    picture.save(tmp_path / "mask.png", compress_level=1)
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "mask.png")]
    assert float(subprocess.run(command, check=True, capture_output=True).stdout) < 500
