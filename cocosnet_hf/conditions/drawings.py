"""Drawn pictures to strokes: what is ink, on paper of any tone, with and without transparency."""

from __future__ import annotations

from typing import TypeGuard

import cv2
import numpy as np
import torch
from PIL import Image
from skimage.filters import threshold_otsu
from torch import Tensor

from ..notes import Note
from ..pictures import Picture, open_image, open_photo, to_numpy

FAINTEST = 8
"""Steps of 0..255 that ink is off its paper at least; below lies what JPEG and scanners add."""

CLEARER = 4.0
"""How many times as far off as paper varies: cutting noise in two halves gives 2.7 at most."""

STROKE = 0.03
"""Half the width of the widest stroke, as a share of the shorter side; what is wider is paper."""

AROUND = np.ones((3, 3), np.uint8)
"""A pixel and its neighbours: along its border a sheet is mixed with what lies beside it."""

MOST_INK = 1 / 3
"""Share of a drawing's pixels above which it hardly consists of lines."""


def read_drawing(drawing: Picture) -> tuple[np.ndarray, tuple[Note, ...]]:
    """The strokes of a drawing, (H, W) bool; a bool array as it is. And what is odd about it.

    Ink is what differs from its paper, the commonest colour, by more than Otsu's threshold of this
    picture; lighter or darker, in grey or in colour. With transparency, strokes are what is opaque,
    unless that is paper with ink on it. Raises ValueError where there is no ink that is clearer
    than what the paper varies by.
    """
    if is_line_array(drawing):
        # Pillow makes arrays whose true is 255, at which the thinning would read out of its bounds.
        return to_numpy(drawing, "edges").view(np.uint8) > 0, ()
    image = open_image(drawing, "drawing")
    lines = None
    if image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
        if alpha.min() < alpha.max():
            lines = _with_transparency(image, alpha)
        elif not alpha.max():
            raise ValueError(
                "The drawing is transparent everywhere; save it with its lines opaque."
            )
        else:
            image = image.convert("RGBA")
            image.putalpha(255)  # the same everywhere, it tells no line from paper
    if lines is None:
        everywhere = np.ones((image.height, image.width), bool)
        lines = _ink(np.asarray(open_photo(image, "drawing")), everywhere)
    if lines is None or not lines.any():
        raise ValueError(
            "The drawing has no line that is clearer than the grain of its paper; draw lines that "
            "are darker or lighter than the paper, or strokes on a transparent ground."
        )
    if lines.mean() > MOST_INK:
        text = (
            f"{lines.mean():.0%} of the drawing would be ink, which hardly are lines; pass a photo "
            "itself, not as a drawing, to have its edges found."
        )
        return lines, (Note("ink", text),)
    return lines, ()


def is_line_array(source: object) -> TypeGuard[np.ndarray | Tensor]:
    """Whether this is a bool array or tensor (H, W)."""
    if isinstance(source, Tensor):
        return source.ndim == 2 and source.dtype == torch.bool
    return isinstance(source, np.ndarray) and source.ndim == 2 and source.dtype == bool


def _with_transparency(image: Image.Image, alpha: np.ndarray) -> np.ndarray | None:
    """Strokes of a picture whose alpha (H, W) varies; None where there are none."""
    opaque = alpha > threshold_otsu(alpha)
    if not opaque.any():
        return None
    if not _is_thick(opaque):
        return opaque
    # A sheet whose margin was cut off, or a wide brush: a sheet has ink on it.
    ink = _ink(np.asarray(image.convert("RGB")), cv2.erode(opaque.astype(np.uint8), AROUND) > 0)
    if ink is not None:
        return ink
    if opaque.mean() > 0.5 and not _is_thick(~opaque):
        return ~opaque  # lines that were cut out of it
    return opaque


def _is_thick(area: np.ndarray) -> bool:
    """Whether most of an area lies deeper than within the widest of strokes."""
    inside = cv2.copyMakeBorder(area.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    return bool((depth > STROKE * min(area.shape)).sum() * 2 > area.sum())


def _ink(pixels: np.ndarray, paper: np.ndarray) -> np.ndarray | None:
    """What differs from the commonest colour of a picture (H, W, 3) within an area, (H, W) bool.

    None where nothing stands out.
    """
    if not paper.any():
        return None
    tone = np.median(pixels[paper], axis=0).astype(np.int16)
    off = np.abs(pixels.astype(np.int16) - tone).max(2).astype(np.uint8)
    found = off[paper]
    if found.min() == found.max():
        return None
    level = threshold_otsu(found)
    ground, ink = found[found <= level], found[found > level]
    apart = float(ink.mean()) - float(ground.mean())
    if apart < FAINTEST or apart < CLEARER * float(ground.std()):
        return None
    return paper & (off > level)
