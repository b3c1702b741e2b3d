"""A standing person's joints, as the programs of this world write them."""

from __future__ import annotations

from typing import Any

import numpy as np

from cocosnet_hf.conditions.joints import JOINTS

SIZE = (96, 64)
JOINT_XY = np.stack([np.linspace(12, 50, 18), np.linspace(6, 88, 18)], axis=1)
STANDING = np.hstack([JOINT_XY, np.linspace(0.5, 0.9, 18)[:, None]])
"""(18, 3) in OpenPose's order, pixels of a picture of `SIZE` (height, width)."""

COCO_NAMES = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow "
    "right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle "
    "right_ankle"
).split()
CANVAS = {"canvas_height": SIZE[0], "canvas_width": SIZE[1]}


def short(name: str) -> str:
    """left_eye as l_eye."""
    return name.replace("left", "l").replace("right", "r")


def coco(joints: np.ndarray = STANDING, count: int = 17) -> np.ndarray:
    """(count, 3) in COCO's order, with strangers behind them, of which row 18 is Halpe's neck."""
    rows = np.full((count, 3), 7.0)
    rows[:17] = joints[[JOINTS.index(short(name)) for name in COCO_NAMES]]
    rows[18:19] = neck_of(joints)
    return rows


def neck_of(joints: np.ndarray) -> list[float]:
    """The middle of the shoulders, with the lower of their scores."""
    shoulders = joints[[JOINTS.index("r_shoulder"), JOINTS.index("l_shoulder")]]
    return [*shoulders[:, :2].mean(0), shoulders[:, 2].min()]


def flat(rows: np.ndarray) -> list[float]:
    return [float(number) for number in np.ravel(rows)]


def openpose(*people: np.ndarray, key: str = "pose_keypoints_2d", **extra: Any) -> dict[str, Any]:
    return {"people": [{key: flat(rows)} for rows in people], **extra}


def landmarks(joints: np.ndarray = STANDING, size: tuple[int, int] = SIZE) -> list[dict[str, Any]]:
    """MediaPipe's 33 landmarks, shares of the picture."""
    places = {
        "nose": 0, "l_eye": 2, "r_eye": 5, "l_ear": 7, "r_ear": 8, "l_shoulder": 11,
        "r_shoulder": 12, "l_elbow": 13, "r_elbow": 14, "l_wrist": 15, "r_wrist": 16, "l_hip": 23,
        "r_hip": 24, "l_knee": 25, "r_knee": 26, "l_ankle": 27, "r_ankle": 28,
    }  # fmt: skip
    points = [{"x": 0.5, "y": 0.5, "z": -0.3, "visibility": 0.9} for _ in range(33)]
    for name, place in places.items():
        x, y, score = joints[JOINTS.index(name)]
        points[place] = {"x": x / size[1], "y": y / size[0], "z": -1.0, "visibility": score}
    return points
