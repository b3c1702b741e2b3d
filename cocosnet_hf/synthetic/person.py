"""A drawn standing person: pose and size from one draw, clothes and colours from another."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..conditions.joints import JOINTS
from .paint import SUPERSAMPLING, Finish, Paint, draw_paint, fill, fill_ellipse, fill_limb

PERSON_CLASSES = ("background", "floor", "skin", "hair", "top", "bottom", "shoes", "face")
"""Class names of a person's label map; the index is the label. `face` is eyes and mouth."""

BACKGROUND, FLOOR, SKIN, HAIR, TOP, BOTTOM, SHOES, FACE = range(8)

FINISHES = (
    Finish((0.05, 0.4), (0.7, 1.0), ("plain", "grain"), gradient=0.25),
    Finish((0.1, 0.5), (0.4, 0.8), ("plain", "stripes", "grain"), gradient=0.2),
    Finish((0.25, 0.6), (0.35, 0.95), ("plain",), hue=(0.03, 0.09), gradient=0.05),
    Finish((0.2, 0.8), (0.08, 0.8), ("plain", "grain"), hue=(0.0, 0.14)),
    Finish((0.2, 0.95), (0.3, 1.0), ("plain", "stripes", "dots", "bricks")),
    Finish((0.1, 0.8), (0.2, 0.85), ("plain", "stripes", "dots")),
    Finish((0.1, 0.9), (0.1, 0.9), ("plain",)),
    Finish((0.3, 0.8), (0.1, 0.3), ("plain",)),
)


@dataclasses.dataclass(frozen=True)
class Clothes:
    """What a person wears: it belongs to the look, the exemplar shows it and the pose does not.

    sleeve, leg: covered share of the arms and legs. skirt, long_hair: whether there is one.
    """

    paints: list[Paint]
    sleeve: float
    leg: float
    skirt: bool
    long_hair: bool


def person_look(rng: np.random.Generator) -> Clothes:
    """Random clothes, told apart from the background and from each other."""
    paints = [draw_paint(finish, rng) for finish in FINISHES]
    pairs = ((BACKGROUND, TOP), (TOP, BOTTOM), (BACKGROUND, BOTTOM), (SKIN, HAIR), (SKIN, TOP))
    for first, second in pairs:
        for _ in range(8):
            if np.abs(paints[first].first - paints[second].first).sum() > 0.6:
                break
            paints[second] = draw_paint(FINISHES[second], rng)
    return Clothes(
        paints=paints,
        sleeve=float(rng.choice([0.0, 0.4, 1.0])),
        leg=float(rng.choice([0.45, 1.0])),
        skirt=bool(rng.random() < 0.3),
        long_hair=bool(rng.random() < 0.5),
    )


def person_pose(rng: np.random.Generator) -> np.ndarray:
    """The 18 joints of a person seen from the front, (18, 2) of x, y in [0, 1]."""
    height = rng.uniform(0.72, 0.88)
    joints = dict.fromkeys(JOINTS, np.zeros(2))
    hips = np.array([rng.uniform(0.4, 0.6), 0.94 - 0.48 * height + rng.uniform(-0.02, 0.01)])
    lean = rng.uniform(-0.2, 0.2)
    up = np.array([np.sin(lean), -np.cos(lean)])
    side = np.array([-up[1], up[0]])
    neck = hips + 0.31 * height * up
    joints["neck"] = neck
    nod = lean + rng.uniform(-0.25, 0.25)
    head_up = np.array([np.sin(nod), -np.cos(nod)])
    head_side = np.array([-head_up[1], head_up[0]])
    nose = neck + 0.1 * height * head_up
    joints["nose"] = nose
    for name, sign in (("r", -1), ("l", 1)):
        # The person faces us, so the right side is on the picture's left.
        joints[f"{name}_eye"] = nose + height * (0.018 * head_up + sign * 0.02 * head_side)
        joints[f"{name}_ear"] = nose + height * (0.008 * head_up + sign * 0.045 * head_side)
        shoulder = neck + height * (sign * 0.095 * side - 0.012 * up)
        hip = hips + sign * 0.058 * height * side
        raised, bent = rng.uniform(0.08, 2.3), rng.uniform(-0.2, 1.9)
        spread, knee = rng.uniform(0.0, 0.42), rng.uniform(-0.25, 0.12)
        elbow = shoulder + 0.155 * height * _direction(sign, raised)
        joints[f"{name}_shoulder"] = shoulder
        joints[f"{name}_elbow"] = elbow
        joints[f"{name}_wrist"] = elbow + 0.14 * height * _direction(sign, raised + bent)
        joints[f"{name}_hip"] = hip
        joints[f"{name}_knee"] = hip + 0.225 * height * _direction(sign, spread)
        joints[f"{name}_ankle"] = joints[f"{name}_knee"] + 0.225 * height * _direction(
            sign, spread + knee
        )
    return np.stack([joints[name] for name in JOINTS])


def person_layout(joints: np.ndarray, clothes: Clothes, floor: float, size: int) -> np.ndarray:
    """A label map of `PERSON_CLASSES`, (size, size) times `SUPERSAMPLING`, uint8."""
    labels = np.zeros((size * SUPERSAMPLING, size * SUPERSAMPLING), np.uint8)
    at = dict(zip(JOINTS, joints, strict=True))
    unit = float(np.hypot(*(at["neck"] - (at["r_hip"] + at["l_hip"]) / 2))) / 0.31
    fill(labels, np.array([[0, floor], [1, floor], [1, 1], [0, 1]]), FLOOR)
    head = at["nose"] + 0.008 * unit * _unit(at["nose"] - at["neck"])
    tilt = float(np.arctan2(*(at["nose"] - at["neck"]) * (1, -1)))
    crown = head + 0.02 * unit * _unit(at["nose"] - at["neck"])
    fill_ellipse(labels, crown, (0.066 * unit, 0.076 * unit), HAIR, tilt)
    if clothes.long_hair:
        fill_limb(labels, crown, at["neck"], (0.13 * unit, 0.16 * unit), HAIR)
    for name in ("r", "l"):
        hip, knee, ankle = (at[f"{name}_{part}"] for part in ("hip", "knee", "ankle"))
        _dress_limb(labels, (hip, knee, ankle), (0.1, 0.075, 0.05), clothes.leg, BOTTOM, unit)
        foot = ankle + unit * np.array([-0.018 if name == "r" else 0.018, 0.018])
        fill_ellipse(labels, foot, (0.042 * unit, 0.024 * unit), SHOES)
    _torso(labels, at, clothes, unit)
    for name in ("r", "l"):
        shoulder, elbow, wrist = (at[f"{name}_{part}"] for part in ("shoulder", "elbow", "wrist"))
        _dress_limb(
            labels, (shoulder, elbow, wrist), (0.065, 0.052, 0.04), clothes.sleeve, TOP, unit
        )
        hand = wrist + 0.02 * unit * _unit(wrist - elbow)
        fill_ellipse(labels, hand, (0.026 * unit, 0.026 * unit), SKIN)
    fill_limb(labels, at["neck"] - (0, 0.01), at["nose"], (0.055 * unit, 0.05 * unit), SKIN)
    fill_ellipse(labels, head, (0.05 * unit, 0.064 * unit), SKIN, tilt)
    for name in ("r", "l"):
        fill_ellipse(labels, at[f"{name}_eye"], (0.009 * unit, 0.009 * unit), FACE)
    chin = _unit(at["neck"] - at["nose"])
    fill_ellipse(labels, at["nose"] + 0.032 * unit * chin, (0.018 * unit, 0.006 * unit), FACE, tilt)
    return labels


def _torso(labels: np.ndarray, at: dict[str, np.ndarray], clothes: Clothes, unit: float) -> None:
    down = _unit((at["r_hip"] + at["l_hip"]) / 2 - at["neck"])
    across = np.array([-down[1], down[0]])
    right, left = at["r_hip"] + 0.045 * unit * across, at["l_hip"] - 0.045 * unit * across
    if clothes.skirt:
        hem = 0.2 * unit * down
        flare = 0.05 * unit * across
        fill(labels, np.array([right, left, left + hem - flare, right + hem + flare]), BOTTOM)
    else:
        fill_limb(labels, at["r_hip"], at["l_hip"], (0.09 * unit, 0.09 * unit), BOTTOM)
    shoulders = [at["r_shoulder"] + 0.02 * unit * across, at["l_shoulder"] - 0.02 * unit * across]
    fill(labels, np.array([shoulders[0], at["neck"], shoulders[1], left, right]), TOP)


def _dress_limb(
    labels: np.ndarray,
    joints: tuple[np.ndarray, np.ndarray, np.ndarray],
    widths: tuple[float, float, float],
    covered: float,
    label: int,
    unit: float,
) -> None:
    """A limb of two bones in skin, its first `covered` share in cloth."""
    first, middle, last = joints
    wide, bend, thin = (width * unit for width in widths)
    fill_limb(labels, first, middle, (wide, bend), SKIN)
    fill_limb(labels, middle, last, (bend, thin), SKIN)
    upper, lower = min(covered / 0.5, 1.0), max(covered / 0.5 - 1, 0.0)
    if upper > 0:
        end = first + upper * (middle - first)
        fill_limb(labels, first, end, (1.1 * wide, 1.15 * bend), label)
    if lower > 0:
        end = middle + 0.95 * lower * (last - middle)
        fill_limb(labels, middle, end, (1.15 * bend, 1.25 * thin), label)


def _direction(sign: int, angle: float) -> np.ndarray:
    """Downwards, turned away from the body's middle by `angle`."""
    return np.array([sign * np.sin(angle), np.cos(angle)])


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.hypot(*vector)), 1e-6)
