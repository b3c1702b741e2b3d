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
from ..picture_files import SEVERAL
from ..pictures import Picture, open_image, open_photo, to_numpy

FAINTEST = 8
"""Steps of 0..255 that ink is off its paper at least; below lies what JPEG and scanners add."""

CLEARER = 4.0
"""How many times as far off as paper varies: cutting noise in two halves gives 2.7 at most."""

STROKE = 0.03
"""Half the width of the widest stroke, as a share of the shorter side; what is wider is paper."""

LEAST_DEPTH = 3.0
"""Pixels that a stroke may be deep in any picture, however small."""

FILLED = 0.2
"""Share of the ink from which what is deeper than a stroke may be a shadow, or no ink at all."""

LARGE = 1024
"""Longer side at about which the tone of the paper around each place is found."""

TILES, SEEN = 16, 0.05
"""In a row, by which it is told whether the paper has one tone, and the share of paper in one from
which it counts."""

MIXED = 0.1
"""Share of the lines lighter than the paper around them, or darker, from which they are not of one
drawing."""

OPAQUE = 128
"""Alpha from which all of a drawing is a sheet, whose own alpha may vary a little."""

AROUND = np.ones((3, 3), np.uint8)
"""A pixel and its neighbours: along its border a sheet is mixed with what lies beside it."""

MOST_INK = 1 / 3
"""Share of a drawing's pixels above which it hardly consists of lines."""


def read_drawing(drawing: Picture) -> tuple[np.ndarray, tuple[Note, ...]]:
    """The strokes of a drawing, (H, W) bool; a bool array as it is. And what is odd about it.

    Ink is what differs from its paper, the commonest colour, by more than Otsu's threshold of this
    picture; lighter or darker, in grey or in colour. Where paper is shaded, its colour is what is
    commonest around each place. With transparency, strokes are what is opaque, unless that is paper
    with ink on it. Raises ValueError where there is no ink that is clearer than what the paper
    varies by.
    """
    if is_line_array(drawing):
        # Pillow makes arrays whose true is 255, at which the thinning would read out of its bounds.
        strokes = to_numpy(drawing, "edges").view(np.uint8) > 0
        return strokes, _notes_of(strokes)
    image = open_image(drawing, "drawing")
    lines, notes = None, list[Note]()
    if image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
        if alpha.max() - alpha.min() > (FAINTEST if alpha.min() >= OPAQUE else 0):
            lines = _with_transparency(image, alpha)
        elif not alpha.max():
            raise ValueError(
                "The drawing is transparent everywhere; save it with its lines opaque."
            )
        else:
            image = image.convert("RGBA")
            image.putalpha(255)  # the same everywhere, it tells no line from paper
    if lines is None:
        lines, notes = _on_paper(np.asarray(open_photo(image, "drawing")))
    if lines is None or not lines.any():
        raise ValueError(
            "The drawing has no line that is clearer than the grain of its paper; draw lines that "
            "are darker or lighter than the paper, or strokes on a transparent ground."
        )
    notes = list(_notes_of(lines)) or notes
    if image.info.get(SEVERAL):
        text = "The drawing's file holds several pictures, frames or pages; the first was read."
        notes.append(Note("several", text))
    return lines, tuple(notes)


def _notes_of(lines: np.ndarray) -> tuple[Note, ...]:
    """Said of strokes (H, W) that are hardly any."""
    if lines.mean() <= MOST_INK:
        return ()
    text = (
        f"{lines.mean():.0%} of the drawing would be ink, which hardly are lines; pass a photo "
        "itself, not as a drawing, to have its edges found."
    )
    return (Note("ink", text),)


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


def _on_paper(pixels: np.ndarray) -> tuple[np.ndarray | None, list[Note]]:
    """The ink of an opaque drawing (H, W, 3), None where nothing stands out; and what was taken."""
    everywhere = np.ones(pixels.shape[:2], bool)
    lines = _ink(pixels, everywhere)
    filled = lines if lines is not None and _is_thick(lines, FILLED) else None
    if lines is not None and filled is None and _is_even(pixels, lines):
        return lines, []
    tone = _tone(pixels)
    local = _ink(pixels, everywhere, tone)
    if local is not None and filled is not None:
        lighter = (pixels.sum(2, dtype=int) > tone.sum(2, dtype=int))[local].mean()
        # Strokes that were taken for paper make lines of the paper between them.
        local = None if MIXED < lighter < 1 - MIXED else local
    is_ink = filled is not None and filled.mean() <= MOST_INK and not _lie_on(local, filled, pixels)
    if local is not None and not is_ink and not _is_thick(local):
        text = (
            "The paper of the drawing is not of one tone, as in a photo with shadows: the lines "
            "are what differs from the paper around them. Scan it, or even out the light, if some "
            "are missing or too many."
        )
        return local, [Note("shade", text)]
    if filled is None:
        return lines, []
    text = (
        f"Much of the ink, {filled.mean():.0%} of the drawing, is wider than a stroke; of such an "
        "area its middle is drawn. Crop off what lies beside the sheet, and draw outlines of what "
        "is filled."
    )
    return filled, [Note("areas", text)]


def _tone(pixels: np.ndarray) -> np.ndarray:
    """The paper around each place of a picture (H, W, 3), (H, W, 3) uint8."""
    height, width = pixels.shape[:2]
    scale = max(1, max(height, width) // LARGE)
    size = (max(1, width // scale), max(1, height // scale))
    small = np.ascontiguousarray(pixels)
    small = small if scale == 1 else cv2.resize(small, size, interpolation=cv2.INTER_AREA)
    # A stroke fills less than half of such a square, so that its median is the paper's.
    reach = 2 * int(2 * STROKE * min(size)) + 3
    tone = cv2.medianBlur(small, reach)
    return tone if scale == 1 else cv2.resize(tone, (width, height))


def _is_even(pixels: np.ndarray, lines: np.ndarray) -> bool:
    """Whether nearly all of a picture's paper, which is what is no line, has one tone."""
    paper = 1 - cv2.dilate(lines.astype(np.uint8), AROUND, iterations=2).astype(np.float32)
    size = (min(TILES, pixels.shape[1]), min(TILES, pixels.shape[0]))
    share = cv2.resize(paper, size, interpolation=cv2.INTER_AREA)
    # Tile by tile, since dense lines and the grain of a paper are no shade.
    total = cv2.resize(pixels * paper[..., None], size, interpolation=cv2.INTER_AREA)
    seen = share > SEEN
    if not seen.any():
        return True
    low, high = np.percentile(total[seen] / share[seen, None], (5, 95), axis=0)
    return bool((high - low).max() <= FAINTEST)


def _lie_on(lines: np.ndarray | None, areas: np.ndarray, pixels: np.ndarray) -> bool:
    """Whether a good part of the lines (H, W) is drawn well inside of areas, not on their border.

    The ends of bold strokes are lines as well, seen beside paper, but do not differ from the rest.
    """
    if lines is None:
        return False
    inside = cv2.erode(areas.astype(np.uint8), AROUND, iterations=3, borderValue=1) > 0
    rest = (inside & ~lines).astype(np.float32)
    side = 2 * int(2 * STROKE * min(areas.shape)) + 3
    share = cv2.blur(rest, (side, side))
    tone = cv2.blur(pixels * rest[..., None], (side, side)) / np.maximum(share, 1e-6)[..., None]
    differs = (np.abs(pixels - tone).max(2) > FAINTEST) & (share > SEEN)
    return bool((lines & inside & differs).sum() * 20 > lines.sum())


def _is_thick(area: np.ndarray, share: float = 0.5) -> bool:
    """Whether more than a share of an area lies deeper than within the widest of strokes."""
    inside = cv2.copyMakeBorder(area.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    widest = max(STROKE * min(area.shape), LEAST_DEPTH)
    return bool((depth > widest).sum() > share * area.sum())


def _ink(
    pixels: np.ndarray, paper: np.ndarray, tone: np.ndarray | None = None
) -> np.ndarray | None:
    """What differs from the tone of the paper in a picture (H, W, 3) within an area, (H, W) bool.

    tone: of each place, (H, W, 3); by default the commonest colour. None where nothing stands out.
    """
    if not paper.any():
        return None
    if tone is None:
        tone = np.median(pixels[paper], axis=0)
    off = np.abs(pixels.astype(np.int16) - tone.astype(np.int16)).max(2).astype(np.uint8)
    found = off[paper]
    if found.min() == found.max():
        return None
    level = threshold_otsu(found)
    ground, ink = found[found <= level], found[found > level]
    apart = float(ink.mean()) - float(ground.mean())
    if apart < FAINTEST or apart < CLEARER * float(ground.std()):
        return None
    return paper & (off > level)
