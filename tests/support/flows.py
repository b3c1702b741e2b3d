"""Plain forms of what the coherent matching is made of."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf.nearest import CROWDING_TEMPERATURE

SIZE = 12


def grid(height: int = SIZE, width: int = SIZE) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y], dim=-1).float()


def plain_crowding(correlations: list[Tensor]) -> list[Tensor]:
    """(h', w') for each exemplar's places, from the whole correlations (h, w, h', w')."""
    logits = [each.flatten(2).flatten(0, 1) / CROWDING_TEMPERATURE for each in correlations]
    wanted = torch.cat(logits, dim=1).softmax(1).sum(0)
    crowding = CROWDING_TEMPERATURE * (wanted / wanted.mean()).log().clamp_min(0)
    parts = crowding.split([each.shape[1] for each in logits])
    return [part.view(each.shape[2:]) for part, each in zip(parts, correlations, strict=True)]


def normalized_patches(features: Tensor, size: int) -> Tensor:
    """(C, h, w) to centred patches of unit length, zeros outside, (h w, C size^2)."""
    patches = F.unfold(features[None], size, padding=size // 2)[0].t()
    return F.normalize(patches - patches.mean(1, keepdim=True), dim=1)


def same(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)
