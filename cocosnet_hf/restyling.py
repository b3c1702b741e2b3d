"""A picture in the look of another, region by region, by the contextual loss alone.

Semantic style transfer of Mechrez et al. 2018, section 4.1: nothing is trained but
the picture itself. What finds that a region of one picture is like a region of another are features
of a perceptual network, wherever the two lie. A network that does the same in one pass, and for the
paper's other uses, is `cocosnet_hf.systems.contextual`.

Decided where the paper leaves it open: bandwidths are 0.1 for content and style, as their authors
use them; maps with more than `POSITIONS` positions are compared at as many that are drawn anew in
each step, the same of both pictures where they are of one size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .call_inputs import InputReader
from .conditions import PictureCondition
from .losses import contextual_loss
from .models.network import size_of
from .models.perceptual import PerceptualNetwork
from .pictures import Picture, to_image

STYLE_LAYERS = ("relu2_1", "relu3_1", "relu4_1")
"""Joined to one map, in which the styles of two pictures are compared."""
CONTENT_LAYERS = ("relu4_2",)
POSITIONS = 65**2
"""Of a map, at most; more would cost their square."""
STRIDE = 16
"""Pixels of which the sides of a picture are multiples: of the deepest map's positions."""

loss_of_maps = partial(contextual_loss, form="original", centering="channel", epsilon=1e-5)
"""The contextual loss of Mechrez et al. 2018 of two maps (B, C, h, w) and (B, C, h', w')."""


def semantic_style_transfer(
    content: Picture,
    style: Picture,
    network: PerceptualNetwork,
    *,
    steps: int = 300,
    bandwidth: float = 0.1,
    style_weight: float = 1.0,
    content_weight: float = 0.5,
    variation_weight: float = 1e-4,
    rate: float = 5.0,
    size: int = 256,
    positions: int = POSITIONS,
    seed: int = 0,
) -> Image.Image:
    """`content`, in which each region looks like the region of `style` that it is most like.

    content, style: pictures as `cocosnet_hf.conditions.open_photo` takes them, of any sizes, both
    resized to a shorter side of about `size`. network: whose features say what is alike; it
    decides the device. steps: of Adam on the picture, which begins as the content. rate: its
    learning rate, on a scale of 0..255. bandwidth: of the contextual loss; a larger one asks
    less for a match. The weights: of the loss to the style, of that to the content, and of the sum
    of squared differences of neighbours. positions: of a map that are compared at most; fewer cost
    their square less and match more coarsely. seed: which draws them.
    Raises ValueError for pictures that cannot be read and numbers that mean nothing.
    """
    if steps < 1 or not rate > 0:
        raise ValueError(f"steps must be 1 or more and rate above 0, got {steps} and {rate}.")
    if min(style_weight, content_weight, variation_weight) < 0 or not style_weight:
        raise ValueError(
            f"weights must be 0 or more, that of the style above, got {style_weight}, "
            f"{content_weight} and {variation_weight}."
        )
    read = InputReader(PictureCondition(), STRIDE, (size, size))
    weights = next(network.parameters())
    first, look = (
        (read.encode(picture, None, None)[None] * 2 - 1).to(weights) for picture in (content, style)
    )
    layers = [*STYLE_LAYERS, *CONTENT_LAYERS]
    with torch.no_grad():
        wanted, kept = joined(network(look, STYLE_LAYERS)), joined(network(first, CONTENT_LAYERS))
    draw = torch.Generator().manual_seed(seed)
    picture = first.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([picture], rate / 127.5)
    for _ in range(steps):
        features = network(picture, layers)
        styled = joined({name: features[name] for name in STYLE_LAYERS})
        held = joined({name: features[name] for name in CONTENT_LAYERS})
        loss = style_weight * loss_of_maps(
            *sampled(styled, wanted, draw, positions), bandwidth=bandwidth
        )
        if content_weight:
            loss = loss + content_weight * loss_of_maps(
                *sampled(held, kept, draw, positions), bandwidth=bandwidth
            )
        loss = loss + variation_weight * total_variation(picture)
        (picture.grad,) = torch.autograd.grad(loss, picture)
        optimizer.step()
        with torch.no_grad():
            picture.clamp_(-1, 1)
    return to_image(picture[0].detach().float().cpu())


def joined(features: Mapping[str, Tensor]) -> Tensor:
    """Maps (B, C_l, h_l, w_l) as one (B, sum of C_l, h, w) of the first's size.

    Each is divided by its number of channels, so that one with many does not outweigh the others.
    """
    maps = list(features.values())
    size = size_of(maps[0])
    return torch.cat(
        [F.interpolate(one.float(), size, mode="bilinear") / one.shape[1] for one in maps], dim=1
    )


def sampled(
    x: Tensor, y: Tensor, generator: torch.Generator | None = None, positions: int = POSITIONS
) -> tuple[Tensor, Tensor]:
    """Two maps (B, C, h, w) at `positions` places each, as (B, C, n, 1); smaller ones as they are.

    The same places of both if they are of one size. generator: which draws them, on the CPU.
    """
    places: dict[Sequence[int], Tensor] = {}
    found = []
    for one in (x, y):
        size = size_of(one)
        if size[0] * size[1] <= positions:
            found.append(one)
            continue
        if size not in places:
            order = torch.randperm(size[0] * size[1], generator=generator)
            places[size] = order[:positions].to(one.device)
        found.append(one.flatten(2)[:, :, places[size], None])
    return found[0], found[1]


def total_variation(picture: Tensor) -> Tensor:
    """The sum of squared differences of neighbours on a scale of 0..1, (B, C, H, W) in [-1, 1]."""
    half = picture / 2
    down, across = half.diff(dim=2), half.diff(dim=3)
    return down.square().sum() + across.square().sum()
