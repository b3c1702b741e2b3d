"""The batch found by a short trial: `python -m train --config ... --find-batch`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import psutil
import torch

from cocosnet_hf.datasets import open_source

from .config import TrainConfig
from .networks import condition_of
from .step_costs import OURS, Row, measure_afresh

WARMUP, STEPS = 2, 5
"""Steps of each batch that do not count, and that do."""

GAIN = 1.05
"""By which a doubled batch must make more examples a second to be worth its memory."""

BY_BATCH = ("self_warp", "self_pixel", "pseudo_exemplar")
"""Losses that weigh less in larger batches, as in the official training."""

Attempt = Callable[[int], Row | None]
"""What batches of a size cost; None if they do not fit into memory."""


@dataclass(frozen=True)
class Limits:
    """photos: that there are to make a batch of; None of a stream. memory: in MB, for a process."""

    photos: int | None
    memory: float


def find_batch(config: TrainConfig) -> str:
    """Train a few steps with batches of 1, 2, 4 and so on; in words, which of them to take.

    Nothing is written. Raises what training raises.
    """
    photos = None
    if not config.data.streaming:
        photos = len(open_source(config.data, condition_of(config))) // config.speed.accumulation
    memory = torch.inf  # a GPU says itself what does not fit
    if not torch.cuda.is_available():
        memory = psutil.virtual_memory().available / 2**20
    precision = config.speed.mixed_precision
    attempt = partial(measure_afresh, config, OURS, precision, warmup=WARMUP, steps=STEPS)
    rows, why = tried(attempt, Limits(photos, memory))
    if not rows:
        raise ValueError(f"{why}: lower speed.accumulation, or bring more photos.")
    return advice(config, rows, why)


def tried(attempt: Attempt, limits: Limits) -> tuple[list[Row], str]:
    """What batches of 1, 2, 4 and so on cost, and why the next size was not tried or did not fit.

    A process that takes more memory than there is would be killed, so the next one's is foreseen.
    Raises ValueError where not even one example fits.
    """
    rows: list[Row] = []
    size = 1
    while True:
        if limits.photos is not None and size > limits.photos:
            return rows, f"batches of {size} are more than the data"
        if (needed := foreseen(rows)) > limits.memory:
            return rows, f"batches of {size} need some {needed:,.0f} of {limits.memory:,.0f} MB"
        row = attempt(size)
        if row is None and not rows:
            raise ValueError(
                "not even a batch of 1 fits into memory: lower data.image_size, or take the layer "
                "train/configs/layers/8gb.yaml."
            )
        if row is None:
            return rows, f"batches of {size} do not fit into memory"
        rows.append(row)
        if len(rows) > 1 and row.examples_per_second < GAIN * rows[-2].examples_per_second:
            return rows, f"batches of {size} gain nothing over those of {rows[-2].batch_size}"
        size *= 2


def foreseen(rows: list[Row]) -> float:
    """Memory that the doubled batch takes in MB, by that of the last two; 0 before there are two.

    From b/2 to b it grew by what b/2 examples take; from b to 2b it grows by twice that.
    """
    if len(rows) < 2:
        return 0.0
    return rows[-1].peak_memory + 2 * (rows[-1].peak_memory - rows[-2].peak_memory)


def chosen(rows: list[Row]) -> int:
    """The smallest batch that makes nearly as many examples a second as any."""
    most = max(row.examples_per_second for row in rows)
    return next(row.batch_size for row in rows if row.examples_per_second >= most / GAIN)


def advice(config: TrainConfig, rows: list[Row], why: str) -> str:
    """The figures, what to take, and what else then changes."""
    lines = ["data.batch_size  examples a second  seconds a step  waiting for data  memory in MB"]
    lines += [
        f"{row.batch_size:15}  {row.examples_per_second:17.2f}  {row.median:14.3f}"
        f"  {row.waiting_share:16.0%}  {row.peak_memory:12,.0f}"
        for row in rows
    ]
    size, own = chosen(rows), config.data.batch_size
    lines += [why, f"take --data.batch_size={size}; the recipe has {own}"]
    if size != own:
        weights = {name: getattr(config.losses, name, 0.0) * size / own for name in BY_BATCH}
        kept = " ".join(f"--losses.{name}={weight:g}" for name, weight in weights.items() if weight)
        if kept:
            lines.append(f"the balance of the losses then stays with {kept}")
        lines.append("rates for this batch: --find-lr")
    return "\n".join(lines)
