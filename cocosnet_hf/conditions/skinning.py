"""How a body moves with its bones: where each place of one pose lies in another.

Linear blend skinning (Magnenat-Thalmann et al. 1988) in two dimensions: every part has a frame in
either pose, and a place moves with the parts that it is near.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .bones import FOREARMS, HEAD, SHINS, THIGHS, TRUNK, UPPER_ARMS, in_cells, on_bone
from .joints import JOINTS

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


Flow = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Of joints, an exemplar's joints and places: where each lies there, as `skinned_flow` says it."""


def skinned(
    points: Tensor,
    exemplar_points: Tensor,
    exemplar_grid: tuple[int, int],
    flow_of: Flow | None = None,
) -> Callable[[tuple[int, int]], np.ndarray]:
    """A flow between landmarks, at any fineness: (h, w) complex, in cells of the grid.

    points, exemplar_points: (18, 2) in shares of the pictures. flow_of: `skinned_flow` or its like.
    """
    flow_of = flow_of or skinned_flow
    other = in_cells(exemplar_points, exemplar_grid)

    def places(size: tuple[int, int]) -> np.ndarray:
        joints = in_cells(points, size)
        if size[0] < FINE:
            y, x = np.mgrid[: size[0], : size[1]]
            return flow_of(joints, other, x + 1j * y)
        y, x = np.mgrid[: size[0] + STEP : STEP, : size[1] + STEP : STEP]
        flow, is_rough = _between(flow_of(joints, other, x + 1j * y))
        flow, is_rough = (each[: size[0], : size[1]] for each in (flow, is_rough))
        y, x = is_rough.nonzero()
        flow[y, x] = flow_of(joints, other, x + 1j * y)
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


def skinned_flow(joints: np.ndarray, exemplar_joints: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Where each place of a pose lies in the exemplar's: complex, the shape of `places`.

    joints, exemplar_joints: (18,) complex, x + iy in the order of `JOINTS`, NaN where missing.
    places: complex. A place moves with the part that it is nearest to. Where that leads nearer to
    another part of the exemplar, which hides what is there, a place beside a limb or far from all
    parts looks at the ground, and others are NaN. So are all for poses without a part in common.
    """
    return moved_by(_skinned, joints, exemplar_joints, places)


def moved_by(
    flow: Callable[[Bodies, np.ndarray], np.ndarray],
    joints: np.ndarray,
    exemplar_joints: np.ndarray,
    places: np.ndarray,
) -> np.ndarray:
    """What a flow says of places, of which it is given so many at once; NaN without a part."""
    parts = parts_of(joints, exemplar_joints)
    if not parts:
        return np.full(places.shape, complex(np.nan, np.nan))
    # A thousandth of a pixel is near enough, and half the time.
    bodies = Bodies(joints.astype(np.complex64), exemplar_joints.astype(np.complex64), parts)
    places = places.astype(np.complex64)
    blocks = np.array_split(places.ravel(), -(-places.size // PLACES_AT_ONCE) or 1)
    return np.concatenate([flow(bodies, block) for block in blocks]).reshape(places.shape)


def _skinned(bodies: Bodies, places: np.ndarray) -> np.ndarray:
    height, exemplar_height = bodies.height, bodies.exemplar_height
    is_arm, is_leg, is_thigh = bodies.is_arm, bodies.is_leg, bodies.is_thigh
    away = bodies.away(places)
    own, closest = away.argmin(0), away.min(0)
    share = np.exp((closest - away) / (SOFTNESS * height)) * ~bodies.apart[:, own]
    moved = bodies.blended(places, share)
    there = bodies.away_there(moved)
    hidden = there.min(0) < there[own, np.arange(len(own))] - SOFTNESS * exemplar_height
    # Before the trunk, or before the other leg, whose trouser is its like.
    hidden &= ~((is_arm | is_leg)[own] & (closest < LIMB * height))
    far = closest > BESIDE * height
    nearer = there.min(0) / exemplar_height < closest / height / 2
    hidden |= far & nearer  # a blend of two parts' ways may lead into the body
    # Between an arm and the trunk or a thigh there may be a coat or a skirt.
    free = np.min(away[~is_arm], 0, initial=np.inf) > BESIDE * height
    np.put_along_axis(away, own[None], np.inf, axis=0)
    second = away.argmin(0) if len(away) > 1 else own
    is_ground = is_leg[own] | (is_arm[own] & free) | far
    is_ground &= hidden & (far | ~(is_thigh[own] & is_thigh[second]))
    moved[is_ground] = bodies.outside(own[is_ground], moved[is_ground], closest[is_ground])
    return np.where(hidden & ~is_ground, complex(np.nan, np.nan), moved)


class Bodies:
    """Two poses, the parts that both show, and what kind each part is.

    joints, exemplar_joints: as of `skinned_flow`. height, exemplar_height: of the bodies. is_arm,
    is_leg, is_thigh: (n,) bool, of each part. limb: (n,) a number that the parts of one arm or leg
    share. apart: (n, n) bool, parts between which there is nothing.
    """

    def __init__(self, joints: np.ndarray, exemplar_joints: np.ndarray, parts: list[Part]) -> None:
        self.joints, self.exemplar_joints, self.parts = joints, exemplar_joints, parts
        self.height, self.exemplar_height = (
            TALLNESS * float(np.ptp(one[~np.isnan(one)].imag)) for one in (joints, exemplar_joints)
        )
        first = [part.bones[0] for part in parts]
        self.is_arm, self.is_leg, self.is_thigh = (
            np.array([bone in bones for bone in first])
            for bones in (UPPER_ARMS + FOREARMS, THIGHS + SHINS, THIGHS)
        )
        is_left = np.array([JOINTS[bone[0]].startswith("l_") for bone in first])
        self.limb = np.select(
            [self.is_arm, self.is_leg], [-1 - is_left, -3 - is_left], np.arange(len(parts))
        )
        # Half way between two shins there is nothing; between two thighs there may be a skirt.
        self.apart = self.is_leg & self.is_leg[:, None] & (is_left != is_left[:, None])
        self.apart &= ~(self.is_thigh & self.is_thigh[:, None])

    def away(self, places: np.ndarray) -> np.ndarray:
        """From each part to places of the pose, (n, ...)."""
        return np.stack([part.distance(self.joints, places) for part in self.parts])

    def away_there(self, places: np.ndarray) -> np.ndarray:
        """The same in the exemplar."""
        return np.stack([part.distance(self.exemplar_joints, places) for part in self.parts])

    def blended(self, places: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Where places go that move with every part by its share, (n, ...)."""
        each = zip(share, self.parts, strict=True)
        return np.asarray(sum(weight * part.moved(places) for weight, part in each) / share.sum(0))

    def outside(self, own: np.ndarray, moved: np.ndarray, closest: np.ndarray) -> np.ndarray:
        """Places (m,) of the exemplar moved away from their own parts on to the ground.

        closest (m,): how far each is from the pose's bones, which it then is from the exemplar's.
        """
        way = np.zeros_like(moved)
        for number in np.unique(own):
            chosen = own == number
            way[chosen] = self.parts[number].outwards(self.exemplar_joints, moved[chosen])
        least = self.exemplar_height * np.maximum(closest / self.height, GROUND)
        return _outside(self.exemplar_joints, self.parts, moved, way, least)


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
        return np.min([abs(places - on_bone(joints, bone, places)) for bone in self.bones], 0)

    def outwards(self, joints: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The way from the part to each place, of length 1."""
        offs = np.stack([places - on_bone(joints, bone, places) for bone in self.bones])
        off = offs[abs(offs).argmin(0), np.arange(len(places))]
        return off / np.maximum(abs(off), 1e-9)

    def moved(self, places: np.ndarray) -> np.ndarray:
        """Where places lie in the other pose."""
        return self.a * places + self.b * places.conj() + self.c


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
