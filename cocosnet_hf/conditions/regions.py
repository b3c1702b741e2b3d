"""How masks of anything are guided where the exemplar's own is known: each class to its like.

A region looks at the exemplar's region of its class, as far as that reaches; beyond, see
`reflection`. So a sky has the exemplar's clouds whole, and a lake its waves, wherever the shore is.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping

import cv2
import numpy as np
import torch
from torch import Tensor

from ..propagation import Guide
from .base import Landmarks
from .reflection import core_of, held_to_regions

LEAST = 0.003
"""Share of the exemplar below which a class has too little to show."""

SMALL_PART = 0.02
"""Share of the picture up to which a part whose class the exemplar lacks takes that of its
surroundings: it would be patched with whatever looks a little like it."""

MIDDLE = (5.0, 95.0)
"""Percentiles of a region's rows and columns between which it is laid on the other one."""

FINEST = 1024
"""Longer side in pixels of the classes that guide: more would cost more and show no more."""

STEPS = 0.5
"""Standard deviation in pixels that takes the steps from the borders of a mask made larger."""

MOST_STRETCH = 1.5
"""Times by which a region is made larger or smaller for that; more would show as another scale."""


def landmarks_of_regions(labels: np.ndarray) -> Landmarks:
    """What guides of a mask (H, W): its classes, -1 where it has none, without any points."""
    return Landmarks(torch.empty(0, 2), kept(labels))


def kept(labels: np.ndarray) -> Tensor:
    """Classes as landmarks keep them, no finer than is looked at."""
    height, width = labels.shape
    nth = -(-max(height, width) // FINEST)
    return torch.from_numpy(labels[nth // 2 :: nth, nth // 2 :: nth].astype(np.int16))


def region_guide(
    own: Landmarks,
    exemplar: Landmarks,
    exemplar_grid: tuple[int, int],
    kin: Mapping[int, tuple[int, ...]] | None = None,
) -> Guide:
    """Each class into the exemplar's region of that class; NaN for what the exemplar lacks.

    kin: the classes that one looks at where its own is missing, the best first; small parts take
    their surroundings instead. Raises ValueError for landmarks without labels.
    """
    worn = labels_of(exemplar)
    known = {number for number in np.unique(worn).tolist() if (worn == number).mean() >= LEAST}
    labels = without_small_parts(labels_of(own), known)

    def shown(asked: int) -> np.ndarray:
        for number in (asked, *(kin or {}).get(asked, ())):
            there: np.ndarray = worn == number
            if asked >= 0 and there.mean() >= LEAST:
                return surely(there, exemplar)
        return np.zeros_like(worn, bool)

    def cores(asked: int) -> tuple[np.ndarray, np.ndarray]:
        if asked not in exemplar.cores:
            exemplar.cores[asked] = (core_of(shown(asked)),) * 2
        return exemplar.cores[asked]

    @functools.lru_cache(maxsize=4)  # of a call: the grid's, the window's and the picture's
    def places(size: tuple[int, int]) -> Tensor:
        asked = at_size(labels, size).astype(int)
        flow = np.full(size, complex(np.nan, np.nan))
        for number in np.unique(asked):
            if (seen := shown(number)).any():
                there = asked == number
                x, y = (
                    _laid(there, seen, axis, exemplar_grid)[there.nonzero()[axis]]
                    for axis in (1, 0)
                )
                flow[there] = x + 1j * y
        found = held_to_regions(flow, asked, cores, exemplar_grid)
        return torch.from_numpy(np.stack([found.real, found.imag], axis=-1)).float()

    return places


def _laid(there: np.ndarray, seen: np.ndarray, axis: int, grid: tuple[int, int]) -> np.ndarray:
    """Where each row or column of a region lies in the exemplar's region, in cells of its grid."""
    # In heights of the pictures, whose aspects may differ.
    (low, high), (other_low, other_high) = (
        np.percentile((region.nonzero()[axis] + 0.5) / len(region), MIDDLE)
        for region in (there, seen)
    )
    stretch = (other_high - other_low) / max(high - low, 1 / len(there))
    stretch = np.clip(stretch, 1 / MOST_STRETCH, MOST_STRETCH)
    place = (np.arange(there.shape[axis]) + 0.5) / len(there)
    moved = (place - (low + high) / 2) * stretch + (other_low + other_high) / 2
    return moved * len(seen) / seen.shape[axis] * grid[axis] - 0.5


def without_small_parts(labels: np.ndarray, known: Collection[int]) -> np.ndarray:
    """Labels (H, W) whose small parts of classes that are not known have the nearest other one."""
    left_out = np.zeros(labels.shape, bool)
    for number in {*np.unique(labels).tolist()} - {*known}:
        there = (labels == number).astype(np.uint8)
        _, parts, figures, _ = cv2.connectedComponentsWithStats(there)
        small = figures[:, cv2.CC_STAT_AREA] <= SMALL_PART * labels.size
        left_out |= (small & (np.arange(len(figures)) > 0))[parts]
    if not left_out.any() or left_out.all():
        return labels
    _, nearest = cv2.distanceTransformWithLabels(
        left_out.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_nearest = np.zeros(nearest.max() + 1, labels.dtype)
    of_nearest[nearest[~left_out]] = labels[~left_out]
    return of_nearest[nearest]


def labels_of(landmarks: Landmarks) -> np.ndarray:
    """The classes of landmarks, (H, W). Raises ValueError for those that have none."""
    if landmarks.labels is None:
        raise ValueError(
            "a condition of regions is guided by landmarks with labels; these have none."
        )
    return landmarks.labels.cpu().numpy()


def surely(there: np.ndarray, exemplar: Landmarks) -> np.ndarray:
    """What an exemplar shows of a region (H, W) without doubt; all of it if that is next to none.

    What a network takes wrongly for hair lies beside hair, where it doubts.
    """
    if exemplar.sure is None:
        return there
    sure: np.ndarray = there & exemplar.sure.cpu().numpy()
    return sure if sure.mean() >= LEAST else there


def at_size(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels (H, W) at another size, to the nearest pixel; made larger, with smooth borders."""
    height, width = labels.shape
    if size[0] <= height or size[1] <= width:
        rows, columns = (
            ((np.arange(new) + 0.5) * old / new).astype(int)
            for new, old in zip(size, labels.shape, strict=True)
        )
        return labels[np.ix_(rows, columns)]
    best = np.zeros(size, np.float32)
    larger = np.zeros(size, labels.dtype)
    for number in np.unique(labels):
        # Without the blur a slanting border would keep its steps.
        there = cv2.GaussianBlur((labels == number).astype(np.float32), (0, 0), STEPS)
        there = cv2.resize(there, size[::-1], interpolation=cv2.INTER_CUBIC)
        larger[there > best] = number
        best = np.maximum(best, there)
    return larger
