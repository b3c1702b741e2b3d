"""How a body moves with its bones: where each place of one pose lies in another.

Linear blend skinning (Magnenat-Thalmann et al. 1988) in two dimensions: every part has a frame in
either pose, and a place moves with the parts that it is near.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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

TALLNESS = 1.1
"""A body's height from its highest joint to its lowest, as a multiple: hair and shoes."""

SHORTEST = 0.07
"""Length below which a limb, seen from its end, has no direction, as a share of the spread of all
joints."""

SOFTNESS = 0.012
"""Distance, as a share of the body's height, in which a place changes from one part to another."""

LIMB = 0.03
"""Distance from a limb's bone, as a share of the body's height, that is surely still the limb."""

BESIDE = 0.08
"""Distance from all bones, as a share of the body's height, where the body has surely ended."""

GROUND = 0.2
"""The same where what is carried, such as a bag, has ended as well."""

HAND_OR_FOOT = 0.4
"""How far a forearm or shin goes on beyond its last joint, as a share of its length."""

MOST_STEPS = 40
"""With which a way out of the body is looked for."""

PLACES_AT_ONCE = 1 << 16
"""Places that are moved together: each takes some 20 times its own memory on the way."""

STEP, FINE = 4, 192
"""Pixels between the places that are moved by themselves where the flow is smooth, and from which
height on that is done."""

SMOOTH = 0.05
"""Cells of the exemplar's grid by which the ways of three places in a row may differ from a line
there."""

MOST_GROWTH = 1.5
"""Times by which a head or trunk may grow more than the whole body does, or less."""

STRAIGHTNESS = 0.3
"""Weight, beside one of its joints, of a trunk that keeps its proportions: seen from the side it
is narrow, and its joints alone would pull it wide."""


def skinned(
    points: Tensor, exemplar_points: Tensor, exemplar_grid: tuple[int, int]
) -> Callable[[tuple[int, int]], np.ndarray]:
    """`skinned_flow` between landmarks, at any fineness: (h, w) complex, in cells of the grid.

    points, exemplar_points: (18, 2) in shares of the pictures.
    """
    other = in_cells(exemplar_points, exemplar_grid)

    def places(size: tuple[int, int]) -> np.ndarray:
        joints = in_cells(points, size)
        if size[0] < FINE:
            y, x = np.mgrid[: size[0], : size[1]]
            return skinned_flow(joints, other, x + 1j * y)
        y, x = np.mgrid[: size[0] + STEP : STEP, : size[1] + STEP : STEP]
        flow, is_rough = _between(skinned_flow(joints, other, x + 1j * y))
        flow, is_rough = (each[: size[0], : size[1]] for each in (flow, is_rough))
        y, x = is_rough.nonzero()
        flow[y, x] = skinned_flow(joints, other, x + 1j * y)
        return flow

    return places


def _between(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A flow made `STEP` times as fine (h, w) -> (STEP (h - 1), STEP (w - 1)), and where it may be
    wrong: where it bends too much, or is known at some corners only."""
    unknown = np.isnan(flow)
    bends = np.zeros(flow.shape, bool)
    bends[1:-1] |= abs(np.diff(flow, 2, axis=0)) > SMOOTH
    bends[:, 1:-1] |= abs(np.diff(flow, 2, axis=1)) > SMOOTH
    twist = np.diff(np.diff(flow, axis=0), axis=1)
    corners = [(slice(i, i - 1 or None), slice(j, j - 1 or None)) for i in (0, 1) for j in (0, 1)]
    is_rough = np.logical_or.reduce([(bends | unknown)[each] for each in corners])
    is_rough &= ~np.logical_and.reduce([unknown[each] for each in corners])
    is_rough |= abs(twist) > SMOOTH
    share = np.arange(STEP, dtype=np.float32) / STEP
    for _ in range(2):  # columns, then rows
        change = np.diff(flow, axis=1)
        flow = (flow[:, :-1, None] + change[..., None] * share).reshape(len(flow), -1).T
    return flow, is_rough.repeat(STEP, 0).repeat(STEP, 1)


def in_cells(points: Tensor, grid: tuple[int, int]) -> np.ndarray:
    """Points (n, 2) in shares as complex numbers x + iy in the cells of a grid (h, w)."""
    places = points.double().cpu().numpy() * grid[::-1] - 0.5
    return places[:, 0] + 1j * places[:, 1]


def nearest_bone(
    joints: np.ndarray, groups: Sequence[Sequence[tuple[int, int]]], places: np.ndarray
) -> np.ndarray:
    """The number of the group that has the bone nearest to each place, the shape of `places`.

    joints: complex, as of `skinned_flow`. groups: of pairs of joints; 0 where all are missing.
    """
    away = np.full((len(groups), *places.shape), np.inf)
    for number, bones in enumerate(groups):
        for bone in bones:
            if not np.isnan(joints[list(bone)]).any():
                far = abs(places - _nearest(joints, bone, places))
                away[number] = np.minimum(away[number], far)
    return away.argmin(0)


def skinned_flow(joints: np.ndarray, exemplar_joints: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Where each place of a pose lies in the exemplar's: complex, the shape of `places`.

    joints, exemplar_joints: (18,) complex, x + iy in the order of `JOINTS`, NaN where missing.
    places: complex. A place moves with the part that it is nearest to. Where that leads nearer to
    another part of the exemplar, which hides what is there, a place beside a limb or far from all
    parts looks at the ground, and others are NaN. So are all for poses without a part in common.
    """
    parts = parts_of(joints, exemplar_joints)
    if not parts:
        return np.full(places.shape, complex(np.nan, np.nan))
    # A thousandth of a pixel is near enough, and half the time.
    joints, exemplar_joints = joints.astype(np.complex64), exemplar_joints.astype(np.complex64)
    places = places.astype(np.complex64)
    blocks = np.array_split(places.ravel(), -(-places.size // PLACES_AT_ONCE) or 1)
    found = [_skinned(joints, exemplar_joints, parts, block) for block in blocks]
    return np.concatenate(found).reshape(places.shape)


def _skinned(
    joints: np.ndarray, exemplar_joints: np.ndarray, parts: list[Part], places: np.ndarray
) -> np.ndarray:
    height, exemplar_height = (
        TALLNESS * float(np.ptp(one[~np.isnan(one)].imag)) for one in (joints, exemplar_joints)
    )
    away = np.stack([part.distance(joints, places) for part in parts])
    own, closest = away.argmin(0), away.min(0)
    is_arm, is_leg, is_thigh = (
        np.array([part.bones[0] in bones for part in parts])
        for bones in (UPPER_ARMS + FOREARMS, THIGHS + SHINS, THIGHS)
    )
    is_left = np.array([JOINTS[part.bones[0][0]].startswith("l_") for part in parts])
    # Half way between two shins there is nothing; between two thighs there may be a skirt.
    apart = is_leg & is_leg[:, None] & (is_left != is_left[:, None])
    apart &= ~(is_thigh & is_thigh[:, None])
    share = np.exp((closest - away) / (SOFTNESS * height)) * ~apart[:, own]
    moved = sum(weight * part.moved(places) for weight, part in zip(share, parts, strict=True))
    moved = moved / share.sum(0)
    there = np.stack([part.distance(exemplar_joints, moved) for part in parts])
    hidden = there.min(0) < there[own, np.arange(len(own))] - SOFTNESS * exemplar_height
    # Before the trunk, or before the other leg, whose trouser is its like.
    hidden &= ~((is_arm | is_leg)[own] & (closest < LIMB * height))
    far = closest > BESIDE * height
    nearer = there.min(0) / exemplar_height < closest / height / 2
    hidden |= far & nearer  # a blend of two parts' ways may lead into the body
    # Between an arm and the trunk or a thigh there may be a coat or a skirt.
    free = np.min(away[~is_arm], 0, initial=np.inf) > BESIDE * height
    np.put_along_axis(away, own[None], np.inf, axis=0)
    second = away.argmin(0) if len(parts) > 1 else own
    is_ground = is_leg[own] | (is_arm[own] & free) | far
    is_ground &= hidden & (far | ~(is_thigh[own] & is_thigh[second]))
    way = np.zeros_like(moved)
    for number in np.unique(own[is_ground]):
        chosen = is_ground & (own == number)
        way[chosen] = parts[number].outwards(exemplar_joints, moved[chosen])
    least = exemplar_height * np.maximum(closest[is_ground] / height, GROUND)
    moved[is_ground] = _outside(exemplar_joints, parts, moved[is_ground], way[is_ground], least)
    return np.where(hidden & ~is_ground, complex(np.nan, np.nan), moved)


@dataclass(frozen=True)
class Part:
    """A part that two poses show.

    bones: the pairs of joints it lies along. The place z goes to a z + b z* + c.
    """

    bones: tuple[tuple[int, int], ...]
    a: complex
    b: complex
    c: complex

    def distance(self, joints: np.ndarray, places: np.ndarray) -> np.ndarray:
        """From each place to the part, which hands and feet belong to, in one of the poses."""
        return np.min([abs(places - _nearest(joints, bone, places)) for bone in self.bones], 0)

    def outwards(self, joints: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The way from the part to each place, of length 1."""
        offs = np.stack([places - _nearest(joints, bone, places) for bone in self.bones])
        off = offs[abs(offs).argmin(0), np.arange(len(places))]
        return off / np.maximum(abs(off), 1e-9)

    def moved(self, places: np.ndarray) -> np.ndarray:
        """Where places lie in the other pose."""
        return self.a * places + self.b * places.conj() + self.c


def _nearest(joints: np.ndarray, bone: tuple[int, int], places: np.ndarray) -> np.ndarray:
    """The place of a bone, with its hand or foot, that is nearest to each place."""
    start, along = joints[bone[0]], joints[bone[1]] - joints[bone[0]]
    end = 1 + HAND_OR_FOOT if bone in FOREARMS + SHINS else 1
    return start + along * ((places - start) / (along or 1)).real.clip(0, end)


def parts_of(joints: np.ndarray, exemplar: np.ndarray) -> list[Part]:
    """The parts that both poses show."""
    seen = ~np.isnan(joints + exemplar)
    if seen.sum() < 2:
        return []
    extent, other_extent = (np.std(one[seen]) for one in (joints, exemplar))
    if not min(extent, other_extent) > 0:
        return []
    overall = other_extent / extent
    parts = []
    for joint_names in (HEAD, TRUNK):
        own = [joint for joint in joint_names if seen[joint]]
        if len(own) >= 2:
            bones = tuple((own[0], joint) for joint in own[1:])
            fit = _fitted(joints[own], exemplar[own], overall, joint_names is TRUNK)
            parts.append(Part(bones, *map(complex, fit)))
    for start, end in UPPER_ARMS + FOREARMS + THIGHS + SHINS:
        if not (seen[start] and seen[end]):
            continue
        along, other = joints[end] - joints[start], exemplar[end] - exemplar[start]
        if min(abs(along) / extent, abs(other) / other_extent) < SHORTEST:
            continue
        # Along the limb as its length says, to its sides as the whole body.
        stretch = abs(other) / abs(along)
        turn, mirror = other / along / stretch, other * along / abs(other * along)
        a, b = turn * (stretch + overall) / 2, mirror * (stretch - overall) / 2
        c = exemplar[start] - a * joints[start] - b * joints[start].conjugate()
        parts.append(Part(((start, end),), complex(a), complex(b), complex(c)))
    return parts


def _fitted(
    own: np.ndarray, other: np.ndarray, overall: float, may_stretch: bool
) -> tuple[complex, complex, complex]:
    """The similarity from points to others; with may_stretch, an affine map near it."""
    centre, other_centre = own.mean(), other.mean()
    z, w = own - centre, other - other_centre
    size = float((abs(z) ** 2).sum())
    turn = (w * z.conj()).sum() / max(size, 1e-9)
    # Few joints close together: how large it is, the whole body says as well.
    scale = np.clip(abs(turn), overall / MOST_GROWTH, overall * MOST_GROWTH)
    a, b = turn / max(abs(turn), 1e-9) * scale, 0j
    if may_stretch and len(own) >= 4:
        # Least squares of a z + b z* = w in real numbers, held to the similarity.
        hold = np.sqrt(STRAIGHTNESS * size / len(own))
        rows = np.concatenate(
            [
                np.stack([z.real, -z.imag, z.real, z.imag], axis=1),
                np.stack([z.imag, z.real, -z.imag, z.real], axis=1),
                hold * np.eye(4),
            ]
        )
        wanted = np.concatenate([w.real, w.imag, [hold * a.real, hold * a.imag, 0, 0]])
        fit = np.linalg.lstsq(rows, wanted, rcond=None)[0]
        a, b = complex(fit[0], fit[1]), complex(fit[2], fit[3])
    return a, b, other_centre - a * centre - b * centre.conjugate()


def _outside(
    joints: np.ndarray, parts: list[Part], places: np.ndarray, way: np.ndarray, least: np.ndarray
) -> np.ndarray:
    """Places moved along their way until all of the body is as far as `least` says."""
    left = np.arange(len(places))
    shortest = least.min(initial=np.inf) / 8
    for _ in range(MOST_STEPS):
        away = np.min([part.distance(joints, places[left]) for part in parts], 0)
        missing = least[left] - away
        left, missing = left[missing > 0], missing[missing > 0]
        if not len(left):
            break
        # No nearer than that is any way out; without a least step it might take for ever.
        places[left] += way[left] * np.maximum(missing, shortest)
    return places
