"""Exported graphs beside the pipeline that they came from, on the same inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..pipeline import CoCosPipeline

LEAST_DECIBELS = {"fp32": 60.0, "fp16": 40.0, "int8": 30.0}
"""Peak signal-to-noise ratio of the pictures that each form of the weights must keep."""

MOST_MOVED = {"fp32": 0.002, "fp16": 0.02, "int8": 0.02}
"""Share of positions that may look more than a cell away from where the pipeline looks: where two
places correlate alike, rounding decides, and neighbours may follow."""


@dataclass(frozen=True)
class Agreement:
    """How near a graph is to its pipeline.

    decibels: peak signal-to-noise ratio of the pictures, in 0..1; warped_decibels: of the warped
    exemplars; moved: share of positions that look more than a cell away; confidence: largest
    difference.
    """

    decibels: float
    warped_decibels: float
    moved: float
    confidence: float

    def __str__(self) -> str:
        return (
            f"pictures {self.decibels:.1f} dB, warped exemplars {self.warped_decibels:.1f} dB, "
            f"{self.moved:.2%} of positions moved by more than a cell, confidence within "
            f"{self.confidence:.1e}"
        )

    def require(self, dtype: str, what: str) -> None:
        """Raise ValueError where it is not as near as the form of its weights has to be."""
        decibels, moved = LEAST_DECIBELS[dtype], MOST_MOVED[dtype]
        if self.decibels < decibels or self.moved > moved:
            raise ValueError(
                f"{what} does not paint what the pipeline paints: {self}; expected at least "
                f"{decibels:g} dB and at most {moved:.1%} of positions moved. Export in a finer "
                f"--dtype."
            )


def random_inputs(
    pipe: CoCosPipeline, size: tuple[int, int], own_size: tuple[int, int], batch: int, seed: int
) -> dict[str, Tensor]:
    """Inputs of every name that a graph may have: soft patches of colour and of classes."""
    generator = torch.Generator().manual_seed(seed)

    def patches(channels: int, size: tuple[int, int]) -> Tensor:
        small = [max(2, side // 8) for side in size]
        noise = torch.rand(batch, channels, *small, generator=generator)
        return F.interpolate(noise, size, mode="bicubic").clamp(0, 1)

    channels = pipe.condition.channels
    condition, own = (
        patches(channels, each)
        if channels < 3
        else F.one_hot(patches(channels, each).argmax(1), channels).movedim(-1, 1).float()
        for each in (size, own_size)
    )
    noise = torch.randn(
        batch, channels, *(side // 4 for side in own_size), generator=_noise_of(seed)
    )
    return {
        "condition": condition,
        "exemplar": patches(3, own_size),
        "exemplar_condition": own,
        "noise": noise,
        "strength": torch.rand((), generator=generator),
    }


def _noise_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed + 1)


@torch.no_grad()
def agreement(
    pipe: CoCosPipeline, painted: Mapping[str, np.ndarray], inputs: Mapping[str, Tensor], seed: int
) -> Agreement:
    """Of a graph's outputs by name with what the pipeline makes of the same `random_inputs`."""
    height, width = inputs["condition"].shape[-2:]
    scale = pipe.config.matching_scale
    # Set to this size, as it would bring others to the one that it learned.
    other = CoCosPipeline(
        pipe.correspondence, pipe.translation, pipe.condition, height, width, matching_scale=scale
    )
    other.set_progress_bar_config(disable=True)
    own = [list(inputs["exemplar_condition"])] if pipe.needs_exemplar_condition else []
    knobs: dict[str, Any] = {"strength": inputs["strength"].item()} if "blend" in painted else {}
    out = other(
        list(inputs["condition"]),
        list(inputs["exemplar"]),
        *own,
        generator=_noise_of(seed),
        output_type="pt",
        **knobs,
    )
    flow = out.matching.flow()
    pixels = out.matching.stride
    if out.flow is not None:
        flow = out.flow.position * pixels + (pixels - 1) / 2
    away = (torch.from_numpy(painted["flow"]).movedim(1, -1) - flow).abs().amax(-1)
    confidence = out.matching.confidence() - torch.from_numpy(painted["confidence"])
    return Agreement(
        _decibels(painted["image"], out.images),
        _decibels(painted["warped_exemplar"], out.warped_exemplars),
        (away > pixels).float().mean().item(),
        confidence.abs().max().item(),
    )


def _decibels(found: np.ndarray, expected: Any) -> float:
    error = np.square(found.astype(float) - np.asarray(expected)).mean()
    return 10 * math.log10(1 / max(error, 1e-12))
