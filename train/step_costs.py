"""What training steps cost, each measurement in a fresh process: seconds, examples, memory."""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from cocosnet_hf import DistilledVGG19Features, VGG19Features, reference
from cocosnet_hf.memory import process_peak
from cocosnet_hf.systems import System

from .config import (
    OutputConfig,
    PerceptualConfig,
    Precision,
    ScheduleConfig,
    TrainConfig,
    build_config,
    to_dict,
)
from .trainer import Trainer, optimize

PLAIN, OURS = "plain", "ours"


@dataclass(frozen=True)
class Row:
    """One line of the table: seconds per step, share of them spent waiting for data, MB."""

    form: str
    precision: str
    batch_size: int
    median: float
    fastest: float
    slowest: float
    examples_per_second: float
    waiting_share: float
    peak_memory: float


def settings(
    config: TrainConfig, folder: Path, form: str, precision: Precision, batch_size: int, steps: int
) -> TrainConfig:
    """The run that is measured: nothing but steps, at the full rates."""
    speed = replace(config.speed, mixed_precision=precision)
    if form == PLAIN:
        speed = replace(speed, gradient_checkpointing=False, channels_last=False, compile=False)
    return replace(
        config,
        output_dir=str(folder / "run"),
        data=replace(config.data, batch_size=batch_size),
        perceptual=random_weights(config.perceptual, folder / "perceptual"),
        schedule=ScheduleConfig(unit="step", constant=steps, decay=0),
        speed=speed,
        output=OutputConfig(
            log_every=0, grid_every=0, checkpoint_every=0, validate_every=0, check_rows=0
        ),
    )


def random_weights(config: PerceptualConfig, folder: Path) -> PerceptualConfig:
    """The same perceptual network from a file of random weights, on which no figure depends."""
    folder.mkdir(exist_ok=True)
    if config.network == "vgg19":
        VGG19Features("caffe").save_pretrained(folder)
        return replace(config, source=str(folder))
    file = folder / "distilled.safetensors"
    save_file(DistilledVGG19Features().state_dict(), file)
    return replace(config, source=str(file))


def use_plain_form(system: System) -> None:
    """Let a system compute by the formulas as they are written down, see `reference`."""
    reference.use_reference(*system.networks.values())
    system.use_forms(contextual_loss=reference.contextual_loss)


def measure(config: TrainConfig, form: str, warmup: int) -> Row | None:
    """Run all steps of `config`, of which the first `warmup` do not count; None out of memory.

    Once for each process: accelerate keeps the precision of its first run.
    """
    cuda = torch.cuda.is_available()

    def now() -> float:
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    try:
        trainer = Trainer(config, resume=None)
        if form == PLAIN:
            use_plain_form(trainer.system)
        steps = optimize(trainer)
        for _ in islice(steps, warmup):
            pass
        marks, waited = [now()], trainer.data.seconds_waited
        for _ in steps:
            marks.append(now())
    except torch.cuda.OutOfMemoryError:
        return None
    taken = [end - start for start, end in pairwise(marks)]
    examples = config.data.batch_size * config.speed.accumulation
    return Row(
        form=form,
        precision=config.speed.mixed_precision,
        batch_size=config.data.batch_size,
        median=statistics.median(taken),
        fastest=min(taken),
        slowest=max(taken),
        examples_per_second=examples / statistics.median(taken),
        waiting_share=(trainer.data.seconds_waited - waited) / sum(taken),
        peak_memory=torch.cuda.max_memory_allocated() / 2**20 if cuda else process_peak(),
    )


def measure_afresh(
    config: TrainConfig, form: str, precision: Precision, batch_size: int, warmup: int, steps: int
) -> Row | None:
    """`measure` in a new process with a folder of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=fresh_processes()) as fresh,
    ):
        run = settings(config, Path(folder), form, precision, batch_size, warmup + steps)
        return fresh.submit(measure_described, to_dict(run), form, warmup).result()


def fresh_processes() -> BaseContext:
    """Of processes that have imported all this and done nothing; on Windows they import it anew."""
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([measure.__module__])
    return context


def measure_described(described: dict[str, Any], form: str, warmup: int) -> Row | None:
    """`measure` the run that `to_dict` described: a config's classes may be made at run time."""
    return measure(build_config(described), form, warmup)


def measure_sizes(
    attempt: Callable[[int, int, int], Row | None],
    sizes: Sequence[int],
    warmup: int,
    steps: int,
    to_largest: bool,
) -> dict[int, Row | None]:
    """By batch size what `attempt` at it with these steps gives; at last the largest that fits."""
    found = {size: attempt(size, warmup, steps) for size in sizes}
    fitting = [size for size, row in found.items() if row is not None]
    if to_largest and fitting:
        size = largest(lambda size: attempt(size, 1, 1) is not None, max(fitting))
        if size not in found:
            found[size] = attempt(size, warmup, steps)
    return found


def largest(fits: Callable[[int], bool], known: int) -> int:
    """The largest number that fits, found to an eighth of it; `known` is one that does."""
    low, high = known, 2 * known
    while fits(high):
        low, high = high, 2 * high
    while high - low > max(1, low // 8):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
