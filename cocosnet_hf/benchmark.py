"""Time, memory and arithmetic of the pipeline, beside the plain form of the same networks.

    python -m cocosnet_hf.benchmark --sizes 256 512 1024 --dtypes float32 bfloat16 --json out.json
    python -m cocosnet_hf.benchmark --paint mask-to-image layout.png exemplar.png --scale 4
    python -m cocosnet_hf.benchmark --paint mask-to-image layout.png look.jpg --exported fp32

The plain form is how the formulas are written down (`reference`): unfolded patches, the N x N
matrix, attention with its matrix, spectral norm divided out at each use, contiguous layout. With
--compile the networks are compiled, and once more with the painter as a CUDA graph; on CUDA the
matching is also one Triton kernel (`fused`), where the package triton is installed. All forms run
in turn in one process, so that a drift of the machine meets each of them. A form that this machine
cannot run is named and left out. On a CPU peak memory is that of a fresh process which does nothing
else, on CUDA the allocator's. The weights are random.

The second measures what a user of a trained pipeline waits for on the CPU: calls from two files to
a picture, those with a prepared exemplar, and the memory of a process that paints one picture. With
--exported the same calls through ONNX files take turns with them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .bundled import locate
from .matching import Matching
from .measuring import gflop, is_cuda, machine, matrix_rate, seconds, table, unusable
from .memory import process_peak
from .models.network import channels_last
from .painting_costs import PaintedCall, painting, painting_table
from .painting_costs import painting_peak as painting_peak  # in a fresh process
from .pipeline import CoCosPipeline
from .presets import PRESETS
from .random_networks import Inputs, build
from .reference import ReferenceMatching, use_reference

PLAIN, OURS, COMPILED, GRAPHS, FUSED = "plain", "ours", "compiled", "graphs", "fused"
PARTS = ("condition", "exemplar", "matching", "translation")
DTYPES = ("float32", "bfloat16", "float16")
DTYPES_OF_FILES = ("fp32", "fp16", "int8")
PLAIN_LIMIT = 128 * 128
"""Positions above which the plain form's matrices are not attempted."""


@dataclass(frozen=True)
class Row:
    """One line of the table: seconds, GFLOP, share of the measured matrix rate, MB."""

    size: int
    dtype: str
    form: str
    stage: str
    median: float
    fastest: float
    slowest: float
    gflop: float
    rate_share: float
    peak_memory: float | None = None


def prepare(pipe: CoCosPipeline, inputs: Inputs, form: str) -> Inputs:
    """Put pipeline and inputs into this form, the pipeline in place."""
    if form == PLAIN:
        use_reference(pipe.correspondence, pipe.translation)
        return inputs
    if not pipe.translation.folded:
        pipe.fold()
    if form in (COMPILED, GRAPHS):
        pipe.correspondence.compile()
        # Started again as one CUDA graph, without a launch for each of its kernels.
        pipe.translation.compile(mode="reduce-overhead" if form == GRAPHS else "default")
    if form == FUSED:
        pipe.correspondence.matching_class = import_module(".fused", __package__).FusedMatching
    own = inputs.exemplar_condition
    return Inputs(
        channels_last(inputs.condition),
        channels_last(inputs.exemplar),
        None if own is None else channels_last(own),
    )


def stages(pipe: CoCosPipeline, inputs: Inputs, form: str) -> dict[str, Callable[[], Any]]:
    """The pipeline's parts as functions without arguments, and the whole of them in sequence."""
    layout = torch.contiguous_format if form == PLAIN else torch.channels_last

    def condition() -> Tensor:
        return pipe.correspondence(inputs.condition, None).content

    def exemplar() -> Tensor:
        return pipe.correspondence(None, inputs.exemplar, inputs.exemplar_condition).style

    def warp(content: Tensor, style: Tensor) -> Tensor:
        matching = pipe.correspondence.match(content, style)
        warped = pipe.correspondence.warp(matching, inputs.exemplar).picture
        return warped.to(inputs.condition).contiguous(memory_format=layout)

    def translation(warped: Tensor) -> Tensor:
        return pipe.translation(warped, inputs.condition)

    content, style = condition(), exemplar()
    warped = warp(content, style)
    return {
        "condition": condition,
        "exemplar": exemplar,
        "matching": lambda: warp(content, style),
        "translation": lambda: translation(warped),
        "prepared": lambda: translation(warp(condition(), style)),
        "whole": lambda: translation(warp(condition(), exemplar())),
    }


def measure(
    preset: str, size: int, dtype: str, forms: list[str], device: str, runs: int
) -> tuple[list[Row], dict[str, float]]:
    """All rows of one size and precision, and each form's image PSNR in dB against float32."""
    functions: dict[str, dict[str, Callable[[], Any]]] = {}
    images = {}
    for form in forms:
        try:
            pipe, inputs = build(preset, size, getattr(torch, dtype), device)
            inputs = prepare(pipe, inputs, form)
            with torch.no_grad():
                functions[form] = stages(pipe, inputs, form)
                images[form] = warmed_up(functions[form]["translation"], form)
        except Exception as problem:  # compilers raise whatever a machine leads them to
            if form in (PLAIN, OURS):
                raise
            functions.pop(form, None)
            reason = str(problem).strip().partition("\n")[0]
            print(f"{form} cannot be run here: {type(problem).__name__}: {reason}", flush=True)
    forms = list(images)
    work = {}
    for form in forms:
        with torch.no_grad():
            counted = functions[form if form == PLAIN or OURS not in functions else OURS]
            parts = {name: gflop(counted[name]) for name in PARTS}
        whole = sum(parts.values())
        work[form] = parts | {"prepared": whole - parts["exemplar"], "whole": whole}
    times: dict[tuple[str, str], list[float]] = {}
    rates = []
    for _ in range(runs):
        rates.append(matrix_rate(getattr(torch, dtype), device))
        for name in functions[forms[0]]:
            for form in forms:
                with torch.no_grad():
                    elapsed = seconds(functions[form][name], device)
                times.setdefault((form, name), []).append(elapsed)
    rate = statistics.median(rates)
    rows = [
        Row(
            size=size,
            dtype=dtype,
            form=form,
            stage=name,
            median=statistics.median(taken),
            fastest=min(taken),
            slowest=max(taken),
            gflop=work[form][name],
            rate_share=work[form][name] / statistics.median(taken) / rate,
        )
        for (form, name), taken in times.items()
    ]
    quality = {}
    if dtype != "float32":
        pipe, inputs = build(preset, size, torch.float32, device)
        inputs = prepare(pipe, inputs, OURS)
        with torch.no_grad():
            exact = stages(pipe, inputs, OURS)["translation"]()
        for form, image in images.items():
            error = ((image - exact) / 2).square().mean()  # images span 2
            quality[f"{size} {dtype} {form}"] = float(-10 * torch.log10(error))
    return rows, quality


def warmed_up(function: Callable[[], Tensor], form: str) -> Tensor:
    """What a function returns, as float32, once it is compiled and, as a CUDA graph, recorded."""
    for _ in range(2 * (form == GRAPHS)):  # the second call is recorded
        function()
    return function().to(torch.float32, copy=True)  # which the next call would write over


def peak_memory(preset: str, size: int, dtype: str, form: str, device: str) -> float:
    """Peak of one call in MB, the weights included."""
    pipe, inputs = build(preset, size, getattr(torch, dtype), device)
    inputs = prepare(pipe, inputs, form)
    if is_cuda(device):
        torch.cuda.reset_peak_memory_stats(device)
    with torch.no_grad():
        stages(pipe, inputs, form)["whole"]()
    if is_cuda(device):
        return torch.cuda.max_memory_allocated(device) / 2**20
    return process_peak()


def matching_alone(side: int, form: str, backward: bool) -> dict[str, float]:
    """Seconds and extra peak MB of one warp between maps of side x side positions, C = 256.

    backward: with the gradients for both maps and what is warped.
    """
    generator = torch.Generator().manual_seed(0)
    content, style = torch.randn(2, 1, 256, side, side, generator=generator)
    values = torch.rand(1, 3, side, side, generator=generator)
    kind = ReferenceMatching if form == PLAIN else Matching

    def warp() -> Tensor:
        return kind(content, style).warp(values)

    def step() -> None:
        with torch.enable_grad():
            torch.autograd.grad(warp().square().sum(), (content, style, values))

    if backward:
        for leaf in (content, style, values):
            leaf.requires_grad_()
    with torch.no_grad():
        torch.mm(content[0, 0], content[0, 0])  # lets the matrix library take its own buffers
        before = process_peak()
        taken = seconds(step if backward else warp, "cpu")
    return {"seconds": taken, "extra_memory": process_peak() - before}


def in_fresh_process(function: str, *arguments: Any) -> Any:
    """The result of a function of this module, called in a new process."""
    command = [sys.executable, "-m", __spec__.name, "--call", function, json.dumps(arguments)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main(argv: list[str] | None = None) -> None:
    """Measure as the command line says, print the tables, write the JSON."""
    parser = make_parser()
    options = parser.parse_args(argv)
    if options.call:
        function, arguments = options.call
        print(json.dumps(globals()[function](*json.loads(arguments))))
        return
    if options.runs < 1:
        parser.error(f"--runs must be 1 or more, got {options.runs}.")
    figures = measured_painting(parser, options) if options.paint else measured(parser, options)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def make_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", default="celebahq", choices=PRESETS, help="networks")
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="*",
        default=[256],
        help="of the networks, in pixels; may be none",
    )
    parser.add_argument(
        "--dtypes",
        nargs="+",
        choices=DTYPES,
        default=["float32", "bfloat16"],
        metavar="|".join(DTYPES),
        help="default: float32 bfloat16",
    )
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="cpu, cuda or one such as cuda:1",
    )
    parser.add_argument("--runs", type=int, default=5, help="calls of which medians are shown")
    parser.add_argument("--compile", action="store_true", help="also the compiled forms")
    parser.add_argument(
        "--positions", type=int, nargs="*", default=[], help="also the matching alone, on the CPU"
    )
    parser.add_argument(
        "--paint",
        nargs=3,
        metavar=("PIPELINE", "CONDITION", "EXEMPLAR"),
        help="only what a picture of a bundled or saved pipeline costs on the CPU",
    )
    parser.add_argument(
        "--scale", type=int, help="of --paint: how many times larger than it learned"
    )
    parser.add_argument(
        "--exported",
        nargs="+",
        choices=DTYPES_OF_FILES,
        default=[],
        metavar="|".join(DTYPES_OF_FILES),
        help="of --paint: also the calls through ONNX files with weights of these types",
    )
    parser.add_argument("--json", type=Path, help="where to write all figures")
    parser.add_argument("--call", nargs=2, help=argparse.SUPPRESS)
    return parser


def measured_painting(
    parser: argparse.ArgumentParser, options: argparse.Namespace
) -> dict[str, Any]:
    """What a picture of a trained pipeline costs, printed as a table too."""
    others = ("preset", "sizes", "dtypes", "device", "compile", "positions")
    given = [one for one in others if getattr(options, one) != parser.get_default(one)]
    if given:
        parser.error(
            f"--paint measures a pipeline in float32 on the CPU, at its own size; leave out "
            f"--{', --'.join(given)}."
        )
    name, condition, exemplar = options.paint
    try:
        source, variant = locate(name)
        call = PaintedCall(str(source), variant, condition, exemplar, options.scale)
        figures = painting(call, options.runs, options.exported, in_fresh_process)
    except (ValueError, OSError, ImportError) as error:
        parser.error(str(error))
    print(painting_table(figures))
    return {"machine": machine("cpu"), "painting": figures}


def measured(parser: argparse.ArgumentParser, options: argparse.Namespace) -> dict[str, Any]:
    """Every form of random networks, and of the matching alone, printed as tables too."""
    if options.scale is not None or options.exported:
        option = "--exported" if options.scale is None else "--scale"
        parser.error(f"{option} is said of a trained pipeline; give --paint as well.")
    if not options.sizes and not options.positions:
        parser.error("there is nothing to measure: give --sizes or --positions a number.")
    if options.device.partition(":")[0] not in ("cpu", "cuda"):
        parser.error(f"--device must be cpu or cuda, got {options.device}.")
    if reason := unusable(options.device):
        parser.error(f"--device {options.device} cannot be used: {reason}")
    if wrong := [size for size in options.sizes if size % 32 or size < 64]:
        parser.error(f"--sizes must be multiples of 32 from 64 on, got {wrong}.")
    if wrong := [side for side in options.positions if side < 1]:
        parser.error(f"--positions must be 1 or more, got {wrong}.")
    rows, quality = [], dict[str, float]()
    for size, dtype in itertools.product(options.sizes, options.dtypes):
        found, decibels = measured_forms(options, size, dtype)
        rows += found
        quality |= decibels
    matchings = measured_matchings(options.positions)
    for name, ratio in quality.items():
        print(f"image PSNR against float32, {name}: {ratio:.1f} dB")
    return {
        "machine": machine(options.device),
        "rows": rows,
        "psnr": quality,
        "matching": matchings,
    }


def measured_forms(
    options: argparse.Namespace, size: int, dtype: str
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The rows of one size and precision, which are printed too, and their image PSNR."""
    forms = [OURS] + [COMPILED] * options.compile
    if is_cuda(options.device):
        forms += [GRAPHS] * options.compile + [FUSED] * bool(find_spec("triton"))
    if (size // 4) ** 2 <= PLAIN_LIMIT:
        forms = [PLAIN, *forms]
    found, decibels = measure(options.preset, size, dtype, forms, options.device, options.runs)
    rows = []
    for form in dict.fromkeys(row.form for row in found):
        peak = in_fresh_process("peak_memory", options.preset, size, dtype, form, options.device)
        rows += [
            asdict(row) | {"peak_memory": peak if row.stage == "whole" else None}
            for row in found
            if row.form == form
        ]
    formats = dict.fromkeys(("size", "dtype", "form", "stage"), "")
    formats |= dict.fromkeys(("median", "fastest", "slowest"), ".3f")
    formats |= {"gflop": ".0f", "rate_share": ".0%", "peak_memory": ".0f"}
    print(table(rows, formats), flush=True)
    return rows, decibels


def measured_matchings(sides: Sequence[int]) -> list[dict[str, Any]]:
    """The matching alone on grids of these sides, which is printed too."""
    rows = []
    for side in sides:
        forms = [PLAIN, OURS] if side**2 <= PLAIN_LIMIT else [OURS]
        for form, backward in itertools.product(forms, (False, True)):
            result = in_fresh_process("matching_alone", side, form, backward)
            passes = "both" if backward else "forward"
            rows.append({"side": side, "form": form, "passes": passes} | result)
    if rows:
        formats = {"side": "", "form": "", "passes": "", "seconds": ".2f", "extra_memory": ".0f"}
        print(table(rows, formats))
    return rows


if __name__ == "__main__":
    main()
