"""Editing a photo's layout, and carrying a painted layer over to other photos."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from cocosnet_hf import CoCosPipeline, MaskCondition
from cocosnet_hf.applications import edit_photo, transfer_layer
from tests.support import tiny

SIZE = 64
CLASSES = MaskCondition.from_names(["ground", "sky", "house"])


def photo(seed: int = 0, width: int = SIZE, height: int = SIZE) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def layout(right_edge: int = 0) -> np.ndarray:
    """Sky over ground, with a house at the left."""
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[: SIZE // 2] = 1
    labels[24:40, :right_edge] = 2
    return labels


@pytest.fixture
def pipe() -> CoCosPipeline:
    return tiny.pipeline(CLASSES, SIZE)


@pytest.fixture
def edges() -> CoCosPipeline:
    return tiny.pipeline(image_size=SIZE)


def test_a_photo_whose_layout_stays_is_left_as_it_is(pipe: CoCosPipeline):
    edited = edit_photo(pipe, photo(), layout(), layout())
    assert np.array_equal(edited, photo())


def test_an_edit_changes_its_surroundings_only(pipe: CoCosPipeline):
    edited = np.asarray(edit_photo(pipe, photo(), layout(16), layout(), margin=4))
    changed = (edited != np.asarray(photo())).any(2)
    assert changed[28:36, 2:14].mean() > 0.9
    assert not changed[:, 26:].any() and not changed[:16].any() and not changed[48:].any()


@pytest.mark.parametrize("margin", [0, 1, 2, 3])
def test_a_narrow_seam_stays_narrow(pipe: CoCosPipeline, margin: int):
    edited = np.asarray(edit_photo(pipe, photo(), layout(16), layout(), margin=margin))
    changed = (edited != np.asarray(photo())).any(2)
    assert changed[28:36, 2:14].mean() > 0.9
    assert not changed[:, 22:].any()


def test_an_edited_photo_keeps_its_size(pipe: CoCosPipeline):
    large = photo(width=3 * SIZE, height=3 * SIZE)
    edited = edit_photo(pipe, large, layout(16), layout(), margin=4)
    assert edited.size == large.size
    assert np.array_equal(np.asarray(edited)[:, -SIZE:], np.asarray(large)[:, -SIZE:])


def test_a_whole_edit_is_the_painting_of_the_photo_with_itself(pipe: CoCosPipeline):
    edited = edit_photo(pipe, photo(), layout(16), layout(), whole=True)
    expected = pipe(layout(16), photo(), layout()).images[0]
    assert np.array_equal(edited, expected)


def test_an_edit_takes_a_painting_that_is_there_already(pipe: CoCosPipeline):
    green = Image.new("RGB", (SIZE, SIZE), (0, 255, 0))
    edited = edit_photo(pipe, photo(), layout(16), layout(), margin=0, painted=green)
    expected = np.array(photo())
    expected[24:40, :16] = (0, 255, 0)
    assert np.array_equal(edited, expected)


def test_without_its_layout_the_photos_own_edges_are_edited(edges: CoCosPipeline):
    assert np.array_equal(edit_photo(edges, photo(), photo()), photo())
    drawing = Image.new("L", (SIZE, SIZE), 255)
    ImageDraw.Draw(drawing).line((8, 8, 50, 50), fill=0)
    assert not np.array_equal(edit_photo(edges, photo(), {"edges": drawing}), photo())


@pytest.mark.parametrize("margin", [1.5, "x"])
def test_a_margin_of_no_whole_pixels_is_refused(pipe: CoCosPipeline, margin: Any):
    with pytest.raises(ValueError, match="margin must be a whole number of pixels, 0 or more"):
        edit_photo(pipe, photo(), layout(), layout(), margin=margin)


def test_what_is_no_painting_is_refused(pipe: CoCosPipeline):
    with pytest.raises(ValueError, match="painted picture must be a PIL image"):
        edit_photo(pipe, photo(), layout(), layout(), painted=3)


def test_a_negative_margin_is_refused(pipe: CoCosPipeline):
    with pytest.raises(ValueError, match="margin must be .*, 0 or more, got -1"):
        edit_photo(pipe, photo(), layout(), layout(), margin=-1)


def test_an_empty_layer_leaves_photos_as_they_are(edges: CoCosPipeline):
    empty = Image.new("RGBA", (SIZE, SIZE))
    (found,) = transfer_layer(edges, empty, photo(), photo(1))
    assert np.array_equal(found, photo(1))


@pytest.mark.parametrize(("strength", "share"), [(1.0, 1.0), (0.25, 0.25), (0.0, 0.0)])
def test_a_layer_that_covers_everything_covers_every_photo(
    edges: CoCosPipeline, strength: float, share: float
):
    red = Image.new("RGBA", (SIZE, SIZE), (200, 10, 30, 255))
    found = transfer_layer(edges, red, photo(), [photo(1), photo(2, 128, 96)], strength=strength)
    assert [picture.size for picture in found] == [(SIZE, SIZE), (128, 96)]
    for picture, ground in zip(found, (photo(1), photo(2, 128, 96)), strict=True):
        expected = share * np.array([200, 10, 30]) + (1 - share) * np.asarray(ground, float)
        assert np.abs(np.asarray(picture, float) - expected).max() <= 0.51


def test_a_layer_lands_where_the_correspondence_says(edges: CoCosPipeline):
    layer = Image.new("RGBA", (SIZE, SIZE))
    layer.paste((0, 255, 0, 255), (0, 0, SIZE // 2, SIZE))
    (found,) = transfer_layer(edges, layer, photo(), photo(1))
    matching = edges(photo(1), photo()).matching
    left = (matching.flow()[0, ..., 0] < SIZE / 2).numpy()
    sure = (matching.confidence()[0] > 0.9).numpy()
    green = np.asarray(found)[2::4, 2::4, 1].astype(int) - np.asarray(found)[2::4, 2::4, 0]
    assert sure.sum() > 20
    assert green[left & sure].mean() > green[~left & sure].mean() + 50


def test_a_layer_is_as_sharp_as_it_is_painted_where_the_warp_is_coherent():
    pipe = tiny.blending_pipeline(image_size=SIZE)
    layer = Image.new("RGBA", (SIZE, SIZE))
    layer.paste((0, 255, 0, 255), (0, 0, SIZE // 2, SIZE))
    (found,) = transfer_layer(pipe, layer, photo(), photo(1))
    size = pipe.encode_exemplar(photo()).photos[0][0].shape[-2:]
    opaque = torch.zeros(1, 1, *size)
    opaque[..., : size[1] // 2] = 1
    carried = pipe.match(photo(1), photo()).coherent().warp(opaque, size)
    share = F.interpolate(carried, (SIZE, SIZE), mode="bilinear")[0, 0, ..., None].numpy()
    expected = share * np.array([0, 255, 0]) + (1 - share) * np.asarray(photo(1), float)
    assert np.abs(np.asarray(found, float) - expected).max() <= 1
    assert 0 < share.mean() < 1


def test_a_layer_is_carried_without_painting(edges: CoCosPipeline):
    edges.translation.register_forward_pre_hook(lambda *_: pytest.fail("a picture was painted"))
    layer = Image.new("RGBA", (SIZE, SIZE), "red")
    (carried,) = transfer_layer(edges, layer, photo(), photo(1))
    assert carried.getpixel((SIZE // 2, SIZE // 2)) == (255, 0, 0)


def test_masks_are_given_for_photos_and_exemplar(pipe: CoCosPipeline):
    red = Image.new("RGBA", (SIZE, SIZE), "red")
    (found,) = transfer_layer(
        pipe, red, photo(), photo(1), exemplar_condition=layout(), conditions=[layout(16)]
    )
    assert np.array_equal(found, Image.new("RGB", (SIZE, SIZE), "red"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": Image.new("RGB", (SIZE, SIZE))}, "must have transparency"),
        ({"layer": Image.new("RGBA", (SIZE, 32))}, "as large as the exemplar"),
        ({"strength": 1.5}, "strength must be in 0..1, got 1.5"),
        ({"strength": "x"}, "strength must be in 0..1, got 'x'"),
        ({"conditions": [photo(), photo()]}, "one for each of the 1 photos, got 2"),
        ({"conditions": photo()}, "a list of one for each of the 1 photos, got .*Image"),
    ],
)
def test_an_unusable_layer_is_refused(edges: CoCosPipeline, change: dict[str, Any], message: str):
    settings: dict[str, Any] = {
        "layer": Image.new("RGBA", (SIZE, SIZE), "red"),
        "exemplar": photo(),
        "photos": photo(1),
    }
    with pytest.raises(ValueError, match=message):
        transfer_layer(edges, **(settings | change))
