"""Masks of dressed people guide as poses do, and cloth looks at its like."""

import functools
import json

import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf import MaskCondition
from cocosnet_hf.conditions.base import Landmarks
from cocosnet_hf.conditions.dressed import ONE_HEAD, dressed_guide
from cocosnet_hf.conditions.skinning import skinned
from cocosnet_hf.person_reader import PERSON_CLASSES
from tests.support.paths import REPOSITORY
from tests.support.pictures import whole_picture
from tools.people import FIGURES, HEIGHT, WIDTH, draw_layout, joints

GALLERY = REPOSITORY / "demo" / "gallery"
SIZE = (192, 96)
GRID = (48, 24)
NUMBER = {name: number for number, name in enumerate(PERSON_CLASSES)}


@functools.cache
def condition() -> MaskCondition:
    settings = json.loads((GALLERY / "mask-to-image" / "condition.json").read_text())
    return MaskCondition.from_config(settings)


@functools.cache
def landmarks(person: str) -> Landmarks:
    path = GALLERY / "mask-to-image" / f"{person}.png"
    found = condition().landmarks(condition().open(path))
    assert found is not None
    return found


def seen(guide: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    """The exemplar's labels where a guide looks."""
    height, width = labels.shape
    places = guide.nan_to_num().numpy() + 0.5
    assert (places >= 0).all() and (places <= np.array(GRID[::-1])).all()
    places = (places * (width / GRID[1], height / GRID[0])).astype(int)
    return labels.numpy()[places[..., 1].clip(0, height - 1), places[..., 0].clip(0, width - 1)]


def asked_of(person: str) -> np.ndarray:
    image = Image.fromarray(landmarks(person).labels.numpy())
    return np.asarray(image.resize(SIZE[::-1], Image.Resampling.NEAREST))


@pytest.mark.parametrize("place", [0, 4, 7])
def test_the_joints_of_a_drawn_person_are_found(place: int):
    figure = FIGURES[place]
    found = condition().landmarks(condition().open(draw_layout(figure))).points.numpy()
    known = joints(figure)[:, :2] / (WIDTH, HEIGHT)
    away = np.hypot((found - known)[:, 0] * WIDTH / HEIGHT, (found - known)[:, 1])
    assert (away < 0.1).mean() > 0.8


@pytest.mark.parametrize("pair", [("00", "03"), ("03", "06"), ("06", "00")])
def test_a_class_looks_at_its_like_wherever_the_exemplar_wears_it(pair: tuple[str, str]):
    own, exemplar = map(landmarks, pair)
    guide = condition().guide(own, exemplar, GRID)(SIZE)
    asked, found = asked_of(pair[0]), seen(guide, exemplar.labels)
    checked = 0
    there = ~guide.isnan().any(-1).numpy()
    for number in np.unique(asked):
        worn = (exemplar.labels == int(number)).float().mean() > 0.002
        chosen = (asked == number) & there
        if number in {NUMBER["accessory"], NUMBER["eyewear"]} or not (worn and chosen.any()):
            continue
        alike = ONE_HEAD if number in ONE_HEAD else {number}
        assert np.isin(found[chosen], [*alike, NUMBER["eyewear"], NUMBER["accessory"]]).mean() > 0.9
        checked += 1
    assert there.mean() > 0.95 and checked >= 4


def test_no_skin_stands_for_what_is_not_worn():
    """Long trousers asked of a dress are cloth, and so are the sleeves of a coat."""
    own, exemplar = landmarks("02"), landmarks("01")
    guide = condition().guide(own, exemplar, GRID)(SIZE)
    there = ~guide.isnan().any(-1).numpy()
    asked, found = asked_of("02"), seen(guide, exemplar.labels)
    for name in ("legwear_long", "outerwear"):
        chosen = there & (asked == NUMBER[name])
        assert not (exemplar.labels == NUMBER[name]).any() and chosen.mean() > 0.01
        assert (found[chosen] == NUMBER["skin"]).mean() < 0.05


def test_a_head_is_moved_in_one_piece():
    own, exemplar = landmarks("00"), landmarks("03")
    guide = condition().guide(own, exemplar, GRID)(SIZE).numpy()
    moved = skinned(own.points, exemplar.points, GRID)(SIZE)
    nose = (own.points[0].numpy() * SIZE[::-1]).astype(int)
    face = np.s_[nose[1] - 3 : nose[1] + 4, nose[0] - 3 : nose[0] + 4]
    assert np.allclose(guide[face][..., 0], moved[face].real, atol=1e-4)
    assert np.allclose(guide[face][..., 1], moved[face].imag, atol=1e-4)


def test_like_garments_count_as_one_where_a_network_saw_them():
    own = landmarks("00")
    labels = own.labels.clone()
    upper = np.isin(labels.numpy(), [NUMBER["top"], NUMBER["outerwear"], NUMBER["dress"]])
    assert upper.mean() > 0.02
    labels[torch.from_numpy(upper)] = NUMBER["top"]
    halved = labels.clone()
    right = halved[:, halved.shape[1] // 2 :]
    right[right == NUMBER["top"]] = NUMBER["outerwear"]
    asked = Landmarks(own.points, labels)
    still = dressed_guide(asked, Landmarks(own.points, labels), GRID)(SIZE)
    sure, read = (
        dressed_guide(asked, Landmarks(own.points, halved, is_read=is_read), GRID)(SIZE)
        for is_read in (False, True)
    )
    top = torch.from_numpy(asked_of("00") > 0) & ~still.isnan().any(-1)
    off = [(guide - still)[top].abs().amax(-1) > 0.5 for guide in (sure, read)]
    assert off[0].float().mean() > 0.05
    assert off[1].float().mean() < 0.01


def test_a_mask_without_a_person_guides_nothing():
    empty = condition().landmarks(condition().open(np.zeros((96, 48), np.uint8)))
    guide = condition().guide(empty, landmarks("00"), GRID)(SIZE)
    assert guide.isnan().all()
    assert condition().landmarks_in(Image.new("RGB", (96, 192), "white")) is None


def test_encoded_soft_and_painted_masks_say_the_same():
    path = GALLERY / "mask-to-image" / "03.png"
    width, height = whole_picture(path).size
    encoded = condition().encode(path, height, width)
    for source in (encoded, condition().open(encoded.numpy())):
        found = condition().landmarks(source)
        assert torch.equal(found.labels, landmarks("03").labels)
        assert torch.allclose(found.points, landmarks("03").points, equal_nan=True)


def test_masks_of_other_things_guide_nothing():
    other = MaskCondition.from_names(["sky", "tree"])
    assert not other.has_landmarks
    assert other.landmarks(other.open(np.zeros((32, 32), np.uint8))) is None
    assert other.landmarks_in(Image.new("RGB", (32, 32))) is None
