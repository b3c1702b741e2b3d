"""Limbs show what belongs to them, as a network saw it in the exemplar."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf import PoseCondition
from cocosnet_hf.bundled import bundled
from cocosnet_hf.conditions.base import Landmarks
from cocosnet_hf.conditions.joints import JOINTS
from cocosnet_hf.conditions.posed import Figure, posed_flow, posed_guide
from cocosnet_hf.conditions.skinning import skinned_flow
from cocosnet_hf.person_reader import PERSON_CLASSES
from tests.support.paths import REPOSITORY

HEIGHT, WIDTH = 384, 192
SIZE = (HEIGHT, WIDTH)
NUMBER = {name: number for number, name in enumerate(PERSON_CLASSES)}
GALLERY = REPOSITORY / "demo" / "gallery" / "pose-to-body"
PLACES = dict(
    nose=(96, 40), neck=(96, 76), r_shoulder=(72, 80), r_elbow=(62, 130), r_wrist=(58, 176),
    l_shoulder=(120, 80), l_elbow=(130, 130), l_wrist=(134, 176), r_hip=(80, 184),
    r_knee=(80, 262), r_ankle=(80, 340), l_hip=(112, 184), l_knee=(112, 262), l_ankle=(112, 340),
    r_eye=(91, 34), l_eye=(101, 34), r_ear=(85, 38), l_ear=(107, 38),
)  # fmt: skip


def standing(**changed: tuple[float, float]) -> np.ndarray:
    places = PLACES | changed
    return np.array([complex(*places[name]) for name in JOINTS])


STRIDE = {"r_knee": (62, 262), "r_ankle": (50, 340), "l_knee": (130, 262), "l_ankle": (142, 340)}


def dressed(lower: str) -> np.ndarray:
    """Labels of someone who stands, in a top and trousers or a skirt as wide as both legs."""
    labels = np.zeros(SIZE, np.uint8)
    joints = standing()

    def limb(first: str, last: str, name: str, width: int) -> None:
        ends = (joints[JOINTS.index(one)] for one in (first, last))
        start, end = ((round(one.real), round(one.imag)) for one in ends)
        cv2.line(labels, start, end, NUMBER[name], width)

    cv2.circle(labels, (96, 40), 22, NUMBER["skin"], -1)
    cv2.rectangle(labels, (68, 72), (124, 190), NUMBER["top"], -1)
    for side in "rl":
        limb(f"{side}_hip", f"{side}_ankle", "legwear_long", 22)
    if lower == "skirt_shorts":
        cv2.rectangle(labels, (56, 180), (136, 320), NUMBER["skirt_shorts"], -1)
    for side in "rl":
        limb(f"{side}_shoulder", f"{side}_elbow", "top", 12)
        limb(f"{side}_elbow", f"{side}_wrist", "skin", 10)
    return labels


def landmarks(joints: np.ndarray, labels: np.ndarray | None = None) -> Landmarks:
    points = np.stack([(joints.real + 0.5) / WIDTH, (joints.imag + 0.5) / HEIGHT], -1)
    kept = None if labels is None else torch.from_numpy(labels.astype(np.int16))
    return Landmarks(torch.from_numpy(points).float(), kept, is_read=labels is not None)


def seen(labels: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The classes that a flow shows, -1 where it says nothing."""
    known = ~np.isnan(flow)
    places = np.nan_to_num(flow)
    x, y = places.real.round().clip(0, WIDTH - 1), places.imag.round().clip(0, HEIGHT - 1)
    return np.where(known, labels[y.astype(int), x.astype(int)].astype(int), -1)


def figure_of(labels: np.ndarray) -> Figure:
    return Figure(labels.astype(int), landmarks(standing()).points, SIZE)


BETWEEN = np.array([96 + 1j * row for row in range(215, 300, 10)])
"""Between the legs, above the hem."""


def test_a_skirt_is_not_torn_by_a_stride_and_trousers_are():
    other, own = standing(), standing(**STRIDE)
    skirt, trousers = dressed("skirt_shorts"), dressed("legwear_long")
    through_skirt = posed_flow(own, other, BETWEEN, figure_of(skirt))
    assert (seen(skirt, through_skirt) == NUMBER["skirt_shorts"]).all()
    below = BETWEEN.imag > 250
    between_legs = posed_flow(own, other, BETWEEN, figure_of(trousers))
    assert (seen(trousers, between_legs)[below] == 0).all()
    # What the bones alone say of the skirt: its middle is torn.
    assert (seen(skirt, skinned_flow(own, other, BETWEEN))[below] == 0).any()


def test_beside_a_hand_lies_the_ground_and_no_piece_of_the_skirt_it_hung_before():
    labels = dressed("skirt_shorts")
    other = standing(l_elbow=(122, 140), l_wrist=(122, 200))
    own = standing(l_elbow=(150, 130), l_wrist=(172, 176))
    labels[150:225, 118:127] = NUMBER["skin"]  # the hand, before the skirt
    points = landmarks(other).points
    figure = Figure(labels.astype(int), points, SIZE)
    x, y = np.meshgrid(np.arange(WIDTH - 34, WIDTH), np.arange(150, 215))
    beside = (x + 1j * y).ravel()
    shown = seen(labels, posed_flow(own, other, beside, figure))
    assert not (shown == NUMBER["skirt_shorts"]).any()
    assert (shown == NUMBER["skin"]).any()
    assert (seen(labels, skinned_flow(own, other, beside)) == NUMBER["skirt_shorts"]).any()


def test_an_arm_ends_behind_its_bent_elbow():
    other = standing()
    own = standing(r_elbow=(62, 130), r_wrist=(70, 90))
    labels = dressed("legwear_long")
    behind = 62 + 130j + np.array([14j, 18j, 24j, 10j - 12, -14 + 4j])
    shown = seen(labels, posed_flow(own, other, behind, figure_of(labels)))
    assert set(shown) <= {0, -1, NUMBER["top"]}  # the ground, or nothing: no skin
    assert (seen(labels, skinned_flow(own, other, behind)) > 0).any()


def test_what_a_limb_hid_is_continued_and_everything_has_a_place():
    other = standing(l_elbow=(122, 130), l_wrist=(100, 160))  # the arm lies before the trunk
    labels = dressed("legwear_long")
    guide = posed_guide(landmarks(standing()), landmarks(other, labels), SIZE)
    found = guide(SIZE)
    assert found.shape == (*SIZE, 2)
    middle = found[60:340, 50:142]
    assert not middle.isnan().any()
    assert guide(SIZE) is found  # made once for each size


def test_a_guide_needs_a_figure_and_a_person():
    with pytest.raises(ValueError, match="labels"):
        posed_guide(landmarks(standing()), landmarks(standing()), SIZE)
    nobody = landmarks(np.full(len(JOINTS), complex(np.nan, np.nan)))
    seen_person = landmarks(standing(), dressed("legwear_long"))
    assert posed_guide(nobody, seen_person, SIZE)((6, 3)).isnan().all()


def test_an_exemplar_of_a_pose_is_read_from_its_photo():
    condition = PoseCondition(min_score=0.3)
    photo, stored = GALLERY / "04.jpg", condition.open(GALLERY / "04.json")
    found = condition.landmarks_in(photo)
    assert found is not None and found.labels is not None
    both = ~(found.points.isnan() | condition.landmarks(stored).points.isnan()).any(-1)
    assert both.sum() >= 12
    off = (found.points - condition.landmarks(stored).points)[both].norm(dim=-1)
    assert off.median() < 0.02
    given = condition.landmarks_in(photo, stored)
    assert torch.equal(given.points.nan_to_num(), condition.landmarks(stored).points.nan_to_num())
    assert torch.equal(given.labels, found.labels)


def test_a_pipeline_paints_alike_with_the_exemplars_pose_and_without(caplog):
    pipe = bundled("pose-to-body")
    pipe.set_progress_bar_config(disable=True)
    pose, look, other = (str(GALLERY / name) for name in ("03.json", "04.jpg", "08.jpg"))
    with_pose, without, another = (
        np.asarray(pipe(pose, *more).images[0], float)
        for more in ((look, str(GALLERY / "04.json")), (look,), (other,))
    )
    assert abs(with_pose - without).mean() < abs(with_pose - another).mean() / 2
    assert not caplog.records


def test_an_exemplar_without_a_person_is_said_so(caplog, tmp_path):
    Image.new("RGB", (96, 192), "teal").save(tmp_path / "sea.png")
    pipe = bundled("pose-to-body")
    pipe.encode_exemplar(str(tmp_path / "sea.png"))
    assert "matched by looks alone" in caplog.text
