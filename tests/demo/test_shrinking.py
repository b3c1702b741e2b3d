"""Pictures as large as the page reads, made smaller in little memory."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from studio.shrinking import GAP, shrunk

from cocosnet_hf.conditions import open_image
from cocosnet_hf.memory import process_peak
from tests.support.processes import ended, fork

SIDE = 100


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGB", "L", "I;16"])
@pytest.mark.parametrize("size", [(90, 60), (205, 77), (1000, 430), (300, 900)])
def test_a_thumbnail_is_pillows(mode: str, size: tuple[int, int]):
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    half = np.where(x > 127, 255, 60)
    picture = Image.fromarray(np.stack([x, y, 255 - x, half], -1).astype(np.uint8))
    picture = picture.getchannel(0).convert("I;16") if mode == "I;16" else picture.convert(mode)
    expected = picture.copy()
    gap = None if mode == "I;16" else GAP
    expected.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=gap)
    found = shrunk(picture, SIDE)
    assert (found.mode, found.size) == (mode, expected.size) and max(found.size) <= SIDE
    assert np.abs(np.asarray(found, float) - np.asarray(expected, float)).mean() < 1


def test_the_bytes_of_a_big_endian_picture_are_in_order():
    ramp = np.linspace(0, 255, 1000).astype(">u2")[None].repeat(600, 0)
    picture = Image.frombytes("I;16B", (1000, 600), ramp.tobytes())
    found = np.asarray(shrunk(picture, SIDE)).astype(int)
    assert found.max() <= 255 and np.abs(found[30] - np.linspace(0, 255, SIDE)).max() < 5


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_a_filter_adds_no_numbers_beyond_those_of_the_picture(mode: str):
    high = 255 if mode == "I;16" else 65535  # numbers of 8 bits in a file of 16
    edge = np.where(np.arange(1000) < 500, 0, high) * np.ones((600, 1))
    kind = {"I": np.int32, "F": np.float32, "I;16": np.uint16}[mode]
    found = shrunk(Image.fromarray(edge.astype(kind)), SIDE)
    assert (found.mode, found.size, found.getextrema()) == (mode, (SIDE, 60), (0, high))


def measure(path: Path, found: Path) -> None:
    """By how much reading a picture, and making it smaller, raises the memory of this process."""
    shrunk(open_image(Image.new("RGBA", (3000, 3000))), 1024)
    before = process_peak()
    picture = open_image(path, decoded=lambda picture: shrunk(picture, 1024))
    found.write_text(f"{process_peak() - before} {picture.width} {picture.height}")


@pytest.mark.slow
def test_a_picture_of_100_mb_takes_little_more_than_that(tmp_path: Path):
    picture = Image.new("RGBA", (5000, 4000), "white")
    ImageDraw.Draw(picture).ellipse((900, 500, 4000, 3000), "#e0455a", "#2b2b33", 40)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "large.png", exif=exif)
    running = fork(measure, tmp_path / "large.png", tmp_path / "found")
    assert ended(running, 300) == 0
    memory, width, height = map(float, (tmp_path / "found").read_text().split())
    assert (width, height) == (819, 1024)
    assert memory < 130, memory  # 80 MB are its own pixels; turned or weighed whole it takes twice
