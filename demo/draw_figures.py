"""Draw dressed people as label maps and poses: layouts for the demo that show nobody.

    python demo/draw_figures.py FOLDER

Writes masks/NN.png, in the class colours of the bundled `mask-to-image`, and poses/NN.json, the
same figure's joints as an OpenPose file. Everything follows from the tables of this file.

A body is drawn in units of which an upright person measures about 240: x to the right of the
picture, y down, (0, 0) between the hips. A level says how far down the body something is: 0 are the
shoulders, 1 the hips, 2 the knees, 3 the ankles.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from cocosnet_hf.conditions.pose import JOINTS

SIDE = 256
SUPERSAMPLING = 4
TOP, BOTTOM = 8, 248
"""Between these rows of the picture a figure stands, as in the photos of the recipes."""

COLORS = {
    "background": "#f4f1ea",
    "skin": "#f2c9a5",
    "hair": "#6b4226",
    "headwear": "#8a5fd0",
    "eyewear": "#2f7fd6",
    "top": "#e0455a",
    "outerwear": "#4f8f5f",
    "dress": "#d65fb8",
    "legwear_long": "#35508f",
    "skirt_shorts": "#e8995c",
    "footwear": "#2b2b33",
    "bag": "#ffd23f",
    "accessory": "#10c8c0",
}
"""The classes of the recipe mask-to-image, in its order and colours."""

CLASSES = tuple(COLORS)

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


@dataclass(frozen=True)
class Arm:
    """Degrees of upper arm and forearm: 0 hangs down, 90 points away from the body.

    hand: whether it is seen; a hand in a pocket is not.
    """

    upper: float
    fore: float
    hand: bool = True


@dataclass(frozen=True)
class Leg:
    """Degrees as of an arm; `foot` is the way its toes point, `length` how long its shin looks."""

    thigh: float
    shin: float
    foot: float
    length: float = 1


@dataclass(frozen=True)
class Posture:
    """How somebody stands, in degrees; what is tilted sinks to the picture's right.

    arms, legs: right, left. lean: of the spine, tilt: of the head against it. turn: where the face
    looks, from -1, the picture's left, to 1. front: the leg that is before the other, "r" or "l".
    """

    arms: tuple[Arm, Arm]
    legs: tuple[Leg, Leg]
    lean: float = 0
    shoulders: float = 0
    hips: float = 0
    tilt: float = 0
    turn: float = 0
    front: str = "l"


@dataclass(frozen=True)
class Garment:
    """What covers trunk or legs.

    hem: the level where it ends. sleeve: where its sleeves end, from 0, none, to 2, the wrist.
    ease: how far it is from the body. flare: how much farther one level below the waist.
    neckline: the level of its lowest point.
    """

    hem: float
    sleeve: float = 0
    ease: float = 1.5
    flare: float = 0
    neckline: float = 0.2


@dataclass(frozen=True)
class Figure:
    """Somebody to draw.

    hair: "short", "bob", "long", "bun", "tail" or "curls". hat: "cap", "beanie" or "brim".
    tucked: whether the top is under skirt, shorts or trousers. opening: half the gap of the coat.
    heels: whether shoes are pumps. boot: the level up to which boots reach.
    bag: "hand" or "shoulder", both at the left, or "clutch", in the right hand.
    """

    posture: Posture
    hair: str
    hat: str | None = None
    glasses: bool = False
    scarf: bool = False
    top: Garment | None = None
    tucked: bool = True
    dress: Garment | None = None
    belt: bool = False
    coat: Garment | None = None
    opening: float = 8
    trousers: Garment | None = None
    shorts: Garment | None = None
    skirt: Garment | None = None
    heels: bool = False
    boot: float | None = None
    bag: str | None = None


FIGURES = (
    Figure(  # at ease
        Posture(
            arms=(Arm(9, 3), Arm(14, 6)),
            legs=(Leg(-1, -2, -12), Leg(9, 4, 38)),
            lean=-2, shoulders=-2, hips=-4, tilt=4, turn=0.4,
        ),
        hair="long",
        top=Garment(hem=0.8, sleeve=0.6, neckline=0.24),
        trousers=Garment(hem=2.9, ease=1, flare=0.3),
    ),
    Figure(  # arms akimbo
        Posture(
            arms=(Arm(42, -46), Arm(40, -44)),
            legs=(Leg(7, 3, -30), Leg(5, 5, 28)),
            lean=1, shoulders=1, hips=2, turn=-0.3,
        ),
        hair="bob",
        dress=Garment(hem=1.9, sleeve=0.55, flare=7),
        belt=True,
        heels=True,
    ),
    Figure(  # walking
        Posture(
            arms=(Arm(4, 12), Arm(22, 6)),
            legs=(Leg(1, -1, -8), Leg(6, -6, 6, length=0.84)),
            lean=1, shoulders=3, hips=-4, tilt=-2, turn=-0.5, front="r",
        ),
        hair="short",
        top=Garment(hem=0.9, neckline=0.1),
        coat=Garment(hem=1.8, sleeve=1.95, ease=4, flare=5),
        opening=12,
        trousers=Garment(hem=2.85, ease=1.4),
    ),
    Figure(  # waving
        Posture(
            arms=(Arm(10, 6), Arm(125, 170)),
            legs=(Leg(4, 2, -22), Leg(4, 1, 28)),
            lean=-3, shoulders=-6, hips=3, tilt=-3, turn=0.3,
        ),
        hair="bun",
        glasses=True,
        top=Garment(hem=0.75, sleeve=0.5),
        skirt=Garment(hem=2.5, flare=8),
    ),
    Figure(  # a step to the side
        Posture(
            arms=(Arm(20, 10), Arm(17, 24)),
            legs=(Leg(3, 0, -15), Leg(16, 13, 46)),
            lean=-2, shoulders=2, hips=-3, tilt=4, turn=0.6,
        ),
        hair="curls",
        top=Garment(hem=1.05, sleeve=0.7, ease=3),
        tucked=False,
        shorts=Garment(hem=1.6, ease=3, flare=3),
        bag="shoulder",
    ),
    Figure(  # legs crossed, a hand on the hip
        Posture(
            arms=(Arm(12, -12), Arm(40, -48)),
            legs=(Leg(-8, -15, -4), Leg(-5, -10, 2)),
            lean=2, shoulders=-3, hips=3, tilt=-5, turn=-0.6, front="r",
        ),
        hair="tail",
        top=Garment(hem=0.9, neckline=0.14),
        coat=Garment(hem=1.15, sleeve=1.9, ease=3.5),
        trousers=Garment(hem=2.9, ease=0.6),
        boot=2.7,
    ),
    Figure(  # hands in pockets
        Posture(
            arms=(Arm(26, -25, hand=False), Arm(28, -27, hand=False)),
            legs=(Leg(5, 3, -30), Leg(6, 4, 32)),
            shoulders=1, tilt=2, turn=0.3,
        ),
        hair="short",
        hat="beanie",
        scarf=True,
        top=Garment(hem=1, sleeve=1.9, ease=3, neckline=0.1),
        coat=Garment(hem=1.65, sleeve=2, ease=5, flare=3),
        opening=7,
        trousers=Garment(hem=2.85, ease=2),
    ),
    Figure(  # a hand on the hip
        Posture(
            arms=(Arm(44, -48), Arm(10, 4)),
            legs=(Leg(9, 5, -35), Leg(0, -2, 12)),
            lean=2, shoulders=4, hips=-5, tilt=-4, turn=0.5,
        ),
        hair="long",
        hat="brim",
        dress=Garment(hem=1.65, flare=5, neckline=0.28),
        boot=2.25,
        bag="hand",
    ),
    Figure(  # legs apart
        Posture(
            arms=(Arm(12, 4), Arm(16, 2)),
            legs=(Leg(10, 8, -36), Leg(10, 7, 34)),
            shoulders=-1, turn=-0.2,
        ),
        hair="short",
        glasses=True,
        top=Garment(hem=1.1, sleeve=1.9, ease=3, neckline=0.12),
        tucked=False,
        trousers=Garment(hem=2.9, ease=2.2),
    ),
    Figure(  # holding something before the body
        Posture(
            arms=(Arm(14, -72), Arm(11, 4)),
            legs=(Leg(1, -3, -6), Leg(7, 2, 30)),
            lean=-1, shoulders=2, hips=-3, tilt=3, turn=-0.4,
        ),
        hair="bob",
        glasses=True,
        top=Garment(hem=0.9, neckline=0.24),
        coat=Garment(hem=1, sleeve=1.7, ease=3),
        skirt=Garment(hem=1.9, ease=1),
        heels=True,
        bag="clutch",
    ),
    Figure(  # a hand in the hair
        Posture(
            arms=(Arm(112, 236), Arm(14, 0)),
            legs=(Leg(6, 2, -25), Leg(1, -1, 16)),
            lean=3, shoulders=5, hips=4, tilt=-8, turn=-0.4, front="r",
        ),
        hair="long",
        dress=Garment(hem=2.85, flare=8, neckline=0.24),
        heels=True,
    ),
    Figure(  # strolling
        Posture(
            arms=(Arm(16, 10), Arm(6, -16)),
            legs=(Leg(5, -7, -10, length=0.82), Leg(0, 1, 10)),
            lean=-1, shoulders=-3, hips=4, turn=0.5,
        ),
        hair="tail",
        hat="cap",
        top=Garment(hem=1, sleeve=1.95, ease=3, neckline=0.12),
        tucked=False,
        trousers=Garment(hem=2.95, ease=0.3),
        skirt=Garment(hem=1.4, flare=5),
        boot=2.75,
        bag="hand",
    ),
)  # fmt: skip


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


def rounded(corners: Sequence[np.ndarray]) -> np.ndarray:
    """A closed outline whose corners are cut off four times (Chaikin 1974), (N, 2)."""
    outline = np.array(corners)
    for _ in range(4):
        following = np.roll(outline, -1, axis=0)
        cuts = 0.75 * outline + 0.25 * following, 0.25 * outline + 0.75 * following
        outline = np.stack(cuts, axis=1).reshape(-1, 2)
    return outline


def frayed(labels: np.ndarray) -> np.ndarray:
    """Labels at the picture's size, their borders as uneven as cloth and an annotator's hand."""
    rng = np.random.default_rng(0)
    places = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")) + 0.5
    for cells, reach in ((10, 1.1), (40, 0.6)):
        for axis in range(2):
            shifts = Image.fromarray(rng.normal(0, reach, (cells, cells)).astype(np.float32))
            places[axis] += np.asarray(shifts.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    rows, columns = (places * SUPERSAMPLING).astype(int).clip(0, SIDE * SUPERSAMPLING - 1)
    return labels[rows, columns]


class Drawing:
    """One figure, drawn from what lies behind to what lies in front."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self.points = skeleton(figure.posture)
        extent = np.array(list(self.points.values()))
        left, top = extent.min(0)
        right, bottom = extent.max(0)
        above = 7 if figure.hat or figure.hair == "bun" else 3
        self.top = min(top, self.points["crown"][1] - above)
        self.middle = (left + right) / 2
        self.scale = (BOTTOM - TOP) / (bottom + 1 - self.top)
        self.canvas = Image.new("L", (SIDE * SUPERSAMPLING, SIDE * SUPERSAMPLING))
        self.pen = ImageDraw.Draw(self.canvas)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Where points of the body, (N, 2), lie in the picture."""
        return (points - (self.middle, self.top)) * self.scale + (SIDE / 2, TOP)

    def labels(self) -> np.ndarray:
        """The class of each pixel, (256, 256) uint8."""
        figure = self.figure
        sides = ("r", "l") if figure.posture.front == "l" else ("l", "r")
        if figure.coat:
            self.drape("outerwear", 0.4, figure.coat)
        for side in sides:
            self.leg(side)
        self.trunk()
        if figure.bag == "shoulder":
            self.shoulder_bag()
        for side in sides:
            self.arm(side)
        self.head()
        return frayed(np.asarray(self.canvas))

    # Shapes

    def polygon(self, name: str, outline: np.ndarray) -> None:
        """Fill an outline of the body, (N, 2), with a class."""
        corners = (self.pixels(outline) * SUPERSAMPLING).round().astype(int)
        self.pen.polygon([tuple(corner) for corner in corners.tolist()], fill=CLASSES.index(name))

    def disc(self, name: str, center: np.ndarray, radius: float) -> None:
        """Fill a circle."""
        turns = np.linspace(0, 360, 37)
        self.polygon(name, np.array([center + radius * direction(turn) for turn in turns]))

    def band(
        self,
        name: str,
        path: Sequence[np.ndarray],
        profile: Profile,
        first: float = 0,
        last: float | None = None,
    ) -> None:
        """Fill the surroundings of a path, round at its corners and straight at its ends.

        profile: half the width at the path's places. first, last: the part that is filled.
        """
        last = len(path) - 1 if last is None else last
        corners = [place for place in range(1, len(path) - 1) if first < place < last]
        places = np.sort([*np.linspace(first, last, 30), *corners])
        for start, end in zip(places, places[1:], strict=False):
            here, there = between(path, np.array([start, end]))
            along = there - here
            across = np.array([along[1], -along[0]]) / max(np.hypot(*along), 1e-6)
            near, far = at(profile, start) * across, at(profile, end) * across
            self.polygon(name, np.array([here + near, there + far, there - far, here - near]))
        for place in corners:
            self.disc(name, path[place], float(at(profile, place)))

    # Places on the body

    def of(self, side: str, *names: str) -> list[np.ndarray]:
        """Points of one side."""
        return [self.points[f"{side}_{name}"] for name in names]

    def on_torso(self, offset: float, level: float) -> np.ndarray:
        """The point so far to the picture's right of the trunk's middle, at a level."""
        posture = self.figure.posture
        tilt = np.interp(level, [0, 1], [posture.shoulders, posture.hips])
        return (1 - level) * self.points["neck"] + offset * direction(90 - tilt)

    def on_head(self, offset: float, height: float) -> np.ndarray:
        """The point so far to the right of the head's middle, so high above the neck's joint."""
        up = (self.points["crown"] - self.points["neck"]) / CROWN
        return self.points["neck"] + height * up + offset * np.array([-up[1], up[0]])

    def border(self, side: str, level: float, ease: float) -> np.ndarray:
        """Where clothes end at one side of the trunk or, below it, of the outer leg."""
        sign = SIGNS[side]
        trunk = self.on_torso(sign * (at(TORSO, level) + ease), level)
        if level <= 1:
            return trunk
        legs = [between(self.of(each, "hip", "knee", "ankle"), level - 1) for each in SIGNS]
        reach = max(sign * leg[0] for leg in legs) + at(LEG, level - 1) + ease
        outer = np.array([sign * reach, np.mean([leg[1] for leg in legs])])
        return trunk + (outer - trunk) * min((level - 1) / 0.3, 1)

    # Trunk

    def drape(self, name: str, start: float, garment: Garment, gap: float = 0) -> None:
        """A garment around the trunk and, below it, around both legs, from a level to its hem.

        gap: half of it, where the garment is open in front.
        """
        levels = np.linspace(start, garment.hem, 50)
        eases = garment.ease + garment.flare * (levels - WAIST).clip(0)
        eases *= np.interp(levels, [-0.12, 0.08], [0.3, 1])
        rows = list(zip(levels, eases, strict=True))
        right, left = (np.array([self.border(side, *row) for row in rows]) for side in SIGNS)
        if gap:
            shares = np.linspace(0, 1, len(levels))
            gaps = np.interp(shares, [0, 0.15, 0.45, 1], [3, 0.9 * gap, 0.8 * gap, gap])
            for edge, sign in ((right, -1), (left, 1)):
                inner = (right + left) / 2
                inner[:, 0] += sign * gaps
                self.polygon(name, np.concatenate([edge, inner[::-1]]))
            return
        across = np.linspace(0, 1, 24)
        hem = between([right[-1], left[-1]], across)
        sag = 0.25 * max(garment.hem - 0.9, 0.1)
        hem[:, 1] += sag * (7 * np.sin(np.pi * across) + np.sin(22 * across))
        self.polygon(name, np.concatenate([right, hem, left[::-1]]))

    def trunk(self) -> None:
        """The trunk and all that is worn around it, the coat last."""
        figure = self.figure
        self.drape("skin", -0.12, Garment(hem=1, ease=0))
        layers = []
        for name, garment in (("legwear_long", figure.trousers), ("skirt_shorts", figure.shorts)):
            if garment:
                layers.append((name, WAIST, Garment(hem=1.1, ease=garment.ease)))
        if figure.skirt:
            layers.append(("skirt_shorts", WAIST, figure.skirt))
        if figure.top:
            layers.insert(0 if figure.tucked else len(layers), ("top", -0.11, figure.top))
        if figure.dress:
            layers.append(("dress", -0.11, figure.dress))
        for layer in layers:
            self.drape(*layer)
        if figure.belt:
            ends = [self.border(side, WAIST, 1.5) for side in SIGNS]
            self.band("accessory", ends, [(0, 2)])
        if figure.coat:
            self.drape("outerwear", -0.12, figure.coat, figure.opening)

    # Limbs

    def leg(self, side: str) -> None:
        """A leg with what it wears: trousers over shoes, boots over trousers."""
        figure = self.figure
        leg = self.of(side, "hip", "knee", "ankle")
        foot = self.of(side, "ankle", "toe")
        self.band("skin", leg, LEG)
        self.band("skin", foot, [(0, 3.4), (1, 5.4)], last=0.6)
        if figure.heels:
            pump = [(0, 3), (0.35, 4), (0.68, 5), (0.9, 3.8), (1, 1.6)]
            self.band("footwear", foot, pump, first=0.25)
        else:
            shoe = [(0, 4.4), (0.35, 5.2), (0.68, 6.2), (0.9, 5.4), (1, 3)]
            self.band("footwear", foot, shoe)
        for name, garment in (("legwear_long", figure.trousers), ("skirt_shorts", figure.shorts)):
            if garment:
                ease, flare = garment.ease, garment.flare
                wider = [(place, half + ease + flare * max(place - 0.3, 0)) for place, half in LEG]
                self.band(name, leg, wider, last=garment.hem - 1)
        if figure.boot:
            shaft = [(place, max(half + 1.3, 5)) for place, half in LEG]
            self.band("footwear", leg, shaft, first=figure.boot - 1)
            self.disc("footwear", leg[-1], 4.6)

    def arm(self, side: str) -> None:
        """An arm, the bag in its hand, its sleeves."""
        figure = self.figure
        shown = figure.posture.arms[list(SIGNS).index(side)].hand
        self.sleeve("skin", side, 0, 2)
        if figure.bag == "hand" and side == "l":
            self.hand_bag()
        elif figure.bag == "clutch" and side == "r":
            self.clutch()
        if shown:
            palm = [(0, 2.9), (0.45, 4.2), (0.75, 3.7), (1, 1.8)]
            self.band("skin", self.of(side, "wrist", "hand"), palm)
        clothes = (("top", figure.top), ("dress", figure.dress), ("outerwear", figure.coat))
        for name, garment in clothes:
            if garment and garment.sleeve:
                self.sleeve(name, side, 0.9 * garment.ease, garment.sleeve)

    def sleeve(self, name: str, side: str, ease: float, end: float) -> None:
        """A sleeve down to a place of the arm, or the bare arm itself."""
        arm = self.of(side, "shoulder", "elbow", "wrist")
        wider = [(place, half + ease * (1 + 0.3 * min(place, 1))) for place, half in ARM]
        radius = wider[0][1]
        start = (radius - 1.5) / UPPER_ARM
        self.disc(name, between(arm, start), radius)
        self.band(name, arm, wider, first=start, last=end)

    # Bags

    def shoulder_bag(self) -> None:
        """A bag at the left hip and its strap."""
        hip = self.border("l", 0.95, 3)
        (shoulder,) = self.of("l", "shoulder")
        self.band("bag", [shoulder + (-7, -5), shoulder + (-4, 20), hip], [(0, 1.5)])
        corners = [(-7, -12), (10, -10), (13, 8), (8, 18), (-7, 16), (-10, 2)]
        self.polygon("bag", rounded(hip + corners))

    def hand_bag(self) -> None:
        """A bag that hangs from the left hand."""
        (tip,) = self.of("l", "hand")
        for reach in (-6, 6):
            handle = [tip + (0, -3), tip + (reach, 4), tip + (1.2 * reach, 10)]
            self.band("bag", handle, [(0, 1.2)])
        corners = [(-13, 7), (13, 8), (16, 18), (18, 37), (-16, 38), (-16, 17)]
        self.polygon("bag", rounded(tip + corners))

    def clutch(self) -> None:
        """A flat bag in the right hand."""
        corners = [(-7, -4), (14, -8), (17, 8), (-4, 13)]
        self.polygon("bag", rounded(np.mean(self.of("r", "wrist", "hand"), 0) + corners))

    # Head

    def head(self) -> None:
        """Hair, neckline, neck and face, and what is worn there."""
        figure = self.figure
        shift = 2 * figure.posture.turn
        self.hair_behind()
        for garment in (figure.top, figure.dress):
            if garment:
                depth = garment.neckline
                half = [(-6.5, -0.12), (-7.5, 0.3 * depth), (0, depth), (7.5, 0.3 * depth)]
                corners = [self.on_torso(*corner) for corner in (*half, (6.5, -0.12))]
                self.polygon("skin", rounded(corners))
        throat = [self.on_torso(0, -0.02), self.on_head(0, 26)]
        self.band("skin", throat, [(0, 5.8), (1, 5)])
        half = [(-6, 43), (-9.9, 36), (-9.8, 28), (-8.6, 20), (-4.5, CHIN - 0.5)]
        self.both("skin", half, shift)
        if figure.scarf:
            self.scarf()
        self.fringe(shift)
        if figure.glasses:
            self.glasses()
        self.hat()

    def around(self, name: str, corners: Sequence[tuple[float, float]]) -> None:
        """A rounded shape at the head, its corners as `on_head` takes them."""
        self.polygon(name, rounded([self.on_head(*corner) for corner in corners]))

    def both(self, name: str, half: Sequence[tuple[float, float]], shift: float = 0) -> None:
        """A rounded shape at the head, alike on both sides: its left half from the top down."""
        mirrored = [(-x, y) for x, y in reversed(half)]
        self.around(name, [(x + shift, y) for x, y in (*half, *mirrored)])

    def hair_behind(self) -> None:
        """The hair that neck and face lie before."""
        hair = self.figure.hair
        away = -1 if self.figure.posture.turn > 0 else 1
        if hair == "short":
            self.both("hair", [(-4, 49), (-11, 47), (-12.5, 37), (-10.5, 29)])
        elif hair == "bob":
            self.both("hair", [(-5, 49.5), (-12.5, 46), (-14, 32), (-15.5, 12), (-9, 8)])
        elif hair == "curls":
            for turn in np.linspace(45, 315, 11):
                self.disc("hair", self.on_head(0, 32) + 11 * direction(turn), 7)
        elif hair == "long":
            far = [(-5, 49.5), (-12.5, 45), (-13.5, 30), (-17, 8), (-16, -16), (-9, -24), (-5, 0)]
            near = [(5, 0), (7, -8), (14, -9), (15.5, 10), (13.5, 30), (12.5, 45), (5, 49.5)]
            self.around("hair", [(away * x, y) for x, y in (*far, *near)])
        else:
            self.both("hair", [(-4, 48.5), (-11, 46), (-12.3, 36), (-9.5, 26)])
            if hair == "bun":
                self.both("hair", [(-5, 56), (-7, 51), (-5, 45)])
            else:
                tail = [(5, 38), (13, 33), (15, 10), (12, -10), (7, 4)]
                self.around("hair", [(away * x, y) for x, y in tail])

    def fringe(self, shift: float) -> None:
        """The hair above the forehead, cut straight or parted at one side."""
        line = [(10.8, 27), (8.8, 36), (-1.5 * shift, 42), (-8.8, 36), (-10.8, 27)]
        if self.figure.hair == "bob":
            line = [(10.5, 25), (9, 35), (0, 36.5), (-9, 35), (-10.5, 25)]
        above = [(-13, 30), (-12.5, 44), (-6, 49), (6, 49), (12.5, 44), (13, 30)]
        self.around("hair", [*((x + shift, y) for x, y in line), *above])

    def glasses(self) -> None:
        """Sunglasses."""
        eyes = [self.points[f"{side}_eye"] for side in SIGNS]
        for eye in eyes:
            self.disc("eyewear", eye + (0, 0.6), 3.3)
        reach = 0.45 * (eyes[1] - eyes[0])
        self.band("eyewear", [eyes[0] - reach, eyes[1] + reach], [(0, 1)])

    def hat(self) -> None:
        """A cap, a beanie or a hat with a brim."""
        hat = self.figure.hat
        if hat == "cap":
            self.both("headwear", [(-5, 51), (-11.5, 48), (-12.8, 39), (-9, 37)])
            ahead = 1 if self.figure.posture.turn > 0 else -1
            peak = [(-6, 40), (8, 41), (19, 37), (19, 33.5), (8, 35.5), (-6, 35.5)]
            self.around("headwear", [(ahead * x, y) for x, y in peak])
        elif hat == "beanie":
            self.both("headwear", [(-5, 53.5), (-12, 49), (-13.4, 37), (-8, 36)])
        elif hat == "brim":
            self.both("headwear", [(-4, 54), (-10, 52), (-11.5, 40), (-8, 37)])
            self.both("headwear", [(-10, 42.5), (-24, 40.5), (-24, 37), (-10, 36.5)])

    def scarf(self) -> None:
        """A scarf around the neck, one end hanging down."""
        loop = [(-11, -0.14), (-12, 0.06), (0, 0.16), (12, 0.06), (11, -0.14), (0, -0.17)]
        self.polygon("accessory", rounded([self.on_torso(*corner) for corner in loop]))
        end = [self.on_torso(4, 0.05), self.on_torso(7, 0.6)]
        self.band("accessory", end, [(0, 4.5), (1, 6)])


def draw_layout(figure: Figure) -> Image.Image:
    """A figure in the class colours, RGB, 256 by 256.

    No palette picture: of those the condition of the recipe takes the numbers for raw labels.
    """
    palette = np.array([ImageColor.getrgb(color) for color in COLORS.values()], np.uint8)
    return Image.fromarray(palette[Drawing(figure).labels()])


def joints(figure: Figure) -> np.ndarray:
    """A figure's joints in OpenPose's order: x and y in pixels of its layout, score 1; (18, 3)."""
    drawing = Drawing(figure)
    points = drawing.pixels(np.array([drawing.points[name] for name in JOINTS]))
    return np.concatenate([points, np.ones((len(JOINTS), 1))], axis=1)


def main(arguments: list[str] | None = None) -> None:
    """The command line; `arguments` default to the process's own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    masks, poses = folder / "masks", folder / "poses"
    for kind in (masks, poses):
        kind.mkdir(parents=True, exist_ok=True)
    for place, figure in enumerate(FIGURES):
        draw_layout(figure).save(masks / f"{place:02d}.png", optimize=True)
        numbers = joints(figure).round(2).flatten().tolist()
        people = [{"pose_keypoints_2d": numbers}]
        content = {"people": people, "canvas_width": SIDE, "canvas_height": SIDE}
        (poses / f"{place:02d}.json").write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
