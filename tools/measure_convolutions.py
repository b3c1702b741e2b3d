"""How near the convolutions of a bundled model come to the processor's rate of matrix products.

    OMP_NUM_THREADS=1 python -m tools.measure_convolutions edge-to-face mask-to-image --runs 5

The model paints the example in its folder, on the CPU in float32, and every convolution is timed
where it runs: those of one shape together, the quickest of the runs. Beside them stand the rate of
a large matrix product, the bytes that a convolution has to move for each operation, and what share
of the rate it may reach at most where memory is copied as fast as a large tensor is: kernels of
3 x 3 may be quicker, as Winograd's way multiplies less (Lavin and Gray 2016). What is not
convolution is told as well.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cocosnet_hf import bundled, bundled_names
from cocosnet_hf.measuring import machine, matrix_rate, seconds, table
from tools.measure_export import example

CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten.conv2d.default)
"""What torch runs with a history of gradients, and without."""

FORMATS = {
    "input": "",
    "kernel": "",
    "calls": "",
    "GFLOP": ".3f",
    "ms": ".2f",
    "of all": ".0%",
    "of the rate": ".0%",
    "at most": ".0%",
}
SHOWN = 8
"""Shapes that take the longest."""

COPIED = 1 << 26
"""Bytes of the tensor that is copied."""


@dataclass
class Shape:
    """Convolutions of one shape: how many, and what all of them take.

    flop: operations. moved: bytes of input, output and weights. seconds: of the quickest run.
    """

    calls: int = 0
    flop: float = 0.0
    moved: float = 0.0
    seconds: float = 0.0


@dataclass(eq=False)
class Operations(TorchDispatchMode):
    """Times whatever torch computes while it is entered.

    shapes: convolutions by input and kernel. others: seconds by the name of the operation.
    """

    shapes: dict[tuple[str, str], Shape] = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping | None = None
    ) -> Any:
        start = time.perf_counter()
        out = func(*args, **(kwargs or {}))
        taken = time.perf_counter() - start
        if func not in CONVOLUTIONS:
            name = func.overloadpacket.__name__
            self.others[name] = self.others.get(name, 0.0) + taken
            return out
        x, weight = args[:2]
        wide, high = weight.shape[-1], weight.shape[-2]
        stride, groups = round(x.shape[-2] / out.shape[-2]), x.shape[1] // weight.shape[1]
        kernel = f"{high} x {wide}, {x.shape[1]} to {out.shape[1]}"
        kernel += f", every {stride}" * (stride > 1) + f", {groups} groups" * (groups > 1)
        key = f"{x.shape[-2]} x {x.shape[-1]}", kernel
        shape = self.shapes.setdefault(key, Shape())
        shape.calls += 1
        shape.flop += 2 * out.numel() * weight[0].numel()
        shape.moved += sum(one.numel() * one.element_size() for one in (x, weight, out))
        shape.seconds += taken
        return out


def copy_rate() -> float:
    """Bytes a second that a large tensor is read and written with, the best of ten."""
    source = torch.empty(COPIED, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * COPIED / min(seconds(lambda: target.copy_(source), "cpu") for _ in range(10))


def quickest(runs: Sequence[Operations]) -> dict[tuple[str, str], Shape]:
    """The shapes of several equal runs, each as it was quickest."""
    return {key: min((run.shapes[key] for run in runs), key=_seconds) for key in runs[0].shapes}


def _seconds(shape: Shape) -> float:
    return shape.seconds


def rows_of(
    shapes: Mapping[tuple[str, str], Shape], rate: float, copied: float
) -> list[dict[str, Any]]:
    """A row for all convolutions, then one for each of the `SHOWN` shapes that take the longest.

    rate: operations a second of a matrix product; copied: bytes a second of memory.
    """
    whole = Shape(
        sum(one.calls for one in shapes.values()),
        sum(one.flop for one in shapes.values()),
        sum(one.moved for one in shapes.values()),
        sum(one.seconds for one in shapes.values()),
    )
    longest = sorted(shapes.items(), key=lambda item: -item[1].seconds)[:SHOWN]
    named = [(("all", ""), whole), *longest]
    at_least = {id(one): max(one.flop / rate, one.moved / copied) for one in shapes.values()}
    at_least[id(whole)] = sum(at_least.values())
    return [
        {
            "input": place,
            "kernel": kernel,
            "calls": one.calls,
            "GFLOP": one.flop / 1e9,
            "ms": 1000 * one.seconds,
            "of all": one.seconds / whole.seconds,
            "of the rate": one.flop / one.seconds / rate,
            "at most": one.flop / at_least[id(one)] / rate,
        }
        for (place, kernel), one in named
    ]


def measured(name: str, runs: int) -> str:
    """What is found of a bundled model, as text."""
    pipe = bundled(name)
    pipe.set_progress_bar_config(disable=True)
    trial = example(name, pipe)
    trial.output()  # warms up
    rates, found = [], []
    for _ in range(runs):
        rates.append(matrix_rate(torch.float32, "cpu"))
        with Operations() as operations:
            trial.output()
        found.append(operations)
    shapes, rate, copied = quickest(found), 1e9 * max(rates), copy_rate()
    others = min(found, key=lambda one: sum(one.others.values())).others
    longest = sorted(others.items(), key=lambda one: -one[1])[:5]
    most = ", ".join(f"{what} {1000 * taken:.0f}" for what, taken in longest)
    return (
        f"{name}: matrix products {rate / 1e9:.0f} GFLOP/s, copies {copied / 1e9:.1f} GB/s; "
        f"besides convolutions {1000 * sum(others.values()):.0f} ms, of it {most}\n"
        f"{table(rows_of(shapes, rate, copied), FORMATS)}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; `arguments` default to the process's own."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.measure_convolutions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="+", choices=bundled_names(), help="which to measure")
    parser.add_argument("--runs", type=int, default=5, help="default: 5")
    options = parser.parse_args(arguments)
    print(f"{machine('cpu')}, load {os.getloadavg()[0]:.1f}")
    for name in options.models:
        print(measured(name, options.runs), flush=True)


if __name__ == "__main__":
    main()
