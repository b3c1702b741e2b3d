"""The bundled network reads the parts of painted faces, in the pictures and in their edges."""

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf import EdgeCondition
from cocosnet_hf.conditions.faces import CELEBAMASK_FACE_CLASSES
from cocosnet_hf.conditions.sides import mirrored_order
from cocosnet_hf.face_reader import SIDE, read_face_parts, read_size, seen_edges, seen_photo
from tests.support.paths import REPOSITORY
from tests.support.pictures import whole_picture

FACES = sorted((REPOSITORY / "demo" / "gallery" / "edge-to-face").glob("[0-9][0-9].jpg"))


def test_every_painted_face_has_its_parts():
    for path in FACES:
        parts = read_face_parts(seen_photo(path))
        assert parts.shape == (SIDE, SIDE) and parts.dtype == np.uint8
        found = {CELEBAMASK_FACE_CLASSES[number] for number in np.unique(parts)}
        assert {"skin", "nose", "hair"} <= found and found & {"l_eye", "r_eye", "glasses"}, path


def test_edges_are_read_as_their_photo():
    agreements = []
    for path in FACES:
        edges = EdgeCondition().encode(path, 256, 256)
        from_edges = read_face_parts(seen_edges(edges))
        agreements.append((from_edges == read_face_parts(seen_photo(path))).mean())
    assert np.mean(agreements) > 0.8


@pytest.mark.parametrize("size", [(256, 384), (384, 256)])
def test_other_shapes_are_read_where_they_are(size: tuple[int, int]):
    picture = Image.new("RGB", size, "gray")
    corner = ((size[0] - 256) // 2, (size[1] - 256) // 2)
    photo = whole_picture(FACES[0]).resize((256, 256))
    picture.paste(photo, corner)
    scale = SIDE / 256
    left, upper = (round(place * scale) for place in corner)
    found = read_face_parts(seen_photo(picture))[upper : upper + SIDE, left : left + SIDE]
    assert (found == read_face_parts(seen_photo(photo))).mean() > 0.8


def test_a_mirrored_face_has_the_same_parts_mirrored_by_name():
    seen = seen_photo(FACES[0])
    exchanged = np.array(mirrored_order(CELEBAMASK_FACE_CLASSES))
    mirrored = read_face_parts(seen.flip(2))
    assert (mirrored == exchanged[read_face_parts(seen)][:, ::-1]).mean() > 0.999


def test_a_picture_of_one_colour_shows_no_face():
    found = EdgeCondition(guided=True).landmarks_in(Image.new("RGB", (200, 300)))
    assert found.points.isnan().all()


def test_a_strip_is_squeezed_before_its_edges_are_found():
    assert read_size(20, 2000) == read_size(128, 256) == (256, 512)
    found = EdgeCondition(guided=True).landmarks_in(Image.new("RGB", (2000, 20)))
    assert found.labels.shape == (SIDE, 2 * SIDE)
