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

from ..conditions import Pose
from ..conditions.joints import JOINTS
from ..models.network import size_of
from ..pipeline import CoCosPipeline, CoCosPipelineOutput
from .graphs import in_pixels
from .inputs import graph_inputs

LEAST_DECIBELS = {"fp32": 60.0, "fp16": 40.0, "int8": 40.0}
"""Peak signal-to-noise ratio that the pictures must keep with each form of the weights, where both
look at the same places of the exemplar."""

MOST_MOVED = {"fp32": 0.002, "fp16": 0.02, "int8": 0.02}
"""Share of positions that may look more than a cell away from where the pipeline looks: where two
places correlate alike, rounding decides, and neighbours may follow."""

SAME, MARGIN, LEAST_SETTLED = 0.5, 2, 0.9
"""Pixels within which two places are the same; cells around others whose pixels are not compared;
share of the pixels that must be compared, else all are."""


@dataclass(frozen=True)
class Agreement:
    """How near a graph is to its pipeline.

    decibels: peak signal-to-noise ratio of the pictures, in 0..1; settled_decibels: of them where
    both look at the same places; warped_decibels: of the warped exemplars; moved: share of
    positions that look more than a cell away; confidence: largest difference.
    """

    decibels: float
    settled_decibels: float
    warped_decibels: float
    moved: float
    confidence: float

    def __str__(self) -> str:
        return (
            f"pictures {self.decibels:.1f} dB, where both look at the same places "
            f"{self.settled_decibels:.1f} dB, warped exemplars {self.warped_decibels:.1f} dB, "
            f"{self.moved:.2%} of positions moved by more than a cell, confidence within "
            f"{self.confidence:.1e}"
        )

    def require(self, dtype: str, what: str) -> None:
        """Raise ValueError where it is not as near as the form of its weights has to be."""
        decibels, moved = LEAST_DECIBELS[dtype], MOST_MOVED[dtype]
        if self.settled_decibels < decibels or self.moved > moved:
            raise ValueError(
                f"{what} does not paint what the pipeline paints: {self}; expected at least "
                f"{decibels:g} dB where both look at the same places, and at most {moved:.1%} of "
                f"positions moved. Export in a finer --dtype."
            )


@dataclass(frozen=True)
class Trial:
    """One call, of a pipeline and of a graph.

    arguments: of the call, without its generator.
    """

    pipe: CoCosPipeline
    arguments: Mapping[str, Any]
    seed: int = 0

    def inputs(self) -> dict[str, np.ndarray]:
        """Of the graph, by name."""
        return graph_inputs(self.pipe, **self.arguments, generator=self._generator())

    def output(self) -> CoCosPipelineOutput:
        """Of the pipeline, as tensors."""
        return self.pipe(**self.arguments, generator=self._generator(), output_type="pt")

    def agreement(self, painted: Mapping[str, np.ndarray]) -> Agreement:
        """Of the graph's outputs by name with what the pipeline makes of the call."""
        out = self.output()
        pixels = out.matching.stride
        flow = out.matching.flow() if out.flow is None else in_pixels(out.flow.position, pixels)
        away = (torch.from_numpy(painted["flow"]).movedim(1, -1) - flow).abs().amax(-1)
        confidence = out.matching.confidence() - torch.from_numpy(painted["confidence"])
        picture, expected = torch.from_numpy(painted["image"]), torch.as_tensor(out.images)
        settled = settled_pixels(away > SAME, size_of(expected)).expand_as(expected)
        return Agreement(
            _decibels(painted["image"], out.images),
            _decibels(picture[settled].numpy(), expected[settled]),
            _decibels(painted["warped_exemplar"], out.warped_exemplars),
            (away > pixels).float().mean().item(),
            confidence.abs().max().item(),
        )

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


def settled_pixels(elsewhere: Tensor, size: tuple[int, int]) -> Tensor:
    """The pixels (B, 1, *size) that are compared, bool: those `MARGIN` cells off positions that
    look elsewhere, (B, h, w) bool; all where these are too few.
    """
    near = F.max_pool2d(elsewhere[:, None].float(), 2 * MARGIN + 1, 1, MARGIN)
    settled = F.interpolate(near, size) == 0
    return settled if settled.float().mean() >= LEAST_SETTLED else torch.ones_like(settled)


def random_trial(
    pipe: CoCosPipeline, size: tuple[int, int], own_size: tuple[int, int], batch: int, seed: int
) -> Trial:
    """Exemplars and masks of soft patches, and random poses, which guide."""
    generator = torch.Generator().manual_seed(seed)

    def patches(channels: int, size: tuple[int, int]) -> Tensor:
        small = [max(2, side // 8) for side in size]
        noise = torch.rand(batch, channels, *small, generator=generator)
        return F.interpolate(noise, size, mode="bicubic").clamp(0, 1)

    def layouts(size: tuple[int, int]) -> Any:
        if pipe.condition.has_joints:
            joints = torch.rand(batch, len(JOINTS), 2, generator=generator)
            return [
                Pose.from_array((each * torch.tensor(size[::-1])).numpy(), size) for each in joints
            ]
        channels = pipe.condition.channels
        drawn = patches(channels, size)
        if channels < 3:
            return drawn
        return F.one_hot(drawn.argmax(1), channels).movedim(-1, 1).float()

    arguments = {"condition": layouts(size), "exemplar": patches(3, own_size)}
    if pipe.takes_exemplar_condition:
        arguments["exemplar_condition"] = layouts(own_size)
    if pipe.correspondence.is_coherent:
        arguments["strength"] = torch.rand((), generator=generator).item()
    scale = pipe.config.matching_scale
    # Of this size, as a pipeline brings others to the one that it learned.
    own = CoCosPipeline(
        pipe.correspondence, pipe.translation, pipe.condition, *size, matching_scale=scale
    )
    own.set_progress_bar_config(disable=True)
    return Trial(own, arguments, seed)


def _decibels(found: np.ndarray, expected: Any) -> float:
    error = np.square(found.astype(float) - np.asarray(expected)).mean()
    return 10 * math.log10(1 / max(error, 1e-12))
