"""Masks of many pixels: the same classes as in small ones, in little memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf.conditions import MaskCondition, meaning
from cocosnet_hf.memory import process_peak
from tests.support.processes import ended, fork

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
def test_a_mask_read_in_chunks_has_the_classes_of_one_read_at_once(
    form: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
):
    expected = SHAPES.labels(LABELS, *size)
    for chunk in (120, 700, 1 << 20):
        monkeypatch.setattr(meaning, "CHUNK", chunk)
        assert (SHAPES.labels(pictures()[form], *size) == expected).all()


def test_borders_that_jpeg_made_are_the_same_in_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    reader = MaskCondition(SHAPES.classes, SHAPES.colors, unknown=0, snap_colors=True)
    pictures()["RGB"].save(tmp_path / "mask.jpg", quality=70)
    whole = reader.labels(tmp_path / "mask.jpg", 120, 120)
    assert (whole.numpy() == LABELS).mean() > 0.95
    for chunk in (120, 1000, 5000):
        monkeypatch.setattr(meaning, "CHUNK", chunk)
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


def measure(path: Path, found: Path) -> None:
    """By how much reading a mask raises the memory of this process, and how often it is opened."""
    condition = MaskCondition.from_names("abc", colors=("#000000", "#ff0000", "#0000ff"))
    condition.encode(np.zeros((8, 8), np.uint8), 8, 8)
    before, opened, really = process_peak(), [], Image.open

    def counted(*arguments: Any, **options: Any) -> Image.Image:
        opened.append(arguments)
        return really(*arguments, **options)

    Image.open = counted
    condition.encode(path, 256, 256)
    found.write_text(f"{process_peak() - before} {len(opened)}")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["L", "P", "P in colours", "RGB"])
def test_a_mask_as_large_as_pillow_reads_is_opened_once_and_takes_under_500_mb(
    mode: str, tmp_path: Path
):
    side = int(Image.MAX_IMAGE_PIXELS**0.5)
    picture = Image.new(mode.split()[0], (side, side), (255, 0, 0) if mode == "RGB" else 1)
    picture.paste((0, 0, 0) if mode == "RGB" else 0, (0, 0, side, side // 2))
    if mode == "P in colours":
        picture.putpalette([0, 0, 255, 255, 0, 0])
    elif mode == "P":
        picture.putpalette([1, 2, 3, 4, 5, 6])
    picture.save(tmp_path / "mask.png", compress_level=1)
    running = fork(measure, tmp_path / "mask.png", tmp_path / "found")
    assert ended(running, 300) == 0
    memory, opened = map(float, (tmp_path / "found").read_text().split())
    assert (memory < 500, opened) == (True, 1), memory
