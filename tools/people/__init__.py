"""Dressed people drawn from tables, who are nobody."""

from .canvas import CLASSES, COLORS, HEIGHT, WIDTH
from .drawing import Drawing, draw_layout, joints
from .figures import FIGURES, Figure

__all__ = [
    "CLASSES",
    "COLORS",
    "FIGURES",
    "HEIGHT",
    "WIDTH",
    "Drawing",
    "Figure",
    "draw_layout",
    "joints",
]
