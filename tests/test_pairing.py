"""What belongs to a photo agrees with it in shape and turning."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf.orientation import TURNED, turned, turned_by
from cocosnet_hf.pairing import Frame, fits, lying_on

WIDE = Image.fromarray(np.arange(12 * 20, dtype=np.uint8).reshape(12, 20))


@pytest.mark.parametrize(
    ("size", "other"),
    [
        ((1024, 1024), (512, 512)),
        ((4000, 3000), (256, 192)),
        ((1919, 1079), (57, 32)),
        ((333, 500), (85, 128)),
        ((100, 75), (101, 75)),
    ],
)
def test_two_sizes_of_one_picture_fit(size: tuple[int, int], other: tuple[int, int]):
    assert fits(size, other) and fits(other, size)


@pytest.mark.parametrize(
    ("size", "other"),
    [
        ((144, 192), (192, 144)),
        ((640, 480), (512, 512)),
        ((3000, 2000), (4000, 3000)),
        ((1280, 720), (1280, 800)),
        ((100, 120), (110, 120)),
    ],
)
def test_other_shapes_do_not_fit(size: tuple[int, int], other: tuple[int, int]):
    assert not fits(size, other) and not fits(other, size)


@pytest.mark.parametrize("tag", range(1, 9))
def test_a_label_map_of_the_upright_photo_lies_as_it_is(tag: int):
    stored = (12, 20) if tag >= 5 else (20, 12)
    found, notes = lying_on(WIDE.copy(), Frame.of(stored, tag), "mask")
    assert np.array_equal(found, WIDE)
    assert len(notes) == (tag in (2, 3, 4))  # whose shape does not tell what was drawn on


@pytest.mark.parametrize("tag", range(5, 9))
def test_a_label_map_of_the_stored_pixels_is_turned_with_its_photo(tag: int):
    found, notes = lying_on(WIDE.copy(), Frame.of((20, 12), tag), "mask")
    assert np.array_equal(found, turned(WIDE, tag))
    assert len(notes) == 1 and "it was turned likewise" in notes[0].text
    again, more = lying_on(found, Frame.of((20, 12), tag), "mask")
    assert np.array_equal(again, found) and more == ()
    assert turned_by(found) == tag


def test_a_square_label_map_of_a_turned_photo_is_taken_as_upright_and_said():
    square = Image.new("L", (16, 16))
    _, notes = lying_on(square, Frame.of((32, 32), 6), "mask")
    assert "as drawn on the upright photo" in notes[0].text


def test_a_label_map_with_a_tag_of_its_own_is_upright_already():
    own = WIDE.copy()
    own.info[TURNED] = 6
    assert lying_on(own, Frame.of((12, 20), 6), "mask")[1] == ()
    with pytest.raises(ValueError, match="another shape"):
        lying_on(own, Frame.of((20, 12), 6), "mask")


@pytest.mark.parametrize("tag", [1, 3, 6])
def test_another_shape_is_refused_with_both_sizes(tag: int):
    with pytest.raises(ValueError, match="The mask has 20 x 12 pixels .* its photo 16 x 16"):
        lying_on(WIDE.copy(), Frame.of((16, 16), tag), "mask")
