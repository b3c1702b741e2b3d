"""A figure as a label map and as joints, drawn from tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor

from cocosnet_hf.conditions.joints import JOINTS

from .body import (
    ARM,
    CHIN,
    LEG,
    SIGNS,
    UPPER_ARM,
    WAIST,
    between,
    direction,
    rounded,
)
from .canvas import COLORS, Canvas, frayed
from .figures import Figure, Garment


class Drawing(Canvas):
    """One figure, drawn from what lies behind to what lies in front."""

    def labels(self) -> np.ndarray:
        """The class of each pixel, (`HEIGHT`, `WIDTH`) uint8."""
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
        line: list[tuple[float, float]] = [
            (10.8, 27),
            (8.8, 36),
            (-1.5 * shift, 42),
            (-8.8, 36),
            (-10.8, 27),
        ]
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
    """A figure in the class colours, RGB, `HEIGHT` by `WIDTH`.

    No palette picture: of those the condition of the recipe takes the numbers for raw labels.
    """
    palette = np.array([ImageColor.getrgb(color) for color in COLORS.values()], np.uint8)
    return Image.fromarray(palette[Drawing(figure).labels()])


def joints(figure: Figure) -> np.ndarray:
    """A figure's joints in OpenPose's order: x and y in pixels of its layout, score 1; (18, 3)."""
    drawing = Drawing(figure)
    points = drawing.pixels(np.array([drawing.points[name] for name in JOINTS]))
    return np.concatenate([points, np.ones((len(JOINTS), 1))], axis=1)
