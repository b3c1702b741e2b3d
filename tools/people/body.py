"""The body under the clothes: its measures, its joints, and outlines around them.

A body is drawn in units of which an upright person measures about 240: x to the right of the
picture, y down, (0, 0) between the hips. A level says how far down the body something is: 0 are the
shoulders, 1 the hips, 2 the knees, 3 the ankles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .figures import Posture

SIGNS = {"r": -1, "l": 1}
"""A person's right side is on the left of the picture."""

UPPER_ARM, FOREARM, HAND = 35, 29, 13
THIGH, SHIN, FOOT = 54, 53, 18
SPINE, CHIN, CROWN = 65, 14, 46
"""From the hips up to the neck's joint, from there up to the chin and to the crown."""
SHOULDER, HIP = 19, 10.5
"""From the middle to the joint."""

Profile = Sequence[tuple[float, float]]
"""Half a width at places, (place, half width), straight in between."""

TORSO: Profile = (
    (-0.14, 6), (-0.11, 10), (-0.06, 18), (0, 20), (0.1, 19), (0.3, 16.5), (0.45, 14.5),
    (0.62, 13), (0.8, 15.5), (1, 18), (1.15, 18.2),
)  # fmt: skip
"""At a level."""

WAIST = 0.66
"""The level where skirts and trousers begin, and where wide clothes begin to widen."""

LEG: Profile = (
    (0, 8), (0.3, 9), (0.6, 7.8), (0.9, 6.1), (1.05, 5.9), (1.35, 6.3), (1.6, 5), (1.9, 3.4),
)  # fmt: skip
"""0 hip, 1 knee, 2 ankle."""

ARM: Profile = ((0, 6), (0.4, 5.6), (0.9, 4.5), (1, 4.4), (1.25, 4.5), (1.7, 3.4), (2, 2.9))
"""0 shoulder, 1 elbow, 2 wrist."""


def direction(degrees: float) -> np.ndarray:
    """The unit vector at an angle from straight down towards the picture's right, (2,)."""
    return np.array([np.sin(np.radians(degrees)), np.cos(np.radians(degrees))])


def skeleton(posture: Posture) -> dict[str, np.ndarray]:
    """The 18 joints, the tips of hands (`r_hand`) and feet (`r_toe`) and the `crown`, each (2,)."""
    neck = -SPINE * direction(-posture.lean)
    up = -direction(-posture.lean - posture.tilt)
    aside = np.array([-up[1], up[0]])
    nose = neck + 27 * up + 3.5 * posture.turn * aside
    points = {"neck": neck, "nose": nose, "crown": neck + CROWN * up}
    sides = zip(SIGNS.items(), posture.arms, posture.legs, strict=True)
    for (side, sign), arm, leg in sides:
        shoulder = neck + sign * SHOULDER * direction(90 - posture.shoulders)
        elbow = shoulder + UPPER_ARM * direction(sign * arm.upper)
        wrist = elbow + FOREARM * direction(sign * arm.fore)
        hip = sign * HIP * direction(90 - posture.hips)
        knee = hip + THIGH * direction(sign * leg.thigh)
        ankle = knee + leg.length * SHIN * direction(sign * leg.shin)
        own = {
            "eye": nose + 3.5 * up + (4.6 * sign + posture.turn) * aside,
            "ear": neck + 28.5 * up + (9.8 * sign - 2 * posture.turn) * aside,
            "shoulder": shoulder,
            "elbow": elbow,
            "wrist": wrist,
            "hand": wrist + HAND * direction(sign * arm.fore),
            "hip": hip,
            "knee": knee,
            "ankle": ankle,
            "toe": ankle + FOOT * direction(sign * leg.foot),
        }
        points |= {f"{side}_{name}": point for name, point in own.items()}
    return points


def at(profile: Profile, place: float | np.ndarray) -> np.ndarray:
    """Half the width at one place or at several."""
    places, widths = zip(*profile, strict=True)
    return np.interp(place, places, widths)


def between(path: Sequence[np.ndarray], places: float | np.ndarray) -> np.ndarray:
    """Points on a path whose corners are at the places 0, 1, 2, ...: (2,) or (N, 2)."""
    columns = np.transpose(path)
    return np.stack([np.interp(places, np.arange(len(path)), column) for column in columns], -1)


def rounded(corners: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """A closed outline whose corners are cut off four times (Chaikin 1974), (N, 2)."""
    outline = np.array(corners)
    for _ in range(4):
        following = np.roll(outline, -1, axis=0)
        cuts = 0.75 * outline + 0.25 * following, 0.25 * outline + 0.75 * following
        outline = np.stack(cuts, axis=1).reshape(-1, 2)
    return outline
