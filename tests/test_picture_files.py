"""Metadata of any size never make good pixels unreadable, and damaged pixels never become good."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf.conditions import open_image, open_photo
from cocosnet_hf.pictures import Unreadable, open_stored
from tests.support.metadata import (
    exif_block,
    matrix_profile,
    png_chunk,
    turned_by_tag,
    with_chunk,
)

Y, X = np.mgrid[:24, :32]
PIXELS = np.stack([X * 8, Y * 10, X * 4 + Y * 5], -1).astype(np.uint8)
LONG = b"workflow " * 400_000


def png(**settings: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "PNG", **settings)
    return stream.getvalue()


def broken(chunk: bytes) -> bytes:
    """A chunk whose check sum is wrong."""
    return chunk[:-1] + bytes([chunk[-1] ^ 255])


TEXTS = {
    "zTXt": png_chunk(b"zTXt", b"a\0\0" + zlib.compress(LONG)),
    "iTXt": png_chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(LONG)),
    "tEXt": png_chunk(b"tEXt", b"a\0" + LONG),
    "many": b"".join(
        png_chunk(b"zTXt", b"a%d\0\0" % i + zlib.compress(LONG[:900_000])) for i in range(80)
    ),
    "damaged zTXt": png_chunk(b"zTXt", b"a\0\0" + zlib.compress(LONG)[:100]),
    "wrong check sum": broken(png_chunk(b"tEXt", b"a\0b")),
    "no keyword": png_chunk(b"iTXt", b"\0"),
    "empty date": png_chunk(b"tIME", b""),
    "short resolution": png_chunk(b"pHYs", b"\0"),
    "long profile": png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2_000_000))),
}


@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("name", TEXTS)
def test_text_of_a_png_does_not_matter(name: str, before: bytes, tmp_path: Path):
    data = with_chunk(png(), TEXTS[name], before)
    (tmp_path / "photo.png").write_bytes(data)
    for source in (tmp_path / "photo.png", io.BytesIO(data)):
        assert np.array_equal(open_photo(source), PIXELS)
    assert np.array_equal(open_stored({"bytes": data, "path": None}, "photo of one"), PIXELS)


def test_text_does_not_matter_in_a_picture_that_was_opened_before():
    data = with_chunk(png(), TEXTS["zTXt"], b"IEND")
    with Image.open(io.BytesIO(data)) as picture:
        assert np.array_equal(open_image(picture), PIXELS)


def test_a_png_whose_text_is_left_out_keeps_what_says_how_it_is_shown(tmp_path: Path):
    exif = exif_block([turned_by_tag(6)])
    data = with_chunk(png(exif=exif, icc_profile=matrix_profile()), TEXTS["iTXt"], b"IDAT")
    (tmp_path / "photo.png").write_bytes(data)
    (tmp_path / "plain.png").write_bytes(png(exif=exif, icc_profile=matrix_profile()))
    found = open_photo(tmp_path / "photo.png")
    assert found.size == (24, 32)
    assert np.array_equal(found, open_photo(tmp_path / "plain.png"))


@pytest.mark.parametrize("text", [b"", TEXTS["zTXt"]], ids=["plain", "with long text"])
def test_damaged_pixels_stay_damaged(text: bytes, tmp_path: Path):
    data = png()
    place, end = data.index(b"IDAT"), data.index(b"IEND") - 4
    half = png_chunk(b"IDAT", data[place + 4 : (place + end) // 2])
    (tmp_path / "photo.png").write_bytes(data[: place - 4] + half + text + data[end:])
    with pytest.raises(ValueError, match="photo.png' is damaged"):
        open_photo(tmp_path / "photo.png")


def test_metadata_of_a_jpeg_do_not_matter(tmp_path: Path):
    Image.fromarray(PIXELS).save(tmp_path / "plain.jpg")
    data = (tmp_path / "plain.jpg").read_bytes()

    def segment(marker: int, body: bytes) -> bytes:
        return bytes([255, marker]) + (len(body) + 2).to_bytes(2, "big") + body

    blocks = [
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<" * 60_000) * 40,
        segment(0xE2, b"ICC_PROFILE\0\x03\x09" + b"x" * 100),
        segment(0xE2, b"MPF\0II*\0\x08\0\0\0\x01\0\x01\xb0\x04\0\x01\0\0\0\x02\0\0\0"),
        segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\0\x04abcd"),
        segment(0xEE, b"Adobe"),
        segment(0xE0, b"JFIF\0"),
        segment(0xFE, b"\xff" * 60_000) * 20,
        segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
    ]
    expected = np.asarray(open_photo(tmp_path / "plain.jpg"))
    for number, block in enumerate(blocks):
        (tmp_path / f"{number}.jpg").write_bytes(data[:2] + block + data[2:])
        assert np.array_equal(open_photo(tmp_path / f"{number}.jpg"), expected), number


def test_the_first_of_several_pictures_in_one_file_is_read(tmp_path: Path):
    for name, kind in (("burst.jpg", "MPO"), ("burst.gif", "GIF"), ("burst.tiff", "TIFF")):
        first, second = Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1].copy())
        first.save(tmp_path / name, kind, save_all=True, append_images=[second])
        difference = np.abs(np.asarray(open_photo(tmp_path / name)).astype(int) - PIXELS)
        assert difference.mean() < 8


def test_a_gif_whose_second_picture_is_cut_off_is_its_first():
    noise = np.random.default_rng(0).integers(0, 255, (2, 40, 60), np.uint8)
    first, second = (Image.fromarray(one).convert("P") for one in noise)
    whole, alone = io.BytesIO(), io.BytesIO()
    first.save(whole, "GIF", save_all=True, append_images=[second])
    first.save(alone, "GIF")
    for cut in range(len(alone.getvalue()) + 20, len(whole.getvalue()), 97):
        found = open_image(io.BytesIO(whole.getvalue()[:cut]))
        assert np.array_equal(np.asarray(found.convert("L")), np.asarray(first.convert("L")))


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="needs names of open files")
def test_a_picture_may_come_through_a_pipe():
    end, start = os.pipe()
    os.write(start, png())
    os.close(start)
    try:
        assert np.array_equal(open_photo(f"/dev/fd/{end}"), PIXELS)
    finally:
        os.close(end)


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_heic_without_its_package_says_which_it_is(brand: bytes, tmp_path: Path):
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(100))
    try:
        import pillow_heif  # noqa: F401
    except ImportError:
        with pytest.raises(Unreadable, match="It is HEIC: pip install pillow-heif"):
            open_photo(tmp_path / "photo.heic")


def test_every_damaged_avif_is_a_value_error():
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "AVIF")
    data, rng = stream.getvalue(), np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        changed = bytearray(data[: rng.integers(20, len(data))] if rng.random() < 0.5 else data)
        changed[rng.integers(len(changed))] ^= int(rng.integers(1, 256))
        try:
            open_photo(io.BytesIO(bytes(changed)))
        except ValueError:
            refused += 1
    assert refused > 20
