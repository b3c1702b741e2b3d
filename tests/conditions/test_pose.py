"""Pose and PoseCondition: every layout of joints, the official 20 channels."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf.conditions import Pose, PoseCondition
from cocosnet_hf.conditions.pose import BODY_25, COLORS, JOINTS, LIMBS
from tests.support import preprocess_reference
from tests.support.estimator import save_estimator

POSES = PoseCondition()
SIZE = (96, 64)
JOINT_XY = np.stack([np.linspace(12, 50, 18), np.linspace(6, 88, 18)], axis=1)
SCORED = np.hstack([JOINT_XY, np.linspace(0.5, 0.9, 18)[:, None]])
STANDING = Pose(SCORED, SIZE)


def same(first: Pose, second: Pose) -> bool:
    return first.size == second.size and np.array_equal(first.joints, second.joints, equal_nan=True)


def without(pose: Pose, *names: str) -> Pose:
    joints = pose.joints.copy()
    joints[[JOINTS.index(name) for name in names]] = np.nan
    return Pose(joints, pose.size)


def openpose(joints: np.ndarray, **extra: object) -> dict:
    return {"people": [{"pose_keypoints_2d": joints.reshape(-1).tolist()}], **extra}


CANVAS = {"canvas_height": 96, "canvas_width": 64}


@pytest.mark.parametrize(("file", "case"), preprocess_reference.cases("pose"))
def test_a_pose_equals_the_reference_in_every_value(file: str, case: str):
    recorded = preprocess_reference.load(file, case)
    height, width = recorded.get("source_hw", (256, 256))
    expected = preprocess_reference.expected(recorded)
    pose = Pose.from_candidate_subset(recorded["candidate"], recorded["subset"], (height, width))
    assert torch.equal(POSES.encode(pose, *expected.shape[1:]), expected)


def test_openpose_json_gives_the_joints(tmp_path: Path):
    (tmp_path / "pose.json").write_text(json.dumps(openpose(SCORED, **CANVAS)))
    sources = [
        tmp_path / "pose.json",
        str(tmp_path / "pose.json"),
        openpose(SCORED, **CANVAS),
        {"openpose": openpose(SCORED), "size": SIZE},
        {"openpose": [openpose(SCORED)], "size": SIZE},
        {"keypoints": SCORED, "size": SIZE},
        {"keypoints": torch.from_numpy(SCORED), "size": SIZE},
        {"keypoints": SCORED.tolist(), "size": SIZE},
        STANDING,
    ]
    expected = POSES.encode(STANDING, *SIZE)
    for source in sources:
        assert POSES.natural_size(source) == SIZE
        assert torch.equal(POSES.encode(source, *SIZE), expected)


def test_candidate_and_subset_are_read_from_text_files(tmp_path: Path):
    candidate = np.hstack([SCORED[1:], np.arange(17)[:, None]])
    subset = np.array([-1, *range(17), 20, 17])
    np.savetxt(tmp_path / "candidate.txt", candidate)
    np.savetxt(tmp_path / "subset.txt", subset[None])
    source = {
        "candidate": tmp_path / "candidate.txt",
        "subset": tmp_path / "subset.txt",
        "size": SIZE,
    }
    expected = POSES.encode(without(STANDING, "nose"), *SIZE)
    assert torch.equal(POSES.encode(source, *SIZE), expected)


def test_body_25_keypoints_lose_mid_hip_and_feet():
    body = np.full((25, 3), 5.0)
    body[list(BODY_25)] = SCORED
    assert same(Pose.from_openpose_json(openpose(body), SIZE), STANDING)
    assert 8 not in BODY_25 and max(BODY_25) == 18


def test_coco_keypoints_gain_a_neck_between_the_shoulders():
    names = "nose l_eye r_eye l_ear r_ear l_shoulder r_shoulder l_elbow r_elbow l_wrist r_wrist "
    names += "l_hip r_hip l_knee r_knee l_ankle r_ankle"
    coco = SCORED[[JOINTS.index(name) for name in names.split()]]
    pose = Pose.from_array(coco, SIZE)
    shoulders = SCORED[[JOINTS.index("r_shoulder"), JOINTS.index("l_shoulder")]]
    neck = JOINTS.index("neck")
    assert np.allclose(pose.joints[neck, :2], shoulders[:, :2].mean(0))
    assert np.array_equal(np.delete(pose.joints, neck, 0), np.delete(SCORED, neck, 0))
    coco[5, 2] = 0
    assert same(
        Pose.from_array(coco, SIZE), without(Pose.from_array(coco, SIZE), "neck", "l_shoulder")
    )


@pytest.mark.parametrize(
    "missing",
    [(np.nan, np.nan, 0.9), (10, 10, 0), (0, 0, 0), (-1, -1, -1), (5, 5, np.nan)],
)
def test_a_joint_without_score_or_place_is_missing(missing: tuple[float, float, float]):
    joints = SCORED.copy()
    joints[0] = missing
    assert same(Pose.from_array(joints, SIZE), without(STANDING, "nose"))


@pytest.mark.parametrize("missing", [(np.nan, np.nan), (0, 0), (-1, -1)])
def test_without_scores_zeros_and_minus_ones_are_missing(missing: tuple[float, float]):
    joints = JOINT_XY.copy()
    joints[0] = missing
    present = Pose(np.hstack([JOINT_XY, np.ones((18, 1))]), SIZE)
    assert same(Pose.from_array(joints, SIZE), without(present, "nose"))


def test_joints_up_to_the_minimal_score_are_left_out():
    threshold = float(SCORED[4, 2])
    expected = POSES.encode(without(STANDING, *JOINTS[:5]), *SIZE)
    assert torch.equal(PoseCondition(min_score=threshold).encode(STANDING, *SIZE), expected)


def test_a_missing_limb_is_one_everywhere_and_a_present_one_zero_on_itself():
    encoded = POSES.encode(without(STANDING, "nose"), *SIZE)
    for channel, (first, second) in enumerate(LIMBS, start=3):
        if JOINTS.index("nose") in (first, second):
            assert torch.equal(encoded[channel], torch.ones(SIZE))
        else:
            x, y = ((JOINT_XY[first] + JOINT_XY[second]) / 2).astype(int)
            assert encoded[channel, y, x] == 0


def test_joints_have_the_hues_of_the_wheel():
    assert COLORS[:4] == ((0, 0, 255), (0, 85, 255), (0, 170, 255), (0, 255, 255))
    assert COLORS[17] == (85, 0, 255)
    lonely = Pose(np.vstack([SCORED[:1], np.full((17, 3), np.nan)]), SIZE)
    encoded = POSES.encode(lonely, *SIZE)
    assert encoded[:3, 6, 12].tolist() == [0, 0, 1]
    assert (encoded[2] == 1).sum() == 49  # a disk of radius 4


def test_the_preview_is_the_stick_figure():
    encoded = POSES.encode(STANDING, *SIZE)
    picture = torch.tensor(np.asarray(POSES.preview(encoded))).permute(2, 0, 1)
    assert torch.equal(picture.float() / 255, encoded[:3])


def test_a_pose_is_drawn_at_its_own_size_and_then_resized():
    encoded = POSES.encode(STANDING, 48, 32)
    figure = Image.fromarray(np.asarray(POSES.preview(POSES.encode(STANDING, *SIZE))))
    smaller = figure.resize((32, 48), Image.Resampling.NEAREST)
    assert np.array_equal(np.asarray(POSES.preview(encoded)), np.asarray(smaller))


def test_distances_reach_one_where_they_are_told_to():
    far = POSES.encode(STANDING, 96, 64)
    near = PoseCondition(reach=30).encode(STANDING, 96, 64)
    assert torch.equal(PoseCondition(reach=765.0).encode(STANDING, 96, 64), far)
    assert far[3:].max() < 0.2
    steps = (far[3:] * 255).round() * 3
    assert (near[3:][steps > 33] == 1).all()
    assert (near[3:][steps < 24] < 1).all()
    assert (near[3:] - (steps / 30).clamp(max=1)).abs().max() < 0.15


def test_a_pose_of_any_size_looks_alike_when_it_is_drawn_at_one_height():
    drawn = PoseCondition(draw_height=128)
    double = Pose(SCORED * (2, 2, 1), (192, 128))
    here, there = (drawn.encode(pose, 96, 64) for pose in (STANDING, double))
    torch.testing.assert_close(here, there)
    assert (POSES.encode(STANDING, 96, 64) - POSES.encode(double, 96, 64)).abs().max() > 0.3


def test_limbs_that_leave_the_picture_are_cut_off():
    joints = SCORED.copy()
    joints[2:5, 0] -= 40
    encoded = POSES.encode(Pose(joints, SIZE), *SIZE)
    assert ((encoded >= 0) & (encoded <= 1)).all()
    assert encoded[:3].any()


ALL_MISSING = np.full((18, 3), np.nan)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Pose(ALL_MISSING, SIZE), "nobody to draw"),
        (Image.new("RGB", (64, 96)), "got Image.*from_photo"),
        ({"keypoints": SCORED}, r"got a dict with \['keypoints'\]"),
        ({"keypoints": SCORED[:10], "size": SIZE}, r"got shape \(10, 3\)"),
        ({"keypoints": SCORED, "size": None}, "size must be"),
        ({"keypoints": SCORED, "size": (1, 1)}, "at least 8"),
        ({"keypoints": SCORED, "size": (9, 9)}, "picture with the pose"),
        ({"keypoints": JOINT_XY + np.inf, "size": SIZE}, "infinite"),
        (openpose(SCORED), "pass size="),
        ({"people": [], **CANVAS}, "found 0 people"),
        ({"people": [{}], **CANVAS}, "a list 'pose_keypoints_2d'"),
        ({"people": ["me"], **CANVAS}, "a list 'pose_keypoints_2d'"),
        (openpose(SCORED[:10], **CANVAS), "54 or 75 numbers.*got 30"),
        ({"people": [{"pose_keypoints_2d": [{}] * 54}], **CANVAS}, "rows of numbers"),
        ({"keypoints": SCORED, "size": "ab"}, "size must be"),
        ({"keypoints": SCORED, "size": (np.inf, 96)}, "size must be"),
        ({"keypoints": SCORED, "size": (10**6, 10**6)}, "more pixels than Pillow's limit"),
        ({"people": 3, **CANVAS}, "a list 'people'"),
        ({"candidate": SCORED, "subset": [99] * 20, "size": SIZE}, "names row 99"),
        ({"candidate": SCORED, "subset": [1] * 5, "size": SIZE}, "at least 18 numbers"),
        ({"candidate": [], "subset": [1] * 20, "size": SIZE}, "holds nobody"),
        ({"candidate": [["a"]], "subset": [1] * 20, "size": SIZE}, "rows of numbers"),
    ],
)
def test_an_unusable_pose_is_refused_with_the_reason(source, message: str):
    with pytest.raises(ValueError, match=message):
        POSES.encode(source, *SIZE)


def test_a_file_that_is_not_json_is_named(tmp_path: Path):
    (tmp_path / "pose.json").write_text("{")
    with pytest.raises(ValueError, match="pose.json' is not a JSON file"):
        POSES.encode(tmp_path / "pose.json", *SIZE)


def test_an_empty_candidate_file_is_refused(tmp_path: Path):
    (tmp_path / "candidate.txt").write_text("")
    source = {"candidate": tmp_path / "candidate.txt", "subset": [1] * 20, "size": SIZE}
    with pytest.raises(ValueError, match="'candidate' holds nobody"):
        POSES.encode(source, *SIZE)


@pytest.mark.parametrize(
    ("size", "drawn", "draw_height"),
    [
        ((6000, 4000), (2048, 1365), None),
        ((4000, 6000), (1365, 2048), None),
        ((8, 10**7), (8, 2048), None),
        ((64, 10**6), (8, 2048), 256),
        ((6000, 4000), (2400, 1600), 2400),
    ],
    ids=["a phone's", "lying", "a line", "of a height", "as asked"],
)
def test_a_figure_is_drawn_in_a_picture_of_bounded_size(
    size: tuple[int, int], drawn: tuple[int, int], draw_height: int | None
):
    scale = np.array([size[1] / SIZE[1], size[0] / SIZE[0], 1])
    small = np.array([drawn[1] / SIZE[1], drawn[0] / SIZE[0], 1])
    large = PoseCondition(draw_height=draw_height).encode(Pose(SCORED * scale, size), 64, 48)
    wanted = PoseCondition(draw_height=draw_height if drawn[0] == draw_height else None)
    expected = wanted.encode(Pose(SCORED * small, drawn), 64, 48)
    assert (large - expected).abs().mean() < 1e-3  # a joint may be rounded to the next pixel
    assert expected[:3].any()


@pytest.mark.parametrize("score", [-0.1, 1.0])
def test_an_impossible_minimal_score_is_refused(score: float):
    with pytest.raises(ValueError, match="min_score"):
        PoseCondition(min_score=score)


@pytest.mark.parametrize("settings", [{"reach": 0}, {"reach": -1.0}, {"draw_height": 8}])
def test_an_impossible_reach_or_height_is_refused(settings: dict[str, float]):
    with pytest.raises(ValueError, match="'reach' must be|'draw_height' must be"):
        PoseCondition(**settings)


def test_the_joints_of_a_pose_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        STANDING.joints[0] = 0


PHOTO = np.random.default_rng(0).integers(0, 256, (96, 64, 3)).astype(np.uint8)


def test_a_transformers_model_finds_the_pose_in_a_photo(tmp_path: Path):
    save_estimator(tmp_path)
    pose = POSES.from_photo(PHOTO, model=str(tmp_path))
    assert pose.size == SIZE
    assert pose.joints.shape == (18, 3)


def test_without_transformers_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match="pip install -U transformers"):
        POSES.from_photo(PHOTO, model="a model that was never loaded")
