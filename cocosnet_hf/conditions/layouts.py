"""The orders in which programs write a person's joints, each brought to OpenPose's 18."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

JOINTS = (
    "nose neck r_shoulder r_elbow r_wrist l_shoulder l_elbow l_wrist r_hip r_knee r_ankle l_hip "
    "l_knee l_ankle r_eye l_eye r_ear l_ear"
).split()
"""OpenPose's 18 joints, in the order of `Pose.joints`."""

BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
"""Where OpenPose's BODY_25 output (with a mid-hip at 8) holds the 18 joints."""

# Where COCO's 17 keypoints hold the joints; the neck is made from the shoulders.
COCO = {
    "nose": 0, "l_eye": 1, "r_eye": 2, "l_ear": 3, "r_ear": 4, "l_shoulder": 5, "r_shoulder": 6,
    "l_elbow": 7, "r_elbow": 8, "l_wrist": 9, "r_wrist": 10, "l_hip": 11, "r_hip": 12, "l_knee": 13,
    "r_knee": 14, "l_ankle": 15, "r_ankle": 16,
}  # fmt: skip

# Of MediaPipe's 33 landmarks.
MEDIAPIPE = {
    "nose": 0, "l_eye": 2, "r_eye": 5, "l_ear": 7, "r_ear": 8, "l_shoulder": 11, "r_shoulder": 12,
    "l_elbow": 13, "r_elbow": 14, "l_wrist": 15, "r_wrist": 16, "l_hip": 23, "r_hip": 24,
    "l_knee": 25, "r_knee": 26, "l_ankle": 27, "r_ankle": 28,
}  # fmt: skip

OPENPOSE = {name: index for index, name in enumerate(JOINTS)}

LAYOUTS: dict[int, Mapping[str, int]] = {
    17: COCO,
    18: OPENPOSE,
    25: dict(zip(JOINTS, BODY_25, strict=True)),
    26: COCO | {"neck": 18},  # Halpe: COCO's, then head, neck, hip and feet
    33: MEDIAPIPE,
    133: COCO,  # COCO-WholeBody: COCO's, then feet, face and hands
    136: COCO | {"neck": 18},  # Halpe with face and hands
}
"""Where the joints lie, by how many there are: numbers that one order alone is known to have."""

LEAST_SCORE = -0.1
"""A score may be a little below 0, as some networks say it; -1 is a missing joint's."""

PARTS = ("nose", "neck", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "eye", "ear")
SIDES = {"l": "l", "left": "l", "r": "r", "right": "r"}

KNOWN = (
    "(18, 2|3) in OpenPose order, (25, 2|3) BODY_25, (17, 2|3) COCO, (26, 2|3) Halpe, "
    "(33, 2|4) MediaPipe, (133, 2|3) COCO-WholeBody or (136, 2|3) Halpe"
)
"""The layouts in words, for messages."""


def columns_of(count: int) -> tuple[int, ...]:
    """How many numbers a joint may have in a layout of so many joints.

    MediaPipe's landmarks are x, y, z, visibility: of three numbers the last is a depth, no score.
    """
    return (2, 4) if count == 33 else (2, 3)


def as_numbers(value: Any) -> np.ndarray:
    """Nested lists, an array or a tensor as a new float64 array; null is NaN.

    Raises ValueError for anything but real numbers in rows of one length.
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu().double().numpy()
    if isinstance(value, np.ma.MaskedArray):
        value = np.ma.filled(value.astype(np.float64), np.nan)
    try:
        array = np.array(value)
        if array.dtype.kind not in "buifO":  # text and complex numbers would be converted
            raise ValueError(f"they hold {array.dtype}")
        if array.dtype == object and any(isinstance(item, (str, bytes)) for item in array.flat):
            raise ValueError("they hold text")
        if array.dtype == object:
            known = [np.nan if item is None else item for item in array.flat]
            array = np.array(known, dtype=np.float64).reshape(array.shape)
        return np.array(array, dtype=np.float64)
    # OverflowError: a whole number with 400 digits. RuntimeError: a sparse tensor.
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ValueError(f"Joints must be rows of numbers, equally long: {error}.") from error


def to_openpose(
    array: np.ndarray, names: Sequence[str] | None = None, scores: np.ndarray | None = None
) -> np.ndarray:
    """Joints (N, 2 to 4) of any layout as OpenPose's, (18, 3): x, y and score, NaN where missing.

    With scores, a score of 0 or less means missing; without, NaN, (0, 0) and (-1, -1) do. The last
    of three or four numbers is the score, unless the (N,) scores are given. names: of the N joints,
    where they are known; else their number tells the layout. A layout without a neck gets the
    middle of the shoulders. Raises ValueError for an unknown layout.
    """
    if names is None:
        known = array.ndim == 2 and array.shape[0] in LAYOUTS
        columns = (2, 3, 4) if scores is not None else columns_of(len(array))
        if not known or array.shape[1] not in columns:
            raise ValueError(f"Joints must be {KNOWN}, got shape {array.shape}.")
        indices = LAYOUTS[len(array)]
    else:
        indices = indices_of(names)
        if array.ndim != 2 or len(array) != len(names) or array.shape[1] not in (2, 3, 4):
            raise ValueError(
                f"Joints with {len(names)} names must be ({len(names)}, 2|3), got shape "
                f"{array.shape}."
            )
    if scores is None and array.shape[1] > 2:
        scores = array[:, -1]
        below = np.unique(scores[(scores < LEAST_SCORE) & (scores != -1)])
        if len(below) > 1:
            raise ValueError(
                f"The joints' scores, the last of their {array.shape[1]} numbers, lie in 0..1, got "
                f"{below[:3].round(3).tolist()}. If these are depths, leave them out: x and y of "
                "each joint alone are read too."
            )
    if scores is None:
        missing = (array == 0).all(1) | (array == -1).all(1)
        scores = np.where(missing, 0.0, 1.0)
    elif scores.shape != (len(array),):
        raise ValueError(f"{len(array)} joints need as many scores, got shape {scores.shape}.")
    rows = np.column_stack([array[:, :2], scores])
    rows[~(rows[:, 2] > 0) | np.isnan(rows).any(1)] = np.nan
    joints = np.full((len(JOINTS), 3), np.nan)
    for name, index in indices.items():
        joints[OPENPOSE[name]] = rows[index]
    neck = OPENPOSE["neck"]
    from_openpose = names is None and len(array) in (18, 25)  # which looks for necks itself
    if np.isnan(joints[neck, 0]) and not from_openpose:
        shoulders = joints[[OPENPOSE["r_shoulder"], OPENPOSE["l_shoulder"]]]
        joints[neck] = (*shoulders[:, :2].mean(0), shoulders[:, 2].min())
    return joints


def indices_of(names: Sequence[str]) -> dict[str, int]:
    """Where the 18 joints lie among joints of these names; those that are not there are left out.

    Raises ValueError where none is there.
    """
    indices: dict[str, int] = {}
    for index, name in enumerate(names):
        if (joint := joint_of(name)) is not None:
            indices.setdefault(joint, index)
    if not indices:
        raise ValueError(
            f"None of the joints' names is known, got {list(map(str, names))[:5]}; they are called "
            "such as nose, left_shoulder or r_hip."
        )
    return indices


def joint_of(name: Any) -> str | None:
    """Our name of a joint of another program: l_eye for left_eye, leftEye, LEye, "Left Eye".

    None for what is none of the 18, as the mid-hip, left_eye_inner and left_big_toe.
    """
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", str(name))
    words = [word.lower() for word in words]
    if len(words) == 1 and words[0] not in PARTS:  # leftshoulder, lshoulder
        match = re.fullmatch(r"(left|right|l|r)(\w+)", words[0])
        words = list(match.groups()) if match else words
    sides = [SIDES[word] for word in words if word in SIDES]
    parts = [word for word in words if word not in SIDES]
    if len(parts) != 1 or parts[0] not in PARTS or len(sides) != (parts[0] not in PARTS[:2]):
        return None
    return f"{sides[0]}_{parts[0]}" if sides else parts[0]
