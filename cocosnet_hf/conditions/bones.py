"""The bones of a body, between two joints each, and the places beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from .joints import JOINTS


def _bones(names: str) -> tuple[tuple[int, int], ...]:
    pairs = [pair.split("-") for pair in names.split()]
    return tuple((JOINTS.index(first), JOINTS.index(second)) for first, second in pairs)


HEAD = tuple(map(JOINTS.index, ("nose", "r_eye", "l_eye", "r_ear", "l_ear", "neck")))
TRUNK = tuple(map(JOINTS.index, ("neck", "r_shoulder", "l_shoulder", "r_hip", "l_hip")))
UPPER_ARMS = _bones("r_shoulder-r_elbow l_shoulder-l_elbow")
FOREARMS = _bones("r_elbow-r_wrist l_elbow-l_wrist")
THIGHS = _bones("r_hip-r_knee l_hip-l_knee")
SHINS = _bones("r_knee-r_ankle l_knee-l_ankle")
ARMS = tuple(zip(UPPER_ARMS, FOREARMS, strict=True))
LEGS = tuple(zip(THIGHS, SHINS, strict=True))

HAND_OR_FOOT = 0.4
"""How far a forearm or shin goes on beyond its last joint, as a share of its length."""


def in_cells(points: Tensor, grid: tuple[int, int]) -> np.ndarray:
    """Points (n, 2) in shares as complex numbers x + iy in the cells of a grid (h, w)."""
    places = points.double().cpu().numpy() * grid[::-1] - 0.5
    return places[:, 0] + 1j * places[:, 1]


def nearest_bone(
    joints: np.ndarray, groups: Sequence[Sequence[tuple[int, int]]], places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The group that has the bone nearest to each place, and how far that is, as `places`.

    joints: (18,) complex, x + iy, NaN where missing. groups: of pairs of joints; group 0 where all
    are missing, infinitely far.
    """
    away = np.full((len(groups), *places.shape), np.inf)
    for number, bones in enumerate(groups):
        for bone in bones:
            if not np.isnan(joints[list(bone)]).any():
                far = abs(places - on_bone(joints, bone, places))
                away[number] = np.minimum(away[number], far)
    return away.argmin(0), away.min(0)


def on_bone(joints: np.ndarray, bone: tuple[int, int], places: np.ndarray) -> np.ndarray:
    """The place of a bone, with its hand or foot, that is nearest to each place."""
    start, along = joints[bone[0]], joints[bone[1]] - joints[bone[0]]
    end = 1 + HAND_OR_FOOT if bone in FOREARMS + SHINS else 1
    return start + along * ((places - start) / (along or 1)).real.clip(0, end)
