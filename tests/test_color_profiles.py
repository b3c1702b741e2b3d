"""Photos are read in the colours that a viewer shows; label maps stay as they are stored."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from cocosnet_hf.conditions import MaskCondition, open_image, open_photo
from tests.support.metadata import (
    ADOBE_PRIMARIES,
    SRGB_PRIMARIES,
    matrix_profile,
    png_chunk,
    with_chunk,
)

COLORS = np.zeros((16, 16, 3), np.uint8)
COLORS[:8], COLORS[8:] = (60, 150, 80), (190, 70, 60)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
ADOBE = matrix_profile()
GREY = matrix_profile(b"GRAY", gamma=1.0)


def wide(profile: bytes = ADOBE) -> Image.Image:
    """The two colours as a camera stores them that works in this profile."""
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    srgb = ImageCms.createProfile("sRGB")
    picture = ImageCms.profileToProfile(Image.fromarray(COLORS), srgb, opened)
    assert picture is not None
    picture.info["icc_profile"] = profile
    return picture


def off(found: Image.Image, expected: np.ndarray = COLORS) -> int:
    return int(np.abs(np.asarray(found).astype(int) - expected).max())


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp", "avif"])
def test_a_wide_profile_is_applied_whatever_the_format(tmp_path: Path, suffix: str):
    path = tmp_path / f"photo.{suffix}"
    settings = {} if suffix in ("png", "tiff") else {"quality": 100}
    wide().save(path, icc_profile=ADOBE, **settings)
    found = open_photo(path)
    for rows in (slice(2, 6), slice(10, 14)):  # away from the border, which JPEG mixes
        assert np.abs(np.asarray(found).astype(int) - COLORS)[rows].max() <= 6
    assert "icc_profile" not in found.info
    assert np.array_equal(open_photo(found), found)  # and it is not applied twice


@pytest.mark.parametrize("gamma", [1.8, 2.2, 2.6])
def test_profiles_of_every_gamma_are_applied(gamma: float):
    assert off(open_photo(wide(matrix_profile(primaries=ADOBE_PRIMARIES, gamma=gamma)))) <= 4


def test_the_profile_of_an_srgb_photo_changes_no_pixel():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    photo.info["icc_profile"] = SRGB
    assert np.array_equal(open_photo(photo), photo)


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_transparency_and_palettes_keep_their_profile(mode: str):
    photo = wide().convert(mode) if mode == "RGBA" else wide().quantize(4)
    photo.info["icc_profile"] = ADOBE
    if mode == "RGBA":
        photo.putpixel((3, 3), (0, 0, 0, 0))
    found = np.asarray(open_photo(photo)).astype(int)
    assert np.abs(found[10:] - COLORS[10:]).max() <= 4
    assert mode == "P" or found[3, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_grey_profile_is_applied_to_grey_pixels(mode: str):
    photo = Image.new("L", (16, 16), 55).convert(mode)
    photo.info["icc_profile"] = GREY
    level = open_photo(photo).getpixel((4, 4))
    linear = (55 / 255) / 12.92 if 55 < 11 else 1.055 * (55 / 255) ** (1 / 2.4) - 0.055
    assert level == pytest.approx([255 * linear] * 3, abs=3)


def test_a_grey_photo_with_a_profile_of_colours_stays_grey():
    photo = Image.new("L", (16, 16), 120)
    photo.info["icc_profile"] = ADOBE
    red, green, blue = open_photo(photo).getpixel((4, 4))
    assert max(red, green, blue) - min(red, green, blue) <= 1 and abs(green - 120) < 8


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("RGB", b""),
        ("RGB", b"no profile"),
        ("RGB", ADOBE[:200]),
        ("RGB", ADOBE[:64] + b"\xff" * 300),
        ("RGB", ADOBE.replace(b"rTRC", b"xTRC")),
        ("RGB", GREY),
        ("RGB", LAB),
        ("RGB", matrix_profile(b"CMYK")),
        ("CMYK", ADOBE),
        ("CMYK", matrix_profile(b"CMYK")),
        ("L", b"\0" * 128),
        ("RGBA", b"no profile"),
    ],
)
def test_a_profile_that_cannot_be_used_is_passed_over_and_said(
    mode: str, profile: bytes, caplog: pytest.LogCaptureFixture
):
    photo = Image.fromarray(COLORS).convert(mode)
    expected = np.asarray(open_photo(photo))
    photo.info["icc_profile"] = profile
    assert np.array_equal(open_photo(photo), expected)
    assert ("colour profile that cannot be used" in caplog.text) == bool(profile)


def test_a_photo_of_sixteen_bits_is_read_with_its_profile():
    photo = Image.fromarray(np.full((16, 16), 55 * 257, np.uint16))
    photo.info["icc_profile"] = GREY
    assert open_photo(photo).getpixel((4, 4))[0] > 120


@pytest.mark.parametrize(("gamma", "changes"), [(45455, False), (100_000, True), (55_556, True)])
def test_the_gamma_of_a_png_is_read_where_it_is_not_that_of_srgb(gamma: int, changes: bool):
    stream = io.BytesIO()
    Image.fromarray(COLORS).save(stream, "PNG")
    chunk = png_chunk(b"gAMA", gamma.to_bytes(4, "big"))
    found = open_photo(io.BytesIO(with_chunk(stream.getvalue(), chunk, b"IDAT")))
    expected = np.rint(255 * (COLORS / 255) ** (100_000 / gamma / 2.2))
    assert off(found, expected if changes else COLORS) <= 1


def test_label_maps_are_never_converted(tmp_path: Path):
    condition = MaskCondition(classes=("a", "b"), colors=("#3c9650", "#be463c"))
    Image.fromarray(COLORS).save(tmp_path / "mask.png", icc_profile=ADOBE)
    assert np.array_equal(open_image(tmp_path / "mask.png"), COLORS)
    labels = condition.labels(tmp_path / "mask.png", 16, 16)
    assert labels[:8].sum() == 0 and labels[8:].all()


def test_primaries_that_are_srgbs_in_other_words_change_next_to_nothing():
    assert off(open_photo(wide(matrix_profile(primaries=SRGB_PRIMARIES, gamma=2.2)))) <= 3
