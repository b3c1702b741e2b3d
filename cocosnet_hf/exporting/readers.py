"""The networks that read photos, masks and edges as ONNX graphs."""

from __future__ import annotations

import numpy as np
import onnxruntime
import torch

from .. import __version__
from ..models.person import PersonNetwork
from ..models.scene import SceneNetwork
from .onnx_files import finished, recorded, with_weights

LEAST_ALIKE = 0.98
"""Share of the places of a random picture at which a graph must see what its network sees."""


def reader_file(network: SceneNetwork) -> bytes:
    """A network as an ONNX file with weights in float16: `images` (B, 3, H, W) in [-1, 1] in.

    H and W are multiples of 16. Out come `classes`, and of a `PersonNetwork` `joints`. Raises
    ValueError where the graph does not see what the network sees.
    """
    outputs = ["classes", *(["joints"] if isinstance(network, PersonNetwork) else [])]
    example = torch.zeros(2, 3, 5 * 16, 7 * 16)
    axes = {"images": {0: "batch", 2: "height", 3: "width"}}
    graph = recorded(network.eval(), (example,), ["images"], outputs, axes)
    file = finished(with_weights(graph, "fp16"), {"version": __version__})
    images = torch.rand(1, 3, 12 * 16, 6 * 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    seen = session.run(["classes"], {"images": images.numpy()})[0].argmax(1)
    with torch.inference_mode():
        found = network(images)
    classes = found.classes if isinstance(network, PersonNetwork) else found
    alike = float(np.mean(seen == classes.argmax(1).numpy()))
    if alike < LEAST_ALIKE:
        raise ValueError(
            f"the graph of a {type(network).__name__} sees at {alike:.1%} of the places what the "
            f"network sees, expected {LEAST_ALIKE:.0%}; use another version of onnxruntime."
        )
    return file
