"""The bundled network reads painted people, whose masks and joints are known."""

import contextlib
import gc
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFilter

from cocosnet_hf import CoCosPipeline, MaskCondition, Pose, PoseCondition
from cocosnet_hf.__main__ import main
from cocosnet_hf.bundled import open_model
from cocosnet_hf.person_reader import (
    PERSON_CLASSES,
    NotFoundInPhotoError,
    read_joints_of_mask,
    read_person,
)
from tests.support import tiny
from tests.support.paths import REPOSITORY
from tests.support.pictures import assert_same_but_for_rounding, whole_picture
from tools.people import FIGURES, Drawing, joints

GALLERY = REPOSITORY / "demo" / "gallery"
PAINTED = [GALLERY / "mask-to-image" / f"{place:02d}.jpg" for place in range(0, 12, 3)]
POSES = PoseCondition(min_score=0.3)


def known(photo: Path) -> tuple[np.ndarray, Pose]:
    """The labels (H, W) and the pose that a picture of the gallery was painted from."""
    settings = json.loads((GALLERY / "mask-to-image" / "condition.json").read_text())
    condition = MaskCondition.from_config(settings)
    height, width = whole_picture(photo).size[::-1]
    labels = condition.labels(photo.with_suffix(".png"), height, width).numpy()
    return labels, POSES.open(GALLERY / "pose-to-body" / f"{photo.stem}.json").value


def on_ground(photo: Image.Image, labels: np.ndarray) -> tuple[Image.Image, tuple[int, int]]:
    """A person of the gallery in front of blurred noise, and where their picture lies in it."""
    noise = np.random.default_rng(0).integers(90, 170, (24, 24, 3)).astype(np.uint8)
    wide = Image.fromarray(noise).resize((460, 460), Image.Resampling.BICUBIC)
    there = Image.fromarray((labels > 0).astype(np.uint8) * 255)
    wide.paste(photo, (170, 40), there.filter(ImageFilter.GaussianBlur(0.7)))
    return wide, (170, 40)


def test_masks_of_painted_people_are_found():
    agreements = []
    for photo in PAINTED:
        labels, _ = known(photo)
        found = read_person(photo).labels
        assert found.shape == labels.shape
        agreements.append(((found > 0) == (labels > 0)).mean())
    assert np.mean(agreements) > 0.95


def test_plain_ground_between_arm_and_hip_is_no_coat():
    photo = GALLERY / "mask-to-image" / "05.jpg"
    labels, _ = known(photo)
    _, parts = cv2.connectedComponents((labels == 0).astype(np.uint8))
    gap = ((parts > 0) & (parts != parts[0, 0])).astype(np.uint8)
    inside = cv2.erode(gap, np.ones((3, 3), np.uint8)) > 0
    assert inside.sum() > 200
    assert (read_person(photo).labels[inside] == 0).mean() > 0.9


@pytest.mark.parametrize("tone", ["shaded", "flat"])
def test_white_clothes_on_white_ground_are_no_ground(tone: str):
    photo = GALLERY / "mask-to-image" / "00.jpg"
    labels, _ = known(photo)
    shirt = labels == PERSON_CLASSES.index("top")
    pixels = np.array(whole_picture(photo))
    if tone == "flat":
        inside = cv2.erode(shirt.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        pixels[shirt], pixels[inside] = 200, 253
    else:
        pixels[shirt] = 238 + pixels[shirt] // 15
    assert (read_person(Image.fromarray(pixels)).labels[shirt] > 0).mean() > 0.7


def test_joints_of_painted_people_are_found_within_a_tenth_of_their_height():
    near = []
    for photo in PAINTED:
        labels, pose = known(photo)
        found = POSES.from_photo(photo)
        assert found.size == labels.shape
        rows = np.flatnonzero((labels > 0).any(1))
        scale = labels.shape[0] / pose.size[0]
        away = np.hypot(*(found.joints[:, :2] - pose.joints[:, :2] * scale).T)
        near += (away < 0.1 * (rows[-1] - rows[0])).tolist()
    assert np.mean(near) > 0.8


def test_a_person_in_a_wide_photo_is_found_where_they_stand():
    photo = whole_picture(PAINTED[0])
    labels, _ = known(PAINTED[0])
    wide, (left, top) = on_ground(photo, labels)
    found = read_person(wide)
    there = np.zeros(found.labels.shape, bool)
    there[top : top + labels.shape[0], left : left + labels.shape[1]] = labels > 0
    seen = found.labels > 0
    assert (there & seen).sum() / (there | seen).sum() > 0.7
    x0, y0, x1, y1 = found.frame
    assert (y1 - y0) == pytest.approx(2 * (x1 - x0))


def test_a_large_photo_is_read_as_a_small_one():
    photo = whole_picture(PAINTED[0]).convert("RGB")
    small, large = read_person(photo), read_person(photo.resize([4 * s for s in photo.size]))
    assert large.labels.shape == tuple(4 * side for side in small.labels.shape)
    assert (large.labels[::4, ::4] == small.labels).mean() > 0.97
    sure = small.joints[:, 2] > 0.5
    assert np.abs(large.joints / (4, 4, 1) - small.joints)[sure, :2].max() < 12


@pytest.mark.parametrize("size", [(96, 192), (300, 200)])
def test_a_photo_of_nobody_is_refused_with_the_remedy(size: tuple[int, int]):
    with pytest.raises(NotFoundInPhotoError, match=f"{size[0]} x {size[1]}.*from head to feet"):
        read_person(Image.new("RGB", size, (90, 140, 200)))


def test_a_photo_of_nobody_is_let_go_at_once():
    photo = Image.new("RGB", (64, 128), "gray")
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(NotFoundInPhotoError):
            read_person(photo)
        left = [each for each in gc.get_objects() if type(each) is NotFoundInPhotoError]
    finally:
        gc.enable()
    assert not left  # it would keep all that was computed until the collector comes


def test_clouds_of_colours_are_nobody():
    noise = np.random.default_rng(1).integers(0, 256, (12, 8, 3)).astype(np.uint8)
    clouds = Image.fromarray(noise).resize((200, 300), Image.Resampling.BICUBIC)
    with pytest.raises(NotFoundInPhotoError, match="200 x 300"):
        read_person(clouds)


def test_a_mask_condition_of_its_classes_needs_no_model_to_be_named():
    condition = MaskCondition.from_names(("else", *PERSON_CLASSES))
    assert condition.photo_parser == "person"
    labels = condition.labels(condition.from_photo(PAINTED[0]), 384, 192).numpy()
    expected = Image.fromarray(read_person(PAINTED[0]).labels).resize((192, 384), 0)
    assert (labels == np.asarray(expected) + 1).mean() > 0.99
    assert MaskCondition.from_names(PERSON_CLASSES[:5]).photo_parser is None


@pytest.mark.slow
def test_the_command_finds_the_layout_and_the_pose_of_the_exemplar(tmp_path: Path, capsys):
    one, other, target = str(PAINTED[0]), str(PAINTED[1]), tmp_path / "out.png"
    main([one, other, "--model", "pose-to-body", "-o", str(target), "--photo", "--read-exemplar"])
    poses = [POSES.from_photo(photo) for photo in (one, other)]
    expected = open_model("pose-to-body").fold()(poses[0], other, poses[1]).images[0]
    assert_same_but_for_rounding(whole_picture(target), expected)
    condition = MaskCondition.from_names(["sky", "hill", "lake"])
    matcher = tiny.correspondence(condition.channels, warp="coherent", mix_condition=False)
    painter = tiny.blending_translation(condition.channels)
    CoCosPipeline(matcher, painter, condition, 64).save_pretrained(tmp_path / "scenes")
    scenes, mask = str(tmp_path / "scenes"), str(tmp_path / "mask.png")
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(mask)
    with pytest.raises(SystemExit):
        main([mask, other, "--model", scenes, "-o", str(target), "--read-exemplar"])
    assert "uses no condition of the exemplar" in capsys.readouterr().err


def test_a_mask_is_read_wherever_and_however_large_the_person_is():
    labels = Drawing(FIGURES[4]).labels()
    expected = joints(FIGURES[4])[:, :2]
    large = cv2.resize(labels.astype(np.uint8), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    aside = np.pad(labels, ((30, 10), (200, 40)))
    for shown, moved in ((labels, expected), (large, expected * 4), (aside, expected + (200, 30))):
        found = read_joints_of_mask(shown)[:, :2]
        height = np.ptp(np.flatnonzero((shown > 0).any(1)))
        assert (np.hypot(*(found - moved).T) < 0.1 * height).mean() > 0.8


@pytest.mark.parametrize("labels", [np.zeros((64, 32), np.uint8), np.eye(64, dtype=np.uint8)])
def test_a_mask_without_a_person_is_refused(labels: np.ndarray):
    with pytest.raises(NotFoundInPhotoError, match="mask shows no"):
        read_joints_of_mask(labels)
