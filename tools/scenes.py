"""Drawn layouts of landscapes: index maps of `LANDSCAPE_CLASSES` for the demo, of no real place.

Everything below a line is of a class, line after line from the horizon to the foot of the picture;
a line is a height and waves on it, whose lengths halve.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from cocosnet_hf.landscape_reader import LANDSCAPE_CLASSES

SIDE = 512
"""Height and width in pixels of a layout."""


@dataclasses.dataclass(frozen=True)
class Line:
    """The upper border of what is `shown`, in shares of the picture, from above.

    left, right: its heights at both sides. waves: the height of the longest; rough: that of each
    shorter one by the one before; count: of the longest across the picture. seed: how they lie.
    """

    shown: str
    left: float
    right: float
    waves: float = 0.0
    rough: float = 0.5
    count: float = 1.0
    seed: int = 0

    def heights(self) -> np.ndarray:
        """Its height at each column, in pixels."""
        x = np.linspace(0, 1, SIDE)
        phases = np.random.default_rng(self.seed).uniform(0, 2 * np.pi, 7)
        bends = [
            self.rough**nth * np.sin(2 * np.pi * self.count * 2**nth * x + phase)
            for nth, phase in enumerate(phases)
        ]
        return (self.left + (self.right - self.left) * x + self.waves * sum(bends)) * SIDE


@dataclasses.dataclass(frozen=True)
class Crown:
    """A round piece of what is `shown`: an island, a tree, a bush, in shares of the picture."""

    shown: str
    x: float
    y: float
    width: float
    height: float
    rough: float = 0.12
    seed: int = 0

    def outline(self) -> np.ndarray:
        """Its corners in pixels, (N, 2)."""
        angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
        phases = np.random.default_rng(self.seed).uniform(0, 2 * np.pi, 5)
        bends = sum(np.sin((3 + 4 * n) * angle + p) / (1 + n) for n, p in enumerate(phases))
        far = 1 + self.rough * bends
        x = self.x + self.width / 2 * far * np.cos(angle)
        y = self.y + self.height / 2 * far * np.sin(angle)
        return np.stack([x, y], axis=1) * SIDE


@dataclasses.dataclass(frozen=True)
class Way:
    """A road or river from the foot of the picture to a point, in shares of it.

    foot: its middle and width there. end: the point. bend: how far it swings aside on the way.
    """

    shown: str
    foot: tuple[float, float]
    end: tuple[float, float]
    bend: float = 0.0

    def outline(self) -> np.ndarray:
        """Its corners in pixels, (N, 2)."""
        along = np.linspace(0, 1, 60)
        y = 1 + (self.end[1] - 1) * along
        # As what lies on the ground narrows with its distance.
        middle = self.foot[0] + (self.end[0] - self.foot[0]) * along
        middle = middle + self.bend * np.sin(2 * np.pi * along) * (1 - along)
        half = self.foot[1] / 2 * (1 - along) ** 1.3 + 0.004
        sides = [np.stack([middle + sign * half, y], axis=1) for sign in (-1, 1)]
        return np.concatenate([sides[0], sides[1][::-1]]) * SIDE


SCENES: tuple[tuple[Line | Crown | Way, ...], ...] = (
    (  # a lake below mountains
        Line("mountain", 0.30, 0.40, 0.09, 0.55, 1.2, 3),
        Line("tree", 0.55, 0.52, 0.012, 0.8, 3, 4),
        Line("water", 0.59, 0.59),
        Line("grass", 0.72, 1.12, 0.01, 0.6, 2, 5),
    ),
    (  # a bay
        Line("water", 0.42, 0.42),
        Line("mountain", 0.46, 0.30, 0.02, 0.6, 2, 7),
        Line("water", 0.43, 0.43),
        Line("sand", 1.05, 0.62, 0.015, 0.4, 1, 8),
    ),
    (  # fields with a tree
        Line("mountain", 0.42, 0.38, 0.03, 0.5, 1.5, 11),
        Line("field", 0.50, 0.54, 0.015, 0.4, 1, 12),
        Crown("tree", 0.74, 0.42, 0.28, 0.42, 0.1, 13),
    ),
    (  # a snowy peak over water
        Line("mountain", 0.34, 0.44, 0.14, 0.5, 0.9, 20),
        Line("snow", 0.62, 0.60, 0.02, 0.7, 2, 21),
        Line("water", 0.72, 0.72),
    ),
    (  # a cliff
        Line("water", 0.48, 0.48),
        Line("rock", 1.15, 0.08, 0.04, 0.55, 1.3, 24),
        Line("grass", 1.9, 0.02, 0.02, 0.5, 2, 25),
    ),
    (  # a road through meadows
        Line("tree", 0.44, 0.40, 0.02, 0.75, 3, 30),
        Line("grass", 0.50, 0.50, 0.006, 0.5, 1, 31),
        Way("road", (0.55, 0.42), (0.42, 0.50), 0.05),
    ),
    (  # a river
        Line("mountain", 0.36, 0.30, 0.05, 0.5, 1.3, 35),
        Line("field", 0.47, 0.47, 0.008, 0.5, 1, 36),
        Way("water", (0.45, 0.75), (0.62, 0.47), 0.16),
        Crown("tree", 0.15, 0.42, 0.30, 0.30, 0.1, 37),
    ),
    (  # an island
        Line("water", 0.52, 0.52),
        Crown("tree", 0.56, 0.47, 0.52, 0.24, 0.14, 41),
        Line("water", 0.53, 0.53),
    ),
    (  # a wood behind a meadow
        Line("tree", 0.16, 0.26, 0.04, 0.75, 2.5, 45),
        Line("field", 0.62, 0.60, 0.01, 0.5, 1, 46),
    ),
    (  # winter
        Line("tree", 0.40, 0.46, 0.02, 0.8, 3, 50),
        Line("snow", 0.55, 0.52, 0.02, 0.4, 1, 51),
    ),
    (  # a valley with a stream
        Line("mountain", 0.10, 0.78, 0.02, 0.6, 2, 55),
        Line("rock", 0.95, 0.22, 0.03, 0.6, 2, 56),
        Line("grass", 0.66, 0.66, 0.01, 0.5, 1, 57),
        Way("water", (0.5, 0.5), (0.5, 0.66), 0.06),
    ),
    (  # the open sea
        Line("water", 0.36, 0.36),
        Line("rock", 0.82, 1.25, 0.05, 0.6, 2, 60),
    ),
)
"""All of them under the sky."""


def draw_scene(number: int) -> np.ndarray:
    """The classes of one of `SCENES`: (SIDE, SIDE) uint8."""
    numbers = {name: index for index, name in enumerate(LANDSCAPE_CLASSES)}
    labels = np.full((SIDE, SIDE), numbers["sky"], np.uint8)
    for part in SCENES[number]:
        if isinstance(part, Line):
            labels[np.arange(SIDE)[:, None] >= part.heights()] = numbers[part.shown]
        else:
            corners = part.outline().round().astype(np.int32)
            cv2.fillPoly(labels, [corners], numbers[part.shown])
    return labels
