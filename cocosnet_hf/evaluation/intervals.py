"""Values beside the interval in which other samples of the same size would put them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

REPLICATES = 1000
"""Samples drawn for an interval."""

CONFIDENCE = 0.95
"""Share of them inside it."""


@dataclass(frozen=True)
class Estimate:
    """A value from `count` items, with its 95 % bootstrap interval where one is known."""

    value: float
    count: int
    low: float | None = None
    high: float | None = None


def mean_estimate(scores: Sequence[float] | np.ndarray, seed: int = 0) -> Estimate | None:
    """The mean of one score per item, with its interval; None if no item has a score.

    An item that cannot be scored has NaN and is left out of mean and count.
    """
    scores = np.asarray(scores, dtype=np.float64)
    scores = np.sort(scores[~np.isnan(scores)])  # the interval is the same in any order
    if len(scores) == 0:
        return None
    if len(scores) == 1:
        return Estimate(float(scores[0]), 1)
    return Estimate(float(scores.mean()), len(scores), *interval(draws(len(scores), seed) @ scores))


def share_interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's interval, in 0..1, of a share of `count` independent items.

    Source: Wilson 1927. Unlike the bootstrap's it has a width where all items agree. Raises
    ValueError for a share beyond 0..1 and for no item.
    """
    if not (0 <= share <= 1 and count > 0):
        raise ValueError(f"share must be in 0..1 of 1 item or more, got {share} of {count}.")
    square = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) ** 2
    middle = (share + square / (2 * count)) / (1 + square / count)
    spread = (square * (share * (1 - share) / count + square / (4 * count**2))) ** 0.5
    spread /= 1 + square / count
    return max(0.0, middle - spread), min(1.0, middle + spread)


def draws(count: int, seed: int = 0) -> np.ndarray:
    """Bootstrap samples of `count` items: the share of each item in each, (REPLICATES, count)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=REPLICATES) / count


def interval(replicates: np.ndarray) -> tuple[float, float]:
    """The middle `CONFIDENCE` of a value's bootstrap replicates."""
    outside = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(replicates, [outside, 100 - outside])
    return float(low), float(high)
