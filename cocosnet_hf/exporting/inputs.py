"""What a call of the pipeline is given, as the arrays that an exported graph takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..matched_inputs import CallInputs, MatchedInputReader
from ..models.network import size_of
from ..pipeline import CoCosPipeline
from ..prepared import ExemplarPhotos, broadcast
from .graphs import in_pixels


def graph_inputs(
    pipe: CoCosPipeline,
    condition: Any,
    exemplar: Any,
    exemplar_condition: Any = None,
    *,
    strength: float = 0.5,
    generator: torch.Generator | None = None,
    **others: Any,
) -> dict[str, np.ndarray]:
    """The inputs of a pipeline's exported graph by name, float32, for the arguments of its call.

    With them `whole.onnx` paints what the call paints; where guides move the exemplar, these are
    among them. They need torch, and graphs do not: save them with `numpy.savez`, for `paint.py`.
    A picture larger than the networks learned is painted at the size that they learned.
    Raises ValueError as the call does, for others of its arguments, and for exemplars of which a
    condition has several, which are prepared or differ in size.
    """
    if others:
        raise ValueError(
            f"an exported graph takes no {', '.join(others)}; leave that out, or call the pipeline."
        )
    reader = MatchedInputReader(
        pipe.condition,
        pipe.stride,
        pipe.learned_size,
        pipe.correspondence,
        pipe.config.matching_scale,
    )
    given = reader.read(condition, exemplar, exemplar_condition, None, None, None, None)
    exemplars = given.exemplars
    if not isinstance(exemplars, ExemplarPhotos):
        raise ValueError(
            "an exported graph prepares exemplars itself, got prepared ones; pass the photos."
        )
    if max(given.exemplar_counts) > 1:
        raise ValueError(
            f"an exported graph takes one exemplar for each condition, got "
            f"{max(given.exemplar_counts)}; choose one, or call the pipeline."
        )
    photos = [photo for (photo,) in exemplars.photos]
    sizes = {size_of(photo) for photo in photos}
    if len(sizes) > 1:
        raise ValueError(
            f"exemplars of a batch must have one size for an exported graph, got {sorted(sizes)}; "
            f"resize them, or run it once for each."
        )
    matched = reader.matched_size(photos[0])
    size = tuple(side * pipe.config.matching_scale for side in matched)
    photo = torch.stack(photos)
    if size_of(photo) != size:
        photo = F.interpolate(photo, size, mode="bilinear", antialias=True)
    made = {
        "condition": torch.stack(given.conditions),
        "matched_condition": torch.stack(given.matched),
        "exemplar": (photo + 1) / 2,
    }
    grid = (matched[0] // pipe.correspondence.stride, matched[1] // pipe.correspondence.stride)
    if own := [one for (one,) in exemplars.conditions if one is not None]:
        made["exemplar_condition"] = torch.stack(own)
    elif pipe.correspondence.config.mix_condition:
        shape = (len(photos), pipe.condition.channels, *grid)
        made["noise"] = torch.randn(shape, generator=generator)
    if reader.is_guided:
        made |= _guides(pipe, given, exemplars, grid)
    arrays = {
        name: value.expand(given.batch, -1, -1, -1).float().numpy() for name, value in made.items()
    }
    return arrays | {"strength": np.array(strength, np.float32)}


def _guides(
    pipe: CoCosPipeline, given: CallInputs, exemplars: ExemplarPhotos, grid: tuple[int, int]
) -> dict[str, Tensor]:
    """Both inputs `GUIDES`."""
    stride = pipe.correspondence.stride
    height, width = size_of(given.matched[0])
    sizes = {
        "guide": size_of(given.conditions[0]),
        "guide_cells": (height // stride, width // stride),
    }
    guides = [
        None if own is None or other is None else pipe.condition.guide(own, other, grid)
        for own, (other,) in zip(
            broadcast(given.landmarks, given.batch),
            broadcast(exemplars.landmarks, given.batch),
            strict=True,
        )
    ]
    pixels = stride * pipe.config.matching_scale

    def placed(size: tuple[int, int]) -> Tensor:
        nowhere = torch.full((*size, 2), torch.nan)
        places = [nowhere if guide is None else guide(size) for guide in guides]
        return in_pixels(torch.stack(places).movedim(-1, 1), pixels)

    return {name: placed(size) for name, size in sizes.items()}
