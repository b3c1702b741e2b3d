"""Graphs of a pipeline as ONNX files: traced, put together, their weights made smaller."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import onnx
import torch
import torch.onnx.errors
from onnx import ModelProto, TensorProto, compose, helper, numpy_helper
from torch import Tensor, nn

from ..pipeline import CoCosPipeline
from .graphs import GUIDES, Paint, Prepare

OPSET = 20
"""The first whose GridSample is what torch's grid_sample is; onnxruntime knows it from 1.17 on."""

DTYPES = ("fp32", "fp16", "int8")
"""How weights are stored. Everything is computed in float32: the matching has to be, and not every
runtime can compute convolutions in less."""

PAINTER = "translation."
"""How the weights of the network that paints are called in a graph. Only they are stored in 8 bits:
what the matching compares would then lead to other places."""

FEWEST = 1024
"""Numbers from which a weight is stored in fewer bytes."""


SIDES = {"height": 4, "width": 5, "own_height": 6, "own_width": 7}
"""Strides of the sides in the example that is traced: of four different lengths, none of which is
the batch, so that a check notices where one was kept as a number."""


def traced(module: Prepare | Paint, pipe: CoCosPipeline) -> ModelProto:
    """The ONNX graph of a half of a pipeline, for every batch and size.

    By the exporter that records one call, in which sizes are tensors like any other: in seconds.
    That of `torch.export` reasons about sizes as symbols, which for so many small nodes takes many
    minutes. What a record would keep as a number by mistake, the checks at other sizes find.
    Raises ValueError for a network with an operation that ONNX lacks.
    """
    names = module.inputs
    axes: dict[str, dict[int, str]] = {}
    example: list[Tensor] = []
    for name in names:
        if name == "strength":
            example.append(torch.tensor(0.5))
            continue
        channels, unit, height, width = _layout(pipe, name)
        axes[name] = {0: "batch", 2: f"{unit} {height}", 3: f"{unit} {width}"}
        example.append(torch.zeros(2, channels, unit * SIDES[height], unit * SIDES[width]))
    return recorded(module, tuple(example), names, module.outputs, axes)


def recorded(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    axes: Mapping[str, dict[int, str]],
) -> ModelProto:
    """The ONNX graph of one call of a module. axes: the free ones of its inputs, by number.

    Raises ValueError as `traced` does.
    """
    file: Any = BytesIO()  # which the exporter takes, though its types do not say so
    torch.onnx.register_custom_op_symbolic("aten::atanh", _atanh, OPSET)  # which it forgot
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of every size that Python compares, which checks it only
        try:
            torch.onnx.export(
                module,
                example,
                file,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes=dict(axes),
                opset_version=OPSET,
                dynamo=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"a network cannot be written as ONNX: {reason}. Paint with the pipeline itself."
            ) from error
    return onnx.load_model_from_string(file.getvalue())


def _atanh(graph: Any, x: Any) -> Any:
    return graph.op("Atanh", x)


def _layout(pipe: CoCosPipeline, name: str) -> tuple[int, int, str, str]:
    """Of an input: its channels, its pixels for a picture's stride, the names of its sides."""
    scale = pipe.config.matching_scale
    pixels = pipe.correspondence.stride * scale
    is_own = name in ("exemplar", "exemplar_condition", "noise", "style")
    sides = ("own_height", "own_width") if is_own else ("height", "width")
    known = {
        "exemplar": 3,
        "style": pipe.correspondence.config.feature_channels,
        **dict.fromkeys(GUIDES, 2),
    }
    finer = {"matched_condition": scale, "exemplar_condition": scale}
    finer |= dict.fromkeys(("style", "noise", "guide_cells"), pixels)
    channels = known.get(name, pipe.condition.channels)
    return channels, pipe.stride // finer.get(name, 1), *sides


def joined(prepare: ModelProto, paint: ModelProto) -> ModelProto:
    """The whole call from its two halves, whose `style` then stays inside."""
    whole = ModelProto()
    whole.CopyFrom(paint)
    first = compose.add_prefix(prepare, "prepare/", rename_inputs=False, rename_outputs=False).graph
    nodes, inputs = list(whole.graph.node), list(whole.graph.input)
    del whole.graph.node[:], whole.graph.input[:]
    whole.graph.node.extend([*first.node, *nodes])
    whole.graph.initializer.extend(first.initializer)
    whole.graph.value_info.extend(first.value_info)
    own = {value.name for value in first.input} | {"style"}
    condition, *knobs = (value for value in inputs if value.name not in own)
    whole.graph.input.extend([condition, *first.input, *knobs])
    return whole


def with_weights(model: ModelProto, dtype: str) -> ModelProto:
    """The same with the weights of its convolutions stored as `DTYPES` says.

    int8: those of the painter, with one scale for each output channel; the others as in fp16.
    """
    made = ModelProto()
    made.CopyFrom(model)
    if dtype == "fp32":
        return made
    graph = made.graph
    weights = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    kept, nodes = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        # One input channel: a fixed filter, whose numbers are meant exactly.
        if tensor.name not in weights or values.size < FEWEST or values.shape[1] == 1:
            kept.append(tensor)
            continue
        stored = f"{tensor.name}/stored"
        if dtype == "fp16" or not tensor.name.startswith(PAINTER):
            kept.append(numpy_helper.from_array(values.astype(np.float16), stored))
            nodes.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
            continue
        scale = np.abs(values).max(axis=(1, 2, 3)).clip(1e-12) / 127
        small = np.rint(values / scale[:, None, None, None]).astype(np.int8)
        kept.append(numpy_helper.from_array(small, stored))
        kept.append(numpy_helper.from_array(scale.astype(np.float32), f"{stored}/scale"))
        inputs = [stored, f"{stored}/scale"]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [tensor.name], axis=0))
    nodes += graph.node
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    return made


def finished(model: ModelProto, metadata: Mapping[str, str]) -> bytes:
    """The bytes of a file. Raises ValueError where the graph is no valid ONNX."""
    made = ModelProto()
    made.CopyFrom(model)
    made.producer_name, made.producer_version = "cocosnet_hf", metadata["version"]
    helper.set_model_props(made, dict(metadata))
    onnx.checker.check_model(made)
    return made.SerializeToString()
