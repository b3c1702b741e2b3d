"""The learning rate found by a short trial: `python -m train --config ... --find-lr`."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from .config import OutputConfig, ScheduleConfig, TrainConfig
from .mistakes import Diverged
from .trainer import Trainer, optimize

STEPS = 100
LOWEST, HIGHEST = 1e-3, 1e3
"""Of the recipe's rates, what the first and the last step multiply them by."""

SMOOTHING = 0.8
"""Share of the steps before in the smoothed loss."""

SHOWN = 12


@dataclass(frozen=True)
class Rising(ScheduleConfig):
    """Rates that grow by the same factor at each step, from `LOWEST` to `HIGHEST`."""

    def rate(self, unit: int) -> float:
        """What the full rates are multiplied by in this step, counted from 0."""
        return LOWEST * (HIGHEST / LOWEST) ** (unit / max(1, self.total - 1))


def find_lr(config: TrainConfig, steps: int = STEPS) -> str:
    """Train from the run's start while the rates rise; in words, which of them to take.

    By the learning rate range test (Smith 2017, Cyclical Learning Rates): a loss falls fastest at a
    rate that is neither too small to learn nor so large that it forgets. Nothing is written. Raises
    ValueError for fewer than 10 steps and where no rate lowers the loss, and what training raises,
    but for losses that are not finite: these end the trial.
    """
    if steps < 10:
        raise ValueError(f"--find-lr takes at least 10 steps, got {steps}.")
    schedule = Rising(constant=steps, decay=0)
    factors = [schedule.rate(step) for step in range(steps)]
    smooth = smoothed(losses_of(config, schedule))
    best = fastest_fall(smooth)
    rates = config.optimizer.generator_lr, config.optimizer.discriminator_lr
    shown = np.unique(np.linspace(0, len(smooth) - 1, SHOWN).round().astype(int))
    lines = ["generator_lr  discriminator_lr  loss, smoothed"]
    lines += [
        f"{factors[step] * rates[0]:12.1e}  {factors[step] * rates[1]:16.1e}  {smooth[step]:.4g}"
        for step in shown
    ]
    found = [f"{factors[best] * rate:.1e}" for rate in rates]
    lines.append(
        f"the loss falls fastest at --optimizer.generator_lr={found[0]} "
        f"--optimizer.discriminator_lr={found[1]}; the recipe has {rates[0]:.1e} and {rates[1]:.1e}"
    )
    return "\n".join(lines)


def losses_of(config: TrainConfig, schedule: ScheduleConfig) -> list[float]:
    """The loss of the system's first phase after each step, up to one that is not finite."""
    found: list[float] = []
    try:
        for trainer in trial(config, schedule):
            found.append(loss_of(trainer.phases.values))
    except Diverged:
        pass
    return found


def trial(config: TrainConfig, schedule: ScheduleConfig) -> Iterator[Trainer]:
    """The trainer after each step of a training of which nothing stays on the disk."""
    output = OutputConfig(
        log_every=0,
        grid_every=0,
        checkpoint_every=0,
        validate_every=0,
        check_rows=0,
        report_to="none",
    )
    with tempfile.TemporaryDirectory() as folder:
        output_dir = str(Path(folder, "run"))
        tried = replace(config, output_dir=output_dir, schedule=schedule, output=output)
        with closing(Trainer(tried, None)) as trainer:
            for _ in optimize(trainer):
                yield trainer


def loss_of(values: Mapping[str, Tensor]) -> float:
    """The sum of the terms of the first phase, as it is lowered."""
    first = next(iter(values)).partition("/")[0]
    return sum(
        value.item()
        for name, value in values.items()
        if name.startswith(f"{first}/") and not name.endswith("gradient_norm")
    )


def smoothed(losses: Sequence[float]) -> np.ndarray:
    """Averages of the losses so far, of which the last count most."""
    average, found = 0.0, []
    for step, loss in enumerate(losses, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        found.append(average / (1 - SMOOTHING**step))
    return np.array(found)


def fastest_fall(smooth: np.ndarray) -> int:
    """The step at which a smoothed loss falls most before it is lowest.

    Raises ValueError for one that never falls.
    """
    lowest = int(smooth.argmin()) if len(smooth) else 0
    if lowest < 2:
        raise ValueError(
            f"no learning rate from {LOWEST:g} to {HIGHEST:g} times the recipe's lowers the loss: "
            f"look at the data by --check-data, or try more steps."
        )
    return int(np.gradient(smooth[: lowest + 1]).argmin())
