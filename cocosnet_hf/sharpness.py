"""Terms that are not in the paper, for pictures that are sharp: known flows, and fine detail.

A class's mass in the softmax row, which the labels' term counts, does not grow when the row finds
the right place within the class: it says nothing against a row that spreads over all of it, and
what such a row warps is soft. Where places are known, the likelihood of the place itself is better.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .coherence import CoherentFlow
from .matching import Matching


def known_flow_losses(
    matching: Matching, flow: Tensor, is_self_pair: Tensor
) -> tuple[Tensor, Tensor]:
    """-mean log share of the right places: where they are exact, and where they are only likely.

    flow (B, 2, h, w): (x, y) in pixels of the exemplar as it was matched, NaN where unknown.
    is_self_pair (B,): 1 where the exemplar is the distorted photo itself, whose flow is exact.
    Returns two scalars, 0 where no place of its kind is known. Gradients reach what the matching
    was made from.
    """
    stride = matching.stride
    places = ((flow - (stride - 1) / 2) / stride).permute(0, 2, 3, 1)
    shares = matching.log_share(places)
    known = ~shares.isnan()
    chosen = (known & (is_self_pair > 0)[:, None, None], known & (is_self_pair == 0)[:, None, None])
    exact, likely = (-shares.where(mask, 0).sum() / mask.sum().clamp_min(1) for mask in chosen)
    return exact, likely


def flow_error(matching: Matching, flow: Tensor, is_self_pair: Tensor) -> tuple[float, float]:
    """Median distance, in cells, of the best matches from the places of `known_flow_losses`.

    For exact and for likely places; NaN where there is none.
    """
    found = matching.flow().permute(0, 3, 1, 2)
    distance = (found - flow).square().sum(1).sqrt() / matching.stride
    exact, likely = (
        distance[is_self_pair == kind].nanmedian().item()
        if (is_self_pair == kind).any()
        else float("nan")
        for kind in (1, 0)
    )
    return exact, likely


def laplacian_pyramid_loss(
    output: Tensor, target: Tensor, is_self_pair: Tensor, levels: int = 4
) -> Tensor:
    """sum_l 2^-l mean |L_l(output) - L_l(target)| over pairs of a photo with itself.

    L_l: the bands of a Laplacian pyramid (Burt and Adelson 1983), fine to coarse, the rest last,
    the finer the heavier: each band counts twice as much as the one below it. Both (B, 3, H, W);
    is_self_pair (B,). Returns a scalar, 0 without such pairs.
    """
    difference = (output.float() - target.detach().float()) * is_self_pair[:, None, None, None]
    total = _weighted_bands(difference, levels)
    return total * len(is_self_pair) / is_self_pair.sum().clamp_min(1)


def warp_fidelity_loss(
    output: Tensor, warped_exemplar: Tensor, agreement: Tensor | float = 1.0, levels: int = 4
) -> Tensor:
    """How far a picture is from the moved exemplar where that shows the very class asked for.

    Without it nothing but the discriminator says what a face looks like whose true photo is another
    person's, and a small one paints eyes as one dark bar. Both pictures (B, 3, H, W); agreement
    (B, 1, H, W) in 0..1: share of the moved class numbers that are the condition's; 1 for
    everywhere. Bands as in `laplacian_pyramid_loss`. Returns a scalar.
    """
    difference = (output.float() - warped_exemplar.detach().float()) * agreement
    return _weighted_bands(difference, levels)


def agreement_of(flow: CoherentFlow, moved: Tensor, wanted: Tensor, classes: int) -> Tensor:
    """Share of the moved class numbers that are the wanted ones, (B, 1, H, W) in 0..1.

    moved, wanted (B, H, W): class numbers of the exemplar and of the condition, below `classes`.
    """
    height, width = wanted.shape[-2:]
    masks = [F.one_hot(labels, classes).movedim(-1, 1).float() for labels in (moved, wanted)]
    return (flow.warp(masks[0], (height, width)) * masks[1]).sum(1, keepdim=True)


def _weighted_bands(difference: Tensor, levels: int) -> Tensor:
    total = difference.new_zeros(())
    for level in range(levels):
        coarse = F.avg_pool2d(difference, 2)
        band = difference - F.interpolate(coarse, size=difference.shape[-2:], mode="bilinear")
        total = total + band.abs().mean() / 2**level
        difference = coarse
    return total + difference.abs().mean() / 2**levels
