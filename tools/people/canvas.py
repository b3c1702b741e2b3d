"""What a figure is drawn with: shapes, places on the body, borders as a hand draws them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from .body import CROWN, LEG, SIGNS, TORSO, Profile, at, between, direction, skeleton
from .figures import Figure

HEIGHT, WIDTH = 384, 192
"""Of a drawn picture: tall, as the photos of the recipes, so that the figure fills it."""
SUPERSAMPLING = 4
TOP, BOTTOM = 12, 372
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


def frayed(labels: np.ndarray) -> np.ndarray:
    """Labels at the picture's size, their borders as uneven as cloth and an annotator's hand."""
    rng = np.random.default_rng(0)
    places = np.stack(np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), indexing="ij")) + 0.5
    for cells, reach in ((10, 1.1), (40, 0.6)):  # how many along the height, how far in pixels
        for axis in range(2):
            grid = rng.normal(0, reach, (cells, cells * WIDTH // HEIGHT)).astype(np.float32)
            shifts = Image.fromarray(grid).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
            places[axis] += np.asarray(shifts)
    rows, columns = (places * SUPERSAMPLING).astype(int)
    height, width = labels.shape
    return labels[rows.clip(0, height - 1), columns.clip(0, width - 1)]


class Canvas:
    """A label map to draw a figure's parts on, in the coordinates of its body."""

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
        self.canvas = Image.new("L", (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING))
        self.pen = ImageDraw.Draw(self.canvas)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Where points of the body, (N, 2), lie in the picture."""
        return (points - (self.middle, self.top)) * self.scale + (WIDTH / 2, TOP)

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

    def on_torso(self, offset: float | np.ndarray, level: float) -> np.ndarray:
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
