"""Time, memory and waiting of training steps, beside the plain form of the same objective.

    python train/benchmark.py --config train/configs/celebahq.yaml \
        --config train/configs/layers/drawn-data.yaml --plain --json out.json
    python train/benchmark.py --config ... --batch-sizes 1 8 --precisions no bf16 --largest

The settings are those of training, and so is the loop; only the perceptual network has random
weights, so that nothing is downloaded. The plain form is how the formulas are written down: the
N x N matrices of the matching, the contextual loss and the attention, kept for the backward pass,
no recomputed activations, contiguous layout. Each row is a fresh process that does nothing else.
Peak memory is that of the process on a CPU, without its loading processes, on CUDA the allocator's.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from itertools import islice, pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # started as a file, whose folder is then searched for modules
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from safetensors.torch import save_file
from torch import Tensor

from cocosnet_hf import DistilledVGG19Features, VGG19Features, losses
from cocosnet_hf.benchmark import (
    machine,
    plain_attend,
    plain_correlation,
    plain_view,
    table,
)
from cocosnet_hf.memory import process_peak
from cocosnet_hf.models import blocks, correspondence
from train.config import OutputConfig, PerceptualConfig, ScheduleConfig, TrainConfig
from train.train import Trainer, make_parser, optimize, parse_config

PLAIN, OURS = "plain", "ours"

COLUMNS = dict.fromkeys(("form", "precision", "batch_size"), "")
COLUMNS |= dict.fromkeys(("median", "fastest", "slowest"), ".3f")
COLUMNS |= {"examples_per_second": ".2f", "waiting_share": ".1%", "peak_memory": ".0f"}


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


class PlainMatching:
    """`Matching`, written down as it is: the N x N matrix, and its softmax along both sides."""

    stride = 4

    def __init__(
        self, content: Tensor, style: Tensor, *, patch_size: int, temperature: float, **_: Any
    ):
        self.content_size, self.style_size = content.shape[-2:], style.shape[-2:]
        with torch.autocast(content.device.type, enabled=False):
            self.logits = plain_correlation(content, style, patch_size) / temperature

    @cached_property
    def shares(self) -> Tensor:
        """(B, N, N'), each row summing to 1."""
        return self.logits.softmax(dim=2)

    def warp(self, values: Tensor, patches: bool = False) -> Tensor:
        """As `Matching.warp`."""
        with torch.autocast(values.device.type, enabled=False):
            return plain_view(self.shares, values, self.content_size, self.style_size, patches)

    def warp_back(self, values: Tensor) -> Tensor:
        """As `Matching.warp_back`."""
        with torch.autocast(values.device.type, enabled=False):
            shares = self.logits.softmax(dim=1).mT
            return plain_view(shares, values, self.style_size, self.content_size, patches=False)


def plain_contextual_loss(features: Tensor, exemplar_features: Tensor) -> Tensor:
    """`losses.contextual_loss` with its defaults, written down as it is."""
    with torch.autocast(features.device.type, enabled=False):
        x, y = features.float(), exemplar_features.float()
        mean = y.mean(dim=1, keepdim=True)
        x, y = (torch.nn.functional.normalize((z - mean).flatten(2), dim=1) for z in (x, y))
        distance = 1 - x.mT @ y
        relative = distance / (distance.amin(dim=2, keepdim=True) + 1e-3)
        shares = ((1 - relative) / 0.1).softmax(dim=2)
        return -shares.amax(dim=2).mean(dim=1).log().mean()


@contextmanager
def running(form: str) -> Iterator[None]:
    """For the plain form the plain functions in the places of ours."""
    ours = correspondence.Matching, losses.contextual_loss, blocks.attend
    if form == PLAIN:
        correspondence.Matching, losses.contextual_loss = PlainMatching, plain_contextual_loss
        blocks.attend = plain_attend
    try:
        yield
    finally:
        correspondence.Matching, losses.contextual_loss, blocks.attend = ours


def settings(
    config: TrainConfig, folder: Path, form: str, precision: str, batch_size: int, steps: int
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
        output=OutputConfig(log_every=0, grid_every=0, checkpoint_every=0, validate_every=0),
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
        with running(form):
            trainer = Trainer(config, resume=None)
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
    config: TrainConfig, form: str, precision: str, batch_size: int, warmup: int, steps: int
) -> Row | None:
    """`measure` in a new process with a folder of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh,
    ):
        run = settings(config, Path(folder), form, precision, batch_size, warmup + steps)
        return fresh.submit(measure, run, form, warmup).result()


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure as the command line says, print the table, write the JSON."""
    parser = make_parser(__doc__)
    parser.add_argument("--batch-sizes", type=int, nargs="+", help="default: the run's own")
    parser.add_argument("--precisions", nargs="+", choices=("no", "bf16", "fp16"))
    parser.add_argument("--plain", action="store_true", help="also the plain form")
    parser.add_argument(
        "--largest", action="store_true", help="also the largest batch that fits on the GPU"
    )
    parser.add_argument("--steps", type=int, default=10, help="that are measured")
    parser.add_argument(
        "--warmup", type=int, default=2, help="steps before; in the first Adam has no state yet"
    )
    parser.add_argument("--json", type=Path, help="where to write all figures")
    options, config = parse_config(parser, arguments)
    if options.warmup < 1 or options.steps < 1:
        parser.error("--steps and --warmup must be at least 1.")
    if options.largest and not torch.cuda.is_available():
        parser.error("--largest needs a GPU: a CPU that runs out of memory kills the process.")

    rows: list[dict[str, Any]] = []
    sizes = options.batch_sizes or [config.data.batch_size]
    for precision in options.precisions or [config.speed.mixed_precision]:
        for form in [PLAIN] * options.plain + [OURS]:
            found = measure_sizes(
                partial(measure_afresh, config, form, precision),
                sizes,
                options.warmup,
                options.steps,
                options.largest,
            )
            fitting = [asdict(row) for row in found.values() if row is not None]
            rows += fitting
            print(table(fitting, COLUMNS), flush=True)
            too_large = [size for size, row in found.items() if row is None]
            if too_large:
                print(f"{form}, {precision}: batches of {too_large} do not fit.", flush=True)
    if options.json:
        figures = {
            "machine": machine("cuda" if torch.cuda.is_available() else "cpu"),
            "config": options.config,
            "rows": rows,
        }
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
