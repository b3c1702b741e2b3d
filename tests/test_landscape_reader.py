"""The bundled network reads painted landscapes, whose masks are known."""

import json

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf import MaskCondition, bundled
from cocosnet_hf.__main__ import main
from cocosnet_hf.landscape_reader import LANDSCAPE_CLASSES, read_landscape
from tests.support.paths import REPOSITORY
from tests.support.pictures import assert_same_but_for_rounding, whole_picture

NAME = "mask-to-landscape"
GALLERY = REPOSITORY / "demo" / "gallery" / NAME
PAINTED = sorted(GALLERY.glob("[0-9][0-9].jpg"))


@pytest.fixture(scope="module")
def condition() -> MaskCondition:
    found = MaskCondition.from_config(json.loads((GALLERY / "condition.json").read_text()))
    assert found.classes == LANDSCAPE_CLASSES
    return found


def test_what_painted_landscapes_show_is_found(condition: MaskCondition):
    agreements = []
    for path in PAINTED:
        photo = whole_picture(path)
        found = read_landscape(photo)
        assert found.shape == photo.size[::-1] and found.dtype == np.uint8
        known = condition.labels(path.with_suffix(".png"), *found.shape).numpy()
        agreements.append((found == known).mean())
    assert np.mean(agreements) > 0.7


def test_wide_pictures_are_read_where_they_are():
    picture = np.asarray(whole_picture(PAINTED[3]))
    alone = read_landscape(Image.fromarray(picture))
    mirrored = np.concatenate([picture, picture[:, ::-1]], axis=1)
    found = read_landscape(Image.fromarray(np.concatenate([mirrored, mirrored], axis=1)))
    first, *_, last = np.split(found, 4, axis=1)
    assert (first == alone).mean() > 0.6 and (last[:, ::-1] == alone).mean() > 0.6


def test_small_pictures_are_read():
    picture = whole_picture(PAINTED[3])
    found = read_landscape(picture.resize((128, 96), Image.Resampling.LANCZOS))
    alone = read_landscape(picture)[np.ix_(np.arange(96) * 256 // 96, np.arange(128) * 2)]
    assert (found == alone).mean() > 0.6


def test_a_picture_of_one_colour_has_classes_too():
    assert read_landscape(Image.new("RGB", (400, 20), "gray")).shape == (20, 400)


def test_other_classes_and_unguided_masks_are_not_read():
    for classes, guided in ((LANDSCAPE_CLASSES[::-1], True), (LANDSCAPE_CLASSES, False)):
        condition = MaskCondition.from_names(classes, guided=guided)
        assert condition.landmarks_in(PAINTED[0]) is None


def test_a_photo_becomes_a_mask_in_the_class_colours(condition: MaskCondition):
    mask = condition.from_photo(PAINTED[0])
    known = condition.palette[read_landscape(PAINTED[0])]
    assert np.array_equal(np.asarray(mask), known)


@pytest.mark.slow
def test_a_layout_of_a_photo_and_an_exemplar_without_a_mask(tmp_path, condition: MaskCondition):
    layout, look = (str(path) for path in PAINTED[:2])
    target = tmp_path / "painted.png"
    main([layout, look, "--model", NAME, "-o", str(target), "--photo"])
    expected = bundled(NAME)(condition.from_photo(layout), look).images[0]
    assert_same_but_for_rounding(Image.open(target), expected)
