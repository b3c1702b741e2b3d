"""Terms that are not in the paper, for pictures that are sharp: known flows, and fine detail.

A class's mass in the softmax row, which the labels' term counts, does not grow when the row finds
the right place within the class: it says nothing against a row that spreads over all of it, and
what such a row warps is soft. Where places are known, the likelihood of the place itself is better.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .coherence import CoherentFlow
from .matching import Matching

FAINT_SLOPE, CLEAR_SLOPE = 0.08, 0.3
"""Sobel's gradients below which Canny's detector, as `EdgeCondition` has it, sees nothing (it asks
for 0.1), and above which it sees a line (0.2)."""

BORDER = 4
"""Pixels along the border of a window whose lines depend on what lies beyond."""

GREY = torch.tensor([0.299, 0.587, 0.114])
"""Shares of red, green and blue in a grey value (ITU-R BT.601, as Pillow has it)."""

SMALL = 1e-6
"""Keeps the gradient of a root finite where nothing changes."""


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


def line_consistency_loss(output: Tensor, found: Tensor, wanted: Tensor) -> Tensor:
    """How far the lines in a picture are from those that were asked for, pixel by pixel.

    The condition is read from what was painted, and where the two differ the picture is told: a
    line that nobody asked for is to fade, one that is missing to be drawn. Cycle consistency of the
    condition (Li et al. 2024, ControlNet++), there by a network that passes a gradient on. Here the
    detector only says where, and the slope of the grey values says how much.

    output (B, 3, H, W) in -1..1; found, wanted (B, H, W) bool: the lines in it, and those of the
    condition. One pixel beside counts as on it, and a border of `BORDER` pixels is not looked at.
    Returns a scalar: about 1 - F1 of the lines times how far their slopes are off.
    """
    found, wanted = (each.to(output.device)[:, None].float() for each in (found, wanted))
    slope = _slope(output.float())
    unasked = found * (1 - F.max_pool2d(wanted, 3, 1, 1))
    missing = wanted * (1 - F.max_pool2d(found, 3, 1, 1))
    strongest = F.max_pool2d(slope, 3, 1, 1)
    # A logarithm: faint lines that are too much count about as much as strong ones.
    wrong = unasked * (slope / FAINT_SLOPE).log().relu()
    wrong = wrong + missing * (CLEAR_SLOPE / strongest).log().relu()
    wrong, there = (
        each[..., BORDER:-BORDER, BORDER:-BORDER].sum() for each in (wrong, found + wanted)
    )
    return wrong / there.clamp_min(1)


def _slope(pictures: Tensor) -> Tensor:
    """Sobel's gradient of the softened grey values in 0..1, (B, 1, H, W)."""
    grey = (pictures * GREY.to(pictures)[:, None, None]).sum(1, keepdim=True) / 2
    places = torch.arange(-3.0, 4, device=grey.device)
    soft = (-places.square() / 2).exp()
    across = F.conv2d(
        F.pad(grey, (3, 3, 3, 3), mode="replicate"), (soft / soft.sum())[None, None, None]
    )
    grey = F.conv2d(across, (soft / soft.sum())[None, None, :, None])
    sobel = grey.new_tensor([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    gradients = F.conv2d(
        F.pad(grey, (1, 1, 1, 1), mode="replicate"), torch.stack([sobel, sobel.T])[:, None]
    )
    return (gradients.square().sum(1, keepdim=True) + SMALL).sqrt()


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
