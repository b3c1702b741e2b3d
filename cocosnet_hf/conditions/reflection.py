"""How a flow is held to regions: beyond what the exemplar shows of one, what it shows is mirrored.

A flow from pose to pose knows nothing of clothes: it leads from a long coat into the trousers that
the exemplar wears there. What a region may look at is continued over the rest of it instead, seen
as in a mirror that stands at the border, so that cloth stays cloth and no line is drawn.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

INSIDE = 0.006
"""Distance from the border of what a region may look at, as a share of the exemplar's height:
nearer there the photo blends two things, and a mirror would double them to a line."""

SMOOTH = 0.009
"""Standard deviation with which the way to the mirror is smoothed, as a share of the height."""

LEAST_INSIDE = 0.2
"""Share of what may be looked at below which it is too thin to leave its border out."""

MIRRORS = (*[(2.0,)] * 6, (1.7, 1.4), (1.0,))
"""How far to go, in ways to the border, round after round: what a mirror shows is mirrored again,
which reaches some three times as far. What is left then has no region across its border; at once,
the border itself would be drawn out to stripes."""


def held_to_regions(
    flow: np.ndarray,
    regions: np.ndarray,
    cores: Callable[[int], tuple[np.ndarray, np.ndarray]],
    grid: tuple[int, int],
) -> np.ndarray:
    """A flow that looks only at what each region may look at, complex (h, w).

    flow: complex (h, w), x + iy in cells of the exemplar's grid (rows, columns), NaN where nothing
    is known. regions (h, w): a number for each place. cores: of such a number, the `core_of` where
    in the exemplar it may look, and of what of that continues it, each (H, W), at any fineness; a
    region that looks at none of what continues it is continued by all that it may look at. One
    that looks at nothing of the kind is NaN.
    """
    held = np.full(flow.shape, complex(np.nan, np.nan), flow.dtype)
    height = len(flow)
    # Beyond the exemplar there is nothing to see but its border, drawn out.
    known = (abs(flow.real - (grid[1] - 1) / 2) <= grid[1] / 2) & (
        abs(flow.imag - (grid[0] - 1) / 2) <= grid[0] / 2
    )
    shares = np.stack([(flow.real + 0.5) / grid[1], (flow.imag + 0.5) / grid[0]])
    shares = np.nan_to_num(shares).astype(np.float32)
    margin = round(8 * SMOOTH * height) + 1
    for number in np.unique(regions):
        there = regions == number
        rows, columns = (np.flatnonzero(there.any(axis)) for axis in (1, 0))
        window = (
            slice(max(rows[0] - margin, 0), rows[-1] + margin + 1),
            slice(max(columns[0] - margin, 0), columns[-1] + margin + 1),
        )
        part, there = flow[window], there[window]
        may_look, continues = cores(int(number))
        seen = shares[:, window[0], window[1]]
        good = _without_crumbs(there & known[window] & _leads_into(may_look, seen), height)
        if not good.any():
            continue
        found = np.where(good, part, np.nan)
        source = good
        if continues is not may_look:
            source = _without_crumbs(good & _leads_into(continues, seen), height)
            source = source if source.any() else good
        for mirrors in MIRRORS:
            beyond = there & np.isnan(found)
            if not beyond.any():
                break
            found[beyond] = _mirrored(found, source, beyond, mirrors, SMOOTH * height)
            source = there & ~np.isnan(found)
        held[window][there] = found[there]
    return held


def core_of(shown: np.ndarray) -> np.ndarray:
    """What is well inside of what an exemplar shows, (H, W) bool: the same as float32, 0 or 1."""
    there = shown.astype(np.uint8)
    core = cv2.erode(there, _disc(max(round(INSIDE * len(there)), 1)), borderValue=1)
    return (there if core.sum() < LEAST_INSIDE * there.sum() else core).astype(np.float32)


def _leads_into(core: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Where shares (2, h, w) of the exemplar's width and height lie in a core, (h, w) bool."""
    high, wide = core.shape
    x, y = (shares[0] * wide - 0.5).clip(0, wide - 1), (shares[1] * high - 0.5).clip(0, high - 1)
    return cv2.remap(core, x, y, cv2.INTER_LINEAR) > 0.5


def _without_crumbs(good: np.ndarray, height: int) -> np.ndarray:
    """Without what is smaller than a few pixels, unless that is most of it."""
    radius = round(INSIDE / 2 * height)
    opened = cv2.morphologyEx(good.astype(np.uint8), cv2.MORPH_OPEN, _disc(radius)) > 0
    return opened if 2 * opened.sum() > good.sum() else good


def _mirrored(
    flow: np.ndarray,
    good: np.ndarray,
    beyond: np.ndarray,
    mirrors: tuple[float, ...],
    deviation: float,
) -> np.ndarray:
    """What places beyond the good ones see in a mirror at their border, (n,) complex."""
    _, nearest = cv2.distanceTransformWithLabels(
        (~good).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    # What is nearest to anything beyond is of the border.
    rows, columns = np.nonzero(good & (cv2.erode(good.astype(np.uint8), _disc(1)) == 0))
    number = np.zeros(nearest.max() + 1, int)
    number[nearest[rows, columns]] = np.arange(len(rows))
    y, x = np.nonzero(beyond)
    chosen = number[nearest[y, x]]
    way = np.zeros((*good.shape, 3), np.float32)
    way[y, x] = np.stack([columns[chosen] - x, rows[chosen] - y, np.ones(len(x))], axis=-1)
    smooth = cv2.GaussianBlur(way, (0, 0), max(deviation, 0.5))[y, x]
    ways = smooth[:, :2] / smooth[:, 2:], way[y, x, :2]
    place = np.full(len(x), complex(np.nan, np.nan))
    last = np.array(good.shape[::-1]) - 1
    at = np.stack([x, y], axis=-1)
    for times in mirrors:
        for one in ways:
            target = np.rint(at + times * one)
            column, row = target.clip(0, last).astype(int).T
            inside = (target == np.stack([column, row], axis=-1)).all(axis=1)
            seen = np.isnan(place) & inside & good[row, column]
            place[seen] = flow[row[seen], column[seen]]
    return place


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
