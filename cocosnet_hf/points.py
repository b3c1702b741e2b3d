"""Pairs of points that a user says must match, as a call gives them and as cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from .matching import Matching
from .propagation import Pin


def pairs_of_points(points: Any, counts: list[int]) -> list[list[tuple]]:
    """For each item its pairs of points in shares, with the number of the exemplar.

    counts: of each item's exemplars. Raises ValueError for other values.
    """
    if points is None:
        return [[] for _ in counts]
    shape = "pairs ((x, y), (x', y')) of shares in 0..1, or a list of such pairs for each item"
    try:
        # An item's list may be empty: the first pair that there is tells lists of pairs from lists.
        is_nested = len(points) > 0 and all(
            len(item) == 0 or np.ndim(item[0][0]) > 0 for item in points
        )
        given: list[list[tuple]] = []
        for item in points if is_nested else [points] * len(counts):
            given.append([])
            for (x, y), (other_x, other_y), *number in item:
                if not all(0 <= value <= 1 for value in (x, y, other_x, other_y)):
                    raise ValueError(f"got {points!r}")
                if len(number) > 1:
                    raise ValueError(f"got more than two points and an exemplar in {points!r}")
                given[-1].append(((x, y), (other_x, other_y), number[0] if number else 0))
        if len(given) != len(counts):
            raise ValueError(f"got {points!r} for {len(counts)} items")
    except (TypeError, IndexError, ValueError) as error:
        raise ValueError(f"points must be {shape}; {error}.") from error
    for item, count in zip(given, counts, strict=True):
        for *_, number in item:
            if number not in range(count):
                raise ValueError(f"points name exemplar {number}, but an item has {count} of them.")
    return given


def pins_of(given: list[list[tuple]], matching: Matching) -> list[list[Pin]]:
    """Pairs of points, in shares, as the matching's cells."""
    return [
        [
            Pin(_cell(target, own), _cell(source, others[int(number)]), int(number))
            for target, source, number in item
        ]
        for item, (own, others) in zip(given, matching.grids(), strict=True)
    ]


def _cell(point: tuple[float, float], grid: tuple[int, int]) -> tuple[float, float]:
    x, y = point
    height, width = grid
    return x * width - 0.5, y * height - 0.5
