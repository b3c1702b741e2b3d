"""How a pose is guided where the exemplar's figure was seen: each limb shows what belongs to it.

A flow from pose to pose, as in `skinning`, knows nothing of outlines and clothes: beside a hand
that hung before a skirt it shows a piece of the skirt, and tears a skirt where legs stride. The
classes that a network saw in the exemplar tell what an arm wears, whether a skirt joins the legs,
and where the figure ends.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import torch
from torch import Tensor

from ..person_reader import PERSON_CLASSES
from ..propagation import Guide
from .base import Landmarks
from .bones import (
    ARMS,
    HEAD,
    LEGS,
    TRUNK,
    UPPER_ARMS,
    in_cells,
    nearest_bone,
)
from .joints import JOINTS
from .reflection import core_of, held_to_regions
from .skinning import BESIDE, LIMB, SOFTNESS, TALLNESS, Bodies, moved_by, skinned

LIMBS = (
    tuple((HEAD[0], joint) for joint in HEAD[1:]),
    tuple((TRUNK[0], joint) for joint in TRUNK[1:]),
    *ARMS,
    *LEGS,
)
"""The bones of head, trunk, arms and legs, within which what is not seen is continued."""

SKIRTS = [PERSON_CLASSES.index(name) for name in ("outerwear", "dress", "skirt_shorts")]
"""What may hang between two legs."""

SKIN = PERSON_CLASSES.index("skin")

ON_ANY_ARM = [PERSON_CLASSES.index(name) for name in ("background", "skin", "bag", "accessory")]
"""What an arm may show without wearing it."""

WORN = 0.1
"""Share of an arm's bones from which on a class is what the arm wears."""

RIM = 0.006
"""Width, as a share of the exemplar's height, of the border that a network draws inexactly."""

SHARPNESS = 4.0
"""How much sooner a place changes between parts that turn against each other: half way it would go
to the middle of the joint, which would be drawn out to a blot."""

ELBOW = 0.027
"""Distance from an elbow, as a share of the body's height, at which it ends outside of its bend."""

REACH = 0.15
"""Distance from a bone, as a share of the body's height, up to which its clothes may hang."""


AS_IT_IS, BEYOND = -1, -2
"""Regions of what may show anything, and of what lies beyond the exemplar's frame and is ground:
its border would be drawn out to a stripe, of a shoe as well."""


class Figure:
    """A person in an exemplar: what is worn where, by places in the cells of a grid (h, w).

    labels: (H, W) of `PERSON_CLASSES`. points: (18, 2) in shares. has_skirt: whether something
    hangs between the knees.
    """

    def __init__(self, labels: np.ndarray, points: Tensor, grid: tuple[int, int]) -> None:
        self.labels, self.grid = labels, grid
        joints = in_cells(points, grid)
        knees = joints[[JOINTS.index("r_knee"), JOINTS.index("l_knee")]].mean(keepdims=True)
        self.has_skirt = bool(~np.isnan(knees).any() and self.is_skirt(knees).all())
        border = np.ones((2 * round(RIM * len(labels)) + 1,) * 2, np.uint8)
        self.inside = cv2.erode((labels > 0).astype(np.uint8), border, borderValue=1)
        self._strange: dict[tuple[int, int], np.ndarray] = {}
        for arm in ARMS:
            strange = self._strange_to(arm, joints, border)
            self._strange |= dict.fromkeys(arm, strange)

    def is_skirt(self, places: np.ndarray) -> np.ndarray:
        """Whether each place shows what may hang between two legs."""
        return np.isin(self._at(places, self.labels), SKIRTS)

    def is_skin(self, places: np.ndarray) -> np.ndarray:
        """Whether each place shows skin, such as that of a hand."""
        return self._at(places, self.labels) == SKIN

    def is_inside(self, places: np.ndarray) -> np.ndarray:
        """Whether each place is surely of the person."""
        return self._at(places, self.inside) > 0

    def is_strange(self, bone: tuple[int, int], places: np.ndarray) -> np.ndarray:
        """Whether each place shows what the arm of this bone does not wear, or its border."""
        return self._at(places, self._strange[bone])

    def _at(self, places: np.ndarray, plane: np.ndarray) -> np.ndarray:
        (high, wide), (rows, columns) = plane.shape, self.grid
        x = np.rint((places.real + 0.5) / columns * wide - 0.5).clip(0, wide - 1)
        y = np.rint((places.imag + 0.5) / rows * high - 0.5).clip(0, high - 1)
        return plane[y.astype(int), x.astype(int)]

    def _strange_to(
        self, arm: tuple[tuple[int, int], ...], joints: np.ndarray, border: np.ndarray
    ) -> np.ndarray:
        count = np.zeros(len(PERSON_CLASSES))
        for bone in arm:
            start, end = joints[list(bone)]
            if not np.isnan(start + end):
                along = start + (end - start) * np.linspace(0, 1, 50)
                count += np.bincount(self._at(along, self.labels), minlength=len(count))
        is_worn = count >= WORN * count.sum()
        is_worn[ON_ANY_ARM] = True
        worn = is_worn[self.labels]
        strange = cv2.dilate((~worn).astype(np.uint8), border) > 0
        return strange & ~(worn & (self.labels > 0))


def posed_guide(own: Landmarks, exemplar: Landmarks, exemplar_grid: tuple[int, int]) -> Guide:
    """Each limb along its bones into what is its own. Raises ValueError without labels."""
    if own.points.isnan().all():
        return lambda size: torch.full((*size, 2), torch.nan)
    if exemplar.labels is None:
        raise ValueError("a posed figure is guided by landmarks with labels; these have none.")
    figure = Figure(exemplar.labels.cpu().numpy().astype(int), exemplar.points, exemplar_grid)
    moved = skinned(
        own.points, exemplar.points, exemplar_grid, functools.partial(posed_flow, figure=figure)
    )
    person = figure.inside.astype(np.float32)
    ground = core_of(figure.labels == 0)
    shown = {AS_IT_IS: np.ones_like(person), BEYOND: ground}

    def cores(region: int) -> tuple[np.ndarray, np.ndarray]:
        return (shown.get(region, person),) * 2

    @functools.lru_cache(maxsize=4)  # of a call: the grid's, the window's and the picture's
    def places(size: tuple[int, int]) -> Tensor:
        flow = moved(size)
        found = _within(flow, exemplar_grid)
        joints = in_cells(own.points, size)
        y, x = np.mgrid[: size[0], : size[1]]
        regions, away = nearest_bone(joints, LIMBS, x + 1j * y)
        # Only the middle of a limb is continued, and what is known stays as it is.
        near = away <= LIMB * TALLNESS * (np.nanmax(joints.imag) - np.nanmin(joints.imag))
        is_known = ~np.isnan(found)
        regions[~near | (is_known & ~figure.is_inside(np.nan_to_num(found)))] = AS_IT_IS
        regions[is_known & (found != flow)] = BEYOND
        found = held_to_regions(found, regions, cores, exemplar_grid)
        return torch.from_numpy(np.stack([found.real, found.imag], axis=-1)).float()

    return places


def posed_flow(
    joints: np.ndarray, exemplar_joints: np.ndarray, places: np.ndarray, figure: Figure
) -> np.ndarray:
    """`skinned_flow` that keeps to a figure: complex, the shape of `places`.

    A place that the nearest limb does not show goes the way of what is beside it, such as the trunk
    behind an arm, or else to the ground; NaN where a limb is hidden in the exemplar.
    """
    flow = functools.partial(_posed, figure=figure)
    return moved_by(flow, joints, exemplar_joints, places)


def _posed(bodies: Bodies, places: np.ndarray, figure: Figure) -> np.ndarray:
    height, is_arm, is_leg, is_thigh = bodies.height, bodies.is_arm, bodies.is_leg, bodies.is_thigh
    away = bodies.away(places)
    own, closest = away.argmin(0), away.min(0)
    moved, in_skirt = _moved(bodies, places, away, figure)
    there = bodies.away_there(moved)
    softness = SOFTNESS * bodies.exemplar_height
    hidden = there.min(0) < there[own, np.arange(len(own))] - softness
    # Before the trunk, or before the other leg, whose trouser is its like.
    hidden &= ~((is_arm | is_leg)[own] & (closest < LIMB * height))
    hidden &= ~(in_skirt & is_leg[there.argmin(0)])
    for number in np.unique(own[is_arm[own]]):
        index = np.flatnonzero(own == number)
        hidden[index] |= figure.is_strange(bodies.parts[number].bones[0], moved[index])
    bare = is_arm[own] & ~hidden & ~figure.is_inside(moved)
    bent = is_arm[own] & _beyond_elbows(bodies, places, closest)
    far = closest > BESIDE * height
    nearer = there.min(0) / bodies.exemplar_height < closest / height / 2
    # A blend of two parts' ways may lead into the body, as that of a skirt should.
    hidden |= bent | (far & nearer & ~in_skirt)
    # Between an arm and the trunk or a thigh there may be a coat or a skirt.
    free = np.min(away[~is_arm], 0, initial=np.inf) > BESIDE * height
    is_behind = (bodies.limb[:, None] != bodies.limb[own]) & ~is_arm[:, None]
    beside = np.where(is_behind, away, np.inf)
    np.put_along_axis(away, own[None], np.inf, axis=0)
    second = away.argmin(0) if len(away) > 1 else own
    is_ground = is_leg[own] | (is_arm[own] & free) | far
    is_ground &= hidden & ~bent & (far | ~(is_thigh[own] & is_thigh[second]))
    hidden &= ~is_ground
    behind = beside.argmin(0)
    sought = (hidden | bare) & (beside.min(0) < REACH * height)
    for number in np.unique(behind[sought]):
        index = np.flatnonzero(sought & (behind == number))
        other = bodies.parts[number].moved(places[index])
        near = bodies.away_there(other)
        seen = near[bodies.limb == bodies.limb[number]].min(0) <= near.min(0) + softness
        # In the place of the ground, cloth that is nearer to an arm there is cloth all the same.
        seen |= (bare | bent)[index] & ~figure.is_skin(other)
        seen &= ~(bare | bent)[index] | figure.is_inside(other)
        moved[index[seen]], hidden[index[seen]] = other[seen], False
    is_ground |= hidden & is_arm[own] & (bent | (closest > LIMB * height))
    moved[is_ground] = bodies.outside(own[is_ground], moved[is_ground], closest[is_ground])
    return np.where(hidden & ~is_ground, complex(np.nan, np.nan), moved)


def _moved(
    bodies: Bodies, places: np.ndarray, away: np.ndarray, figure: Figure
) -> tuple[np.ndarray, np.ndarray]:
    """Where places go with the parts near them, and which of them are of a skirt."""
    own, closest = away.argmin(0), away.min(0)
    turn = np.array([part.a / abs(part.a) for part in bodies.parts])
    against = 1 - (turn[:, None] * turn.conj()).real  # 0 to 2
    sharp = 1 + SHARPNESS * against[:, own]
    share = np.exp((closest - away) * sharp / (SOFTNESS * bodies.height))
    moved = bodies.blended(places, share * ~bodies.apart[:, own])
    if not figure.has_skirt:
        return moved, np.zeros(places.shape, bool)
    joined = bodies.blended(places, share)
    in_skirt = bodies.is_leg[own] & figure.is_skirt(joined)
    return np.where(in_skirt, joined, moved), in_skirt


def _beyond_elbows(bodies: Bodies, places: np.ndarray, closest: np.ndarray) -> np.ndarray:
    """Which places lie outside of the bend of an elbow, where an arm has ended."""
    beyond = np.zeros(places.shape, bool)
    for _, elbow in UPPER_ARMS:
        far = abs(places - bodies.joints[elbow])  # NaN where it is missing, which is not less
        beyond |= far <= closest + SOFTNESS / 4 * bodies.height
    return beyond & (closest > ELBOW * bodies.height)


def _within(flow: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """A flow whose places beyond the exemplar are at its border."""
    rows, columns = grid
    return flow.real.clip(-0.5, columns - 0.5) + 1j * flow.imag.clip(-0.5, rows - 0.5)
