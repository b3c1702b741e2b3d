"""What files do to label maps is said: lossy ones, several in one, palettes that were changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf.conditions import MaskCondition
from cocosnet_hf.conditions.meaning import ClassCode, index_map

LABELS = np.kron(np.arange(12).reshape(3, 4) % 5, np.ones((16, 16), int)).astype(np.uint8)
PARTS = MaskCondition(
    classes=("background", "hair", "coat", "shoe", "bag"),
    colors=("#f4f1ea", "#6b4226", "#4f8f5f", "#2b2b33", "#ffd23f"),
)
ORDER = np.array([3, 0, 4, 1, 2])


def read(source: Any, condition: MaskCondition = PARTS) -> np.ndarray:
    return condition.labels(source, *LABELS.shape).numpy()


def paletted(indices: np.ndarray, palette: np.ndarray) -> Image.Image:
    picture = Image.fromarray(indices.astype(np.uint8))
    picture.putpalette(palette.astype(np.uint8).ravel().tolist())
    return picture


LOSSY = {
    "a.jpg": {"quality": 100},
    "a.avif": {"quality": 100},
    "a.webp": {"quality": 100},
}


@pytest.mark.parametrize("name", LOSSY)
def test_class_numbers_in_a_lossy_file_are_read_as_they_are_and_said(name: str, tmp_path: Path):
    if name.endswith("avif") and ".avif" not in Image.registered_extensions():
        pytest.skip("Pillow was built without AVIF")
    one_class = Image.fromarray(np.full_like(LABELS, 3))  # which such a file leaves as it is
    one_class.save(tmp_path / name, **LOSSY[name])
    with pytest.warns(UserWarning) as said:
        assert (read(tmp_path / name) == 3).all()
    texts = [str(one.message) for one in said]
    assert any("changes class numbers along every edge" in text for text in texts), texts


@pytest.mark.parametrize(("suffix", "options"), [("png", {}), ("webp", {"lossless": True})])
def test_class_colours_and_lossless_files_are_read_without_a_word(
    suffix: str, options: dict[str, Any], tmp_path: Path
):
    Image.fromarray(PARTS.palette[LABELS]).save(tmp_path / f"a.{suffix}", **options)
    assert np.array_equal(read(tmp_path / f"a.{suffix}"), LABELS)


def test_greys_that_are_colours_are_not_said_to_be_numbers(tmp_path: Path):
    halves = np.where(np.arange(48)[:, None] < 24, 0, 255) * np.ones((1, 64), int)
    Image.fromarray(halves.astype(np.uint8)).save(tmp_path / "a.jpg", quality=100)
    bits = MaskCondition(("no", "yes"), ("#000000", "#ffffff"))
    assert np.array_equal(bits.labels(tmp_path / "a.jpg", 48, 64).numpy(), halves // 255)


@pytest.mark.filterwarnings("ignore:The mask's palette")  # of the GIF
@pytest.mark.parametrize("suffix", ["tiff", "png", "gif"])
def test_of_several_pictures_the_first_is_read_and_said(suffix: str, tmp_path: Path):
    colors = PARTS.palette[LABELS]
    pages = [Image.fromarray(each) for each in (colors, colors[::-1].copy())]
    pages[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=pages[1:])
    with pytest.warns(UserWarning, match="holds several pictures, frames or pages"):
        assert np.array_equal(read(tmp_path / f"a.{suffix}"), LABELS)


def test_numbers_of_a_gifs_palette_are_said(tmp_path: Path):
    strange = np.random.default_rng(0).integers(0, 60, (5, 3))
    paletted(LABELS, strange).save(tmp_path / "a.gif")
    with pytest.warns(UserWarning, match="a GIF whose palette has not the colours of classes"):
        read(tmp_path / "a.gif")


def test_a_palette_near_other_classes_colours_is_read_by_its_numbers_and_said():
    palette = np.empty((5, 3), int)
    palette[ORDER] = PARTS.palette + np.array([13, -13, 13])
    picture = paletted(ORDER[LABELS], palette.clip(0, 255))
    with pytest.warns(UserWarning, match="near the colours of classes in another order"):
        assert np.array_equal(read(picture), ORDER[LABELS])


def test_a_palette_near_its_own_classes_colours_needs_no_word():
    assert np.array_equal(read(paletted(LABELS, (PARTS.palette + 10).clip(0, 255))), LABELS)


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_are_read_in_either_order_of_bytes(order: str, tmp_path: Path):
    mode = {"<": "I;16", ">": "I;16B"}[order]
    data = LABELS.astype(f"{order}u2").tobytes()
    Image.frombytes(mode, LABELS.shape[::-1], data).save(tmp_path / "a.tiff")
    assert np.array_equal(read(tmp_path / "a.tiff"), LABELS)
    with Image.open(tmp_path / "a.tiff") as picture:
        plane, notes = index_map(picture, ClassCode(range(5), np.empty((0, 3), np.uint8)))
        assert np.array_equal(np.asarray(plane), LABELS) and notes == ()


@pytest.mark.parametrize("kind", [np.uint8, np.int64, bool])
def test_a_last_axis_of_one_plane_is_no_channel(kind: type):
    plane = (LABELS % 2).astype(kind)[..., None]
    assert np.array_equal(read(plane), LABELS % 2)
    assert np.array_equal(read(torch.from_numpy(plane)), LABELS % 2)
