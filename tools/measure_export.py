"""What an export of a pipeline costs and keeps: tracing, files, agreement, time of a call.

    python -m tools.measure_export edge-to-face mask-to-image pose-to-body --runs 5

Each model is called with the examples in its folder; the agreement is that of these pictures. Both
forms are called in turn in one process, with one thread, from files to tensors: the guides that a
graph takes are computed as the pipeline computes them, and the time of the graph alone is told too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from cocosnet_hf import bundled, bundled_names
from cocosnet_hf.bundled import ASSETS
from cocosnet_hf.exporting.checking import Trial
from cocosnet_hf.exporting.writing import outputs_of, traced_halves, write
from cocosnet_hf.measuring import machine, table
from cocosnet_hf.pipeline import CoCosPipeline

DTYPES = ("fp32", "fp16")
FORMATS = {
    "traced, s of CPU": ".0f",
    "whole.onnx, MB": ".1f",
    "picture, dB": ".1f",
    "moved, %": ".2f",
    "pipeline, s": ".2f",
    "exported, s": ".2f",
    "graph alone, s": ".2f",
}


def example(name: str, pipe: CoCosPipeline) -> Trial:
    """A bundled model's call with the files in its folder."""
    files = {path.stem: path for path in (ASSETS / name / "examples").iterdir()}
    stems = {"condition": "layout", "exemplar": "exemplar", "exemplar_condition": None}
    found = {key: files.get(stem or key) for key, stem in stems.items()}
    return Trial(pipe, {key: path for key, path in found.items() if path is not None})


def painted(session: onnxruntime.InferenceSession, trial: Trial) -> dict[str, np.ndarray]:
    """What a graph makes of a call."""
    return outputs_of(session, trial.inputs())


def medians(calls: Mapping[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Seconds that each of some calls takes, in turn, after one that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for run in range(runs + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if run:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in times.items()}


def measured(name: str, folder: Path, runs: int) -> Iterator[dict[str, Any]]:
    """A row for each of `DTYPES`."""
    pipe = bundled(name)
    pipe.set_progress_bar_config(disable=True)
    start = time.process_time()
    halves = traced_halves(pipe)
    traced = time.process_time() - start
    trial = example(name, pipe)
    inputs = trial.inputs()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for dtype in DTYPES:
        write(pipe, halves, folder / name / dtype, dtype, {}, checks=1)
        path = folder / name / dtype / "whole.onnx"
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        found = trial.agreement(outputs_of(session, inputs))
        calls: dict[str, Callable[[], object]] = {
            "pipeline, s": trial.output,
            "exported, s": partial(painted, session, trial),
            "graph alone, s": partial(outputs_of, session, inputs),
        }
        yield {
            "model": name,
            "weights": dtype,
            "traced, s of CPU": traced,
            "whole.onnx, MB": path.stat().st_size / 2**20,
            "picture, dB": found.decibels,
            "moved, %": 100 * found.moved,
            **medians(calls, runs),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; `arguments` default to the process's own."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.measure_export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="+", choices=bundled_names(), help="which to measure")
    parser.add_argument("--runs", type=int, default=5, help="calls of each form; default: 5")
    parser.add_argument("--folder", type=Path, default=Path("out/onnx"), help="for the files")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"{machine('cpu')}, load {os.getloadavg()[0]:.1f}")
    for name in options.models:
        for row in measured(name, options.folder, options.runs):
            print(table([row], dict.fromkeys(row, "") | FORMATS), flush=True)


if __name__ == "__main__":
    main()
