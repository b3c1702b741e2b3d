"""Pictures are turned by their orientation tag alone, whatever else their metadata hold."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf.orientation import turned, turned_by
from cocosnet_hf.pictures import open_image, open_photo
from tests.support.metadata import exif_block, turned_by_tag

Y, X = np.mgrid[:12, :20]
STORED = np.stack([X * 12, Y * 20, X * 6 + Y * 5], -1).astype(np.uint8)
UPRIGHT = {
    1: STORED,
    2: STORED[:, ::-1],
    3: STORED[::-1, ::-1],
    4: STORED[::-1],
    5: STORED.transpose(1, 0, 2),
    6: np.rot90(STORED, -1),
    7: STORED[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(STORED),
}

MAKER = (0x10F, 2, 4000, struct.pack("<I", 70_000))  # a text that lies behind the end of the file
NO_NUMBER = (0x11A, 5, 1, struct.pack("<I", 8 + 2 + 12 * 2 + 4))  # -1 / 0, behind the table
OTHER_TAGS = {
    "no other": ([], b""),
    "a maker's name that is cut off": ([MAKER], b""),
    "a rational of -1 / 0": ([NO_NUMBER], struct.pack("<ii", -1, 0)),
    "an unknown kind of value": ([(0x10E, 99, 1, b"abcd")], b""),
    "an EXIF folder behind the end": ([(0x8769, 4, 1, struct.pack("<I", 2**31))], b""),
    "a thumbnail's folder that is this one": ([], b"\x08\0\0\0"),
}


@pytest.mark.parametrize("suffix", ["png", "webp", "avif", "tiff"])
@pytest.mark.parametrize("tag", UPRIGHT)
def test_every_orientation_of_every_format_is_set_upright(tmp_path: Path, suffix: str, tag: int):
    exif = Image.Exif()
    exif[0x112] = tag
    path = tmp_path / f"stored.{suffix}"
    lossless = {"lossless": True} if suffix == "webp" else {"quality": 100}
    Image.fromarray(STORED).save(path, exif=exif, **(lossless if suffix != "tiff" else {}))
    found = np.asarray(open_photo(path)).astype(int)
    assert found.shape == UPRIGHT[tag].shape
    assert np.abs(found - UPRIGHT[tag]).mean() < 8


@pytest.mark.parametrize("tag", UPRIGHT)
@pytest.mark.parametrize("name", OTHER_TAGS)
def test_damaged_tags_beside_the_orientation_do_not_matter(tmp_path: Path, name: str, tag: int):
    entries, extra = OTHER_TAGS[name]
    block = exif_block(sorted([*entries, turned_by_tag(tag)]), extra)
    Image.fromarray(STORED).save(tmp_path / "photo.png", exif=block)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of the damaged tags
        found = open_image(tmp_path / "photo.png")
        again = open_photo(found)
    assert np.array_equal(found, UPRIGHT[tag])
    assert np.array_equal(again, UPRIGHT[tag])  # and it is not turned twice
    assert turned_by(found) == turned_by(again) == tag


@pytest.mark.parametrize("tag", [0, 9, 255, 65535])
def test_an_orientation_that_means_nothing_turns_nothing(tmp_path: Path, tag: int):
    Image.fromarray(STORED).save(tmp_path / "photo.png", exif=exif_block([turned_by_tag(tag)]))
    assert np.array_equal(open_photo(tmp_path / "photo.png"), STORED)


@pytest.mark.parametrize(
    "block", [b"", b"Exif\0\0", b"Exif\0\0II*\0", b"Exif\0\0XX*\0" + b"\xff" * 40]
)
def test_a_block_of_tags_that_is_none_turns_nothing(block: bytes):
    photo = Image.fromarray(STORED)
    photo.info["exif"] = block
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(open_photo(photo), STORED)


def test_a_photo_in_memory_keeps_its_metadata():
    stream = io.BytesIO()
    Image.fromarray(STORED).save(stream, "PNG", exif=exif_block([turned_by_tag(6)]))
    with Image.open(stream) as photo:
        open_photo(photo)
        assert photo.getexif()[0x112] == 6
        assert photo.size == (20, 12)


@pytest.mark.parametrize("tag", UPRIGHT)
def test_a_label_map_is_turned_as_its_photo(tag: int):
    assert np.array_equal(turned(Image.fromarray(STORED), tag), UPRIGHT[tag])
