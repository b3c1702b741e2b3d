"""The formulas as they are written down, N x N matrices and all.

What the library computes in chunks and fused kernels is here in a few plain lines each: the
oracle of the tests and the other side of the benchmarks. `use_reference` hands these forms to
networks, one by one; nothing else sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .models.blocks import SPADE, SelfAttention
from .models.correspondence import CorrespondenceNetwork
from .models.inference import FoldedShortcut

EPSILON = torch.finfo(torch.float64).eps


def normalized_patches(features: Tensor, size: int) -> Tensor:
    """(B, C, h, w) to centred patches of unit length, zeros outside: (B, h w, C size^2)."""
    patches = F.unfold(features, size, padding=size // 2)
    patches = patches - patches.mean(dim=1, keepdim=True)
    return (patches / (patches.norm(dim=1, keepdim=True) + EPSILON)).mT


def correlation(content: Tensor, style: Tensor, patch_size: int = 3) -> Tensor:
    """M (B, N, N') of Zhang et al. 2020, equation 2, between patches of two maps, all at once."""
    rows, columns = (normalized_patches(x.float(), patch_size) for x in (content, style))
    return rows @ columns.mT


def seen_through(
    shares: Tensor, values: Tensor, size: Sequence[int], source: Sequence[int], patches: bool
) -> Tensor:
    """values (B, V, s h', s w') at the positions `source` = (h', w'), seen from `size` = (h, w).

    shares (B, h w, h' w'). Returns (B, V, h, w), or with patches (B, V, s h, s w).
    """
    scale = values.shape[-1] // source[-1]
    if patches:
        seen = (shares @ F.unfold(values, scale, stride=scale).mT).mT
        return F.fold(seen, tuple(side * scale for side in size), kernel_size=scale, stride=scale)
    seen = (shares @ F.avg_pool2d(values, scale).flatten(2).mT).mT
    return seen.unflatten(2, tuple(size))


class ReferenceMatching:
    """`Matching` of one exemplar for each item: the whole matrix, and its softmax on both sides.

    content, style, patch_size, temperature and stride as there; other options are of no use here.
    """

    def __init__(
        self,
        content: Tensor,
        style: Tensor,
        *,
        patch_size: int = 3,
        temperature: float = 0.01,
        stride: int = 4,
        **_: Any,
    ):
        self.stride = stride
        self.content_size, self.style_size = content.shape[-2:], style.shape[-2:]
        with torch.autocast(content.device.type, enabled=False):
            self.logits = correlation(content, style, patch_size) / temperature

    @cached_property
    def shares(self) -> Tensor:
        """(B, N, N'), each row summing to 1."""
        return self.logits.softmax(dim=2)

    def warp(self, values: Tensor, patches: bool = False) -> Tensor:
        """As `Matching.warp`."""
        with torch.autocast(values.device.type, enabled=False):
            sizes = self.content_size, self.style_size
            return seen_through(self.shares, values.float(), *sizes, patches)

    def warp_back(self, values: Tensor) -> Tensor:
        """As `Matching.warp_back`."""
        with torch.autocast(values.device.type, enabled=False):
            shares = self.logits.softmax(dim=1).mT
            sizes = self.style_size, self.content_size
            return seen_through(shares, values.float(), *sizes, patches=False)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(query key^T) value for (B, N, E), (B, M, E), (B, M, V), as `blocks.attend`."""
    return (query @ key.mT).softmax(dim=-1) @ value


def contextual_loss(features: Tensor, exemplar_features: Tensor) -> Tensor:
    """`losses.contextual_loss` with its defaults, of (B, C, h, w) both; a scalar."""
    with torch.autocast(features.device.type, enabled=False):
        x, y = features.float(), exemplar_features.float()
        mean = y.mean(dim=1, keepdim=True)
        x, y = (F.normalize((z - mean).flatten(2), dim=1) for z in (x, y))
        distance = 1 - x.mT @ y
        relative = distance / (distance.amin(dim=2, keepdim=True) + 1e-3)
        shares = ((1 - relative) / 0.1).softmax(dim=2)
        return -shares.amax(dim=2).mean(dim=1).log().mean()


def use_reference(*networks: nn.Module) -> None:
    """Let these networks match, attend and modulate in the plain form, and no others."""
    for network in networks:
        if isinstance(network, CorrespondenceNetwork):
            network.matching_class = ReferenceMatching
        for module in network.modules():
            if isinstance(module, SelfAttention):
                module.attend = attend
            elif isinstance(module, (SPADE, FoldedShortcut)):
                module.in_chunks = False
