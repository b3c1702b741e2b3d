"""Pictures to tensors and back, what a data set's row holds, sheets of pictures."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf.pictures import grid, open_photo, open_stored, to_image, to_pixels, to_tensor

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 12, 3)).astype(np.uint8)
PHOTO = Image.fromarray(PIXELS)


def test_a_photo_lies_between_minus_one_and_one():
    tensor = to_tensor(Image.fromarray(np.uint8([[[0, 255, 51]]])))
    assert tensor.dtype == torch.float32
    torch.testing.assert_close(tensor[:, 0, 0], torch.tensor([-1.0, 1.0, -0.6]))
    assert to_tensor(PHOTO).shape == (3, 9, 12)


@pytest.mark.parametrize(
    "tensor",
    [to_pixels(PHOTO), to_tensor(PHOTO), to_tensor(PHOTO).double().requires_grad_()],
    ids=["uint8", "float", "float64 with gradient"],
)
def test_a_tensor_becomes_the_photo_it_was_made_of(tensor: torch.Tensor):
    assert np.array_equal(to_image(tensor), PIXELS)


def test_a_tensor_from_zero_to_one_is_rounded_and_cut_off():
    values = torch.tensor([[[-1.0, 0.5, 2.0]]]).expand(3, 1, 3)
    assert np.asarray(to_image(values, low=0))[0, :, 0].tolist() == [0, 128, 255]
    assert np.asarray(to_image(values))[0, :, 0].tolist() == [0, 191, 255]


def test_one_plane_stays_one_plane():
    grey = PHOTO.convert("L")
    assert to_pixels(grey).shape == (9, 12)
    assert np.array_equal(to_image(to_pixels(grey)), np.asarray(grey))


def test_a_label_map_keeps_its_numbers():
    labels = np.int32([[0, 70000], [3, 1]])
    assert to_pixels(Image.fromarray(labels)).tolist() == labels.tolist()


def test_a_grid_puts_each_picture_in_its_cell():
    red, green = (
        Image.new("RGB", size, color) for size, color in (((8, 9), "red"), ((5, 4), "green"))
    )
    sheet = grid([[red, green], [green]], gap=2)
    assert sheet.size == (8 + 2 + 5, 9 + 2 + 4)
    places = {(0, 0): "red", (7, 8): "red", (10, 0): "green", (14, 3): "green", (0, 11): "green"}
    expected = {"red": (255, 0, 0), "green": (0, 128, 0)}
    assert {place: sheet.getpixel(place) for place in places} == {
        place: expected[color] for place, color in places.items()
    }
    assert (
        sheet.getpixel((8, 0)) == sheet.getpixel((10, 4)) == sheet.getpixel((14, 14)) == (255,) * 3
    )


def test_a_grid_can_be_transparent_between_its_pictures():
    sheet = grid([[PHOTO, PHOTO]], gap=3, ground="#00000000", mode="RGBA")
    assert sheet.getpixel((12, 0)) == (0, 0, 0, 0)
    assert sheet.getpixel((15, 0)) == (*PIXELS[0, 0].tolist(), 255)


def test_what_a_row_stores_is_opened(tmp_path: Path):
    buffer = io.BytesIO()
    PHOTO.save(buffer, "PNG")
    PHOTO.save(tmp_path / "photo.png")
    path = str(tmp_path / "photo.png")
    for value in (
        {"bytes": buffer.getvalue(), "path": None},
        {"bytes": buffer.getvalue(), "path": "gone.png"},
        {"bytes": None, "path": path},
        path,
        PHOTO,
    ):
        assert np.array_equal(open_stored(value, "photo of one"), PIXELS)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "There is no photo of one"),
        ({"bytes": b"no picture", "path": None}, "photo of one cannot be read"),
        ({"bytes": None, "path": "nowhere.png"}, "photo of one cannot be read.*nowhere.png"),
        (7, "The photo of one must be a PIL image"),
    ],
)
def test_what_cannot_be_opened_is_named(value: object, message: str):
    with pytest.raises(ValueError, match=message):
        open_stored(value, "photo of one")


GREY = PIXELS[..., 0] | 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (GREY.astype(np.uint16) * 257, ""),
        (GREY.astype(np.int32) * 257, ""),
        (GREY.astype(np.uint16), "taken for those of 8 bits"),
        (GREY.astype(np.int32), "taken for those of 8 bits"),
    ],
    ids=["16 bits", "16 of 32 bits", "8 of 16 bits", "8 of 32 bits"],
)
def test_a_grey_photo_of_many_bits_is_read_by_what_they_hold(
    values: np.ndarray, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    Image.fromarray(values).save(tmp_path / "photo.tiff")
    found = np.asarray(open_photo(tmp_path / "photo.tiff"))
    assert np.abs(found.astype(int) - GREY[..., None]).max() <= 1
    assert (said in caplog.text) if said else not caplog.text


def test_a_photo_of_twelve_bits_is_said_to_be_dark(caplog: pytest.LogCaptureFixture):
    notes: list[str] = []
    picture = Image.fromarray(GREY.astype(np.uint16) * 16)
    found = open_photo(picture, tell=lambda told: notes.extend(note.text for note in told))
    assert np.asarray(found).max() < 17
    assert "If it holds 10 or 12 bits, scale them" in notes[0] and not caplog.text


@pytest.mark.parametrize("values", [GREY.astype(np.int32) - 200, GREY.astype(np.int32) << 20])
def test_whole_numbers_beyond_any_photos_are_refused(values: np.ndarray):
    with pytest.raises(ValueError, match="holds whole numbers from .* Scale it to 8 bits first"):
        open_photo(Image.fromarray(values))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_photo_that_is_transparent_everywhere_is_white_and_said(
    mode: str, caplog: pytest.LogCaptureFixture
):
    picture = PHOTO.quantize(8) if mode == "P" else PHOTO.convert(mode)
    if mode == "P":
        picture.info["transparency"] = bytes(8)
    else:
        picture.putalpha(0)
    assert (np.asarray(open_photo(picture)) == 255).all()
    assert "transparent everywhere, so that it is taken as white" in caplog.text
