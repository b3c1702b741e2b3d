"""The folder that an export leaves: graphs, what they are, and a program that runs them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto

from .. import __version__
from ..pipeline import CoCosPipeline
from ..whole_files import write_whole
from .checking import Agreement, Trial, random_trial
from .graphs import Paint, Prepare
from .onnx_files import finished, joined, traced, with_weights

RUNNER = Path(__file__).with_name("runner.py")

CHECKED = ((0, 0), (2, 1), (1, 3), (0, 2), (3, 0), (1, 1), (4, 3))
"""Strides by which the checked conditions are larger than what the networks learned, in turn."""


def traced_halves(pipe: CoCosPipeline) -> dict[str, ModelProto]:
    """`prepare` and `paint` of a folded pipeline, with weights in float32."""
    halves: dict[str, Prepare | Paint] = {"prepare": Prepare(pipe), "paint": Paint(pipe)}
    return {name: traced(half.eval(), pipe) for name, half in halves.items()}


def write(
    pipe: CoCosPipeline,
    halves: Mapping[str, ModelProto],
    folder: Path,
    dtype: str,
    terms: Mapping[str, str],
    checks: int,
) -> dict[str, str]:
    """As `cocosnet_hf.export.export`, of a folded pipeline and its `traced_halves`."""
    settings = settings_of(pipe, dtype, terms)
    metadata = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in settings.items()
    }
    models = {name: with_weights(half, dtype) for name, half in halves.items()}
    models["whole"] = joined(models["prepare"], models["paint"])
    files = {f"{name}.onnx": finished(model, metadata) for name, model in models.items()}
    found = _checked(pipe, files, dtype, checks)
    for name, content in files.items():
        write_whole(folder / name, content)
    write_whole(folder / "model.json", json.dumps(settings, indent=2) + "\n")
    write_whole(folder / "paint.py", RUNNER.read_text(encoding="utf-8"))
    return found


def settings_of(pipe: CoCosPipeline, dtype: str, terms: Mapping[str, str]) -> dict[str, Any]:
    """What a program has to know of the model to feed its graphs."""
    condition = pipe.condition.to_config()
    classes, colors = (
        [name for _, name in sorted((int(key), name) for key, name in condition[entry].items())]
        if condition.get(entry)
        else []
        for entry in ("classes", "colors")
    )
    return {
        "version": __version__,
        "condition": condition,
        "channels": pipe.condition.channels,
        "classes": classes,
        "colors": colors,
        "size": list(pipe.learned_size),
        "stride": pipe.stride,
        "matching_scale": pipe.config.matching_scale,
        "pixels": pipe.correspondence.stride * pipe.config.matching_scale,
        "guided": pipe.condition.has_landmarks and pipe.correspondence.is_coherent,
        "dtype": dtype,
        "terms": dict(terms),
    }


def _checked(
    pipe: CoCosPipeline, files: Mapping[str, bytes], dtype: str, checks: int
) -> dict[str, str]:
    """How near the files are to their pipeline, by name. Raises ValueError where they are not."""
    sessions = {
        name: onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        for name, content in files.items()
    }
    found: dict[str, list[Agreement]] = {"whole.onnx": [], "paint.onnx": []}
    for seed in range(checks):
        trial = check(pipe, seed)
        inputs = trial.inputs()
        whole = outputs_of(sessions["whole.onnx"], inputs)
        found["whole.onnx"].append(trial.agreement(whole))
        style = outputs_of(sessions["prepare.onnx"], inputs)
        halves = outputs_of(sessions["paint.onnx"], inputs | style)
        found["paint.onnx"].append(trial.agreement(halves))
    for name, each in found.items():
        for one in each:
            one.require(dtype, name)
    return {
        name: str(min(each, key=lambda one: one.decibels)) for name, each in found.items() if each
    }


def check(pipe: CoCosPipeline, seed: int) -> Trial:
    """Of another size and batch size for each seed, the exemplar larger along one side."""
    stride = pipe.stride
    height, width = pipe.learned_size
    down, across = CHECKED[seed % len(CHECKED)]
    size = (height + down * stride, width + across * stride)
    own = (size[0] + stride, size[1]) if seed % 2 else (size[0], size[1] + 3 * stride)
    return random_trial(pipe, size, own, 1 + seed % 3, seed)


def outputs_of(
    session: onnxruntime.InferenceSession, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Of a graph, by name; it takes of the inputs those that it knows."""
    names = [entry.name for entry in session.get_outputs()]
    feeds = {entry.name: inputs[entry.name] for entry in session.get_inputs()}
    return dict(zip(names, session.run(names, feeds), strict=True))
