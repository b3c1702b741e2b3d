"""How a body moves with its bones: where each place of one pose lies in another.

Linear blend skinning (Magnenat-Thalmann et al. 1988) in two dimensions: every part has a frame in
either pose, and a place moves with the parts that it is near.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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

REACH, ARM_REACH = 0.11, 0.085
"""Distance from the bones, as a share of the body's height, up to which a place moves with them."""

BESIDE = 0.08
"""Distance from all bones, as a share of the body's height, where the body has surely ended."""

HAND_OR_FOOT = 0.4
"""How far a forearm or shin goes on beyond its last joint, as a share of its length."""

STEP = 0.01
"""Share of the body's height in which a way out of the body is looked for."""

MOST_GROWTH = 1.5
"""Times by which a head or trunk may grow more than the whole body does, or less."""

STRAIGHTNESS = 0.3
"""Weight, beside one of its joints, of a trunk that keeps its proportions: seen from the side it
is narrow, and its joints alone would pull it wide."""


def skinned_flow(joints: np.ndarray, exemplar_joints: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Where each place of a pose lies in the exemplar's: complex, the shape of `places`.

    joints, exemplar_joints: (18,) complex, x + iy in the order of `JOINTS`, NaN where missing.
    places: complex. NaN where no part that both poses show is near, and where the place found is
    nearer to another part of the exemplar, which hides it; a leg whose side is hidden ends there.
    """
    found = np.full(places.shape, complex(np.nan, np.nan))
    parts = parts_of(joints, exemplar_joints)
    if not parts:
        return found
    height, exemplar_height = (
        TALLNESS * np.ptp(one[~np.isnan(one)].imag) for one in (joints, exemplar_joints)
    )
    away = np.stack([part.distance(joints, places) for part in parts])
    reach = height * np.array([part.reach for part in parts])
    near = away.min(0) <= reach[away.argmin(0)]
    places, away = places[near], away[:, near]
    share = np.exp((away.min(0) - away) / (SOFTNESS * height))
    moved = sum(weight * part.moved(places) for weight, part in zip(share, parts, strict=True))
    moved = moved / share.sum(0)
    there = np.stack([part.distance(exemplar_joints, moved) for part in parts])
    own = away.argmin(0)
    is_own = there.min(0) >= there[own, np.arange(len(own))] - SOFTNESS * exemplar_height
    second = np.argpartition(away, min(1, len(parts) - 1), axis=0)[min(1, len(parts) - 1)]
    for number, part in enumerate(parts):
        if not part.is_leg:
            continue
        # Between two thighs there may be a skirt.
        between = part.is_thigh & np.array([other.is_thigh for other in parts])[second]
        hidden = (own == number) & ~is_own & ~between
        moved[hidden] = _outside(exemplar_joints, part, parts, moved[hidden], exemplar_height)
        is_own |= hidden
    found[near] = np.where(is_own, moved, complex(np.nan, np.nan))
    return found


@dataclass(frozen=True)
class Part:
    """A part that two poses show.

    bones: the pairs of joints it lies along. The place z goes to a z + b z* + c.
    """

    bones: tuple[tuple[int, int], ...]
    a: complex
    b: complex
    c: complex

    @property
    def reach(self) -> float:
        """See `REACH`."""
        return ARM_REACH if self.bones[0] in UPPER_ARMS + FOREARMS else REACH

    @property
    def is_thigh(self) -> bool:
        """Whether it is a thigh."""
        return self.bones[0] in THIGHS

    @property
    def is_leg(self) -> bool:
        """Whether it is a thigh or a shin."""
        return self.bones[0] in THIGHS + SHINS

    def distance(self, joints: np.ndarray, places: np.ndarray) -> np.ndarray:
        """From each place to the part, which hands and feet belong to, in one of the poses."""
        return np.min([abs(places - self._nearest(joints, bone, places)) for bone in self.bones], 0)

    def outwards(self, joints: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The way from a limb to each place, of length 1."""
        off = places - self._nearest(joints, self.bones[0], places)
        return off / np.maximum(abs(off), 1e-9)

    def _nearest(self, joints: np.ndarray, bone: tuple[int, int], places: np.ndarray) -> np.ndarray:
        start, along = joints[bone[0]], joints[bone[1]] - joints[bone[0]]
        end = 1 + HAND_OR_FOOT if bone in FOREARMS + SHINS else 1
        return start + along * ((places - start) / (along or 1)).real.clip(0, end)

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
            parts.append(Part(bones, *fit))
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
        parts.append(Part(((start, end),), a, b, c))
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
    joints: np.ndarray, limb: Part, parts: list[Part], places: np.ndarray, height: float
) -> np.ndarray:
    """Places moved straight away from a limb until no part of the body is near."""
    step = STEP * height * limb.outwards(joints, places)
    for _ in range(round(1 / STEP)):
        near = np.min([part.distance(joints, places) for part in parts], 0) < BESIDE * height
        if not near.any():
            break
        places = places + step * near
    return places
