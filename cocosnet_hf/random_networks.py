"""A pipeline of random weights, and inputs for it, of which only the cost is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .models.inference import RAW_WEIGHT
from .pipeline import CoCosPipeline


@dataclass(frozen=True)
class Inputs:
    """One condition (1, K, H, W) and one exemplar (1, 3, H, W) with its condition."""

    condition: Tensor
    exemplar: Tensor
    exemplar_condition: Tensor | None


def build(preset: str, size: int, dtype: torch.dtype, device: str) -> tuple[CoCosPipeline, Inputs]:
    """A pipeline with random weights whose activations have ordinary sizes, and its inputs."""
    with torch.device("meta"):
        pipe = CoCosPipeline.from_preset(preset)
    generator = torch.Generator().manual_seed(0)
    for network in (pipe.correspondence, pipe.translation):
        network.to(dtype).to_empty(device="cpu")
        randomize(network, generator)
    channels = pipe.condition.channels
    classes = torch.randint(channels, (size // 16, size // 16), generator=generator)
    condition = F.one_hot(classes, channels).permute(2, 0, 1)[None].float()
    photo = torch.rand(1, 3, size // 32, size // 32, generator=generator) * 2 - 1
    condition = F.interpolate(condition, size=(size, size), mode="nearest").to(device, dtype)
    exemplar = F.interpolate(photo, size=(size, size), mode="bicubic").to(device, dtype)
    own = condition.flip(3) if pipe.correspondence.needs_exemplar_condition else None
    return pipe.to(device), Inputs(condition, exemplar, own)


@torch.no_grad()
def randomize(network: nn.Module, generator: torch.Generator) -> None:
    """Normal weights under which signals neither die out nor explode (official networks, 1.1)."""
    for name, parameter in network.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            gain = 4.0 if "style_encoder" in name else 0.4 if "output_conv" in name else 1.0
            parameter.copy_(drawn * gain * parameter[0].numel() ** -0.5)
        else:
            parameter.copy_(0.25 + 0.1 * drawn)
    for module in network.modules():
        if nn.utils.parametrize.is_parametrized(module, "weight"):
            weight = module.get_parameter(RAW_WEIGHT).flatten(1)
            norm: Any = module.get_submodule("parametrizations.weight.0")
            norm._u.copy_(F.normalize(torch.randn(norm._u.shape, generator=generator), dim=0))
            norm._v.copy_(F.normalize(weight.t() @ norm._u, dim=0))
