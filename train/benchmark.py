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
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # started as a file, whose folder is then searched for modules
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

from cocosnet_hf.measuring import machine, table
from train.step_costs import OURS, PLAIN, measure_afresh, measure_sizes
from train.train import make_parser, parse_config

COLUMNS = dict.fromkeys(("form", "precision", "batch_size"), "")
COLUMNS |= dict.fromkeys(("median", "fastest", "slowest"), ".3f")
COLUMNS |= {"examples_per_second": ".2f", "waiting_share": ".1%", "peak_memory": ".0f"}


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
