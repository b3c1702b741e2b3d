"""Faces are cropped and people cut out as the bundled models know them."""

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf.photos import NoFaceFoundError, crop_to_face, cut_out, find_face
from tests.support.paths import REPOSITORY
from tests.test_person_reader import PAINTED, known, on_ground

FACES = sorted((REPOSITORY / "demo" / "gallery" / "edge-to-face").glob("*.jpg"))


@pytest.fixture(scope="module")
def face() -> Image.Image:
    """A painted face in the corner of a larger picture, 100 pixels wide."""
    scene = Image.new("RGB", (400, 300), (120, 130, 140))
    scene.paste(Image.open(FACES[0]).resize((100, 100)), (260, 40))
    return scene


def test_a_face_is_found_in_a_larger_photo_and_cropped_around_its_middle(face: Image.Image):
    box = find_face(face)
    middle = box.left + box.side / 2, box.top + box.side / 2
    assert np.hypot(middle[0] - 310, middle[1] - 95) < 12
    crop = crop_to_face(face)
    assert crop.size == (round(1.75 * box.side),) * 2
    # As wide again, the crop shows what the photo shows around the face.
    left, top = round(middle[0] - 0.5 * crop.width), round(middle[1] - 0.55 * crop.width)
    expected = face.crop((left, top, left + crop.width, top + crop.width))
    assert np.abs(np.asarray(crop, int) - np.asarray(expected)).max() <= 1


def test_a_crop_beyond_the_photo_goes_on_with_its_border(face: Image.Image):
    close = face.crop((262, 42, 358, 138))
    crop = np.asarray(crop_to_face(close))
    assert crop.shape[0] == crop.shape[1] and crop.shape[0] > 100
    assert (crop[0] == crop[1]).all()


def test_the_larger_photo_has_its_face_at_the_same_place(face: Image.Image):
    small, large = find_face(face), find_face(face.resize((1600, 1200)))
    assert np.abs(np.array(large) / 4 - np.array(small)).max() < 4


def test_a_photo_without_a_face_is_refused_with_the_remedy():
    with pytest.raises(NoFaceFoundError, match="200 x 100.*from the front"):
        crop_to_face(Image.new("RGB", (200, 100), "white"))


def test_a_person_is_cut_out_of_a_scene_onto_white():
    labels, _ = known(PAINTED[0])
    scene, _ = on_ground(Image.open(PAINTED[0]), labels)
    cut = np.asarray(cut_out(scene))
    height, width = cut.shape[:2]
    assert abs(height - 2 * width) <= 1
    rows = np.flatnonzero((labels > 0).any(1))
    assert abs(height - 1.04 * (rows[-1] - rows[0])) < 0.15 * height
    assert (cut[[0, -1]] == 255).all() and (cut < 250).any(2).mean() > 0.15
