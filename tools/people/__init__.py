"""Dressed people drawn from tables, who are nobody."""

from .drawing import CLASSES, COLORS, SIDE, Drawing, draw_layout, joints
from .figures import FIGURES, Figure

__all__ = ["CLASSES", "COLORS", "FIGURES", "SIDE", "Drawing", "Figure", "draw_layout", "joints"]
