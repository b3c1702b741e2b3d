"""A condition as a picture, for systems that translate between two domains of pictures."""

import torch
from torch import Tensor

GOLDEN = 0.618034
"""Turn of the hue from one channel to the next: hues so turned stay apart, however many."""


def drawn(condition: Tensor) -> Tensor:
    """Conditions (B, K, H, W) in 0..1 as pictures (B, 3, H, W) in [-1, 1], on black.

    Each channel in its own colour of `channel_colors`; where several are on, colours add up to at
    most white.
    """
    colors = channel_colors(condition.shape[1]).to(condition)
    return torch.einsum("bkhw,kc->bchw", condition, colors).clamp(0, 1) * 2 - 1


def channel_colors(count: int) -> Tensor:
    """(count, 3) in 0..1: red, green and blue of three, so that a picture is drawn as itself.

    Of any other number bright hues, each third of them darker.
    """
    if count == 3:
        return torch.eye(3)
    number = torch.arange(count)
    hue = (number * GOLDEN % 1)[:, None] + torch.tensor([0.0, 2 / 3, 1 / 3])
    bright = (6 * (hue % 1 - 0.5).abs() - 1).clamp(0, 1)
    return (0.25 + 0.75 * bright) * (1 - 0.25 * (number % 3))[:, None]
