"""Convolutions with their norm and activation, as the systems beside CoCosNet stack them."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import LEAKY_SLOPE
from .norms import make_norm

Activation = Literal["relu", "leaky", "tanh", "none"]
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": partial(nn.ReLU, inplace=True),
    "leaky": partial(nn.LeakyReLU, LEAKY_SLOPE),
    "tanh": nn.Tanh,
    "none": nn.Identity,
}
UNBIASED = ("instance", "batch", "sync_batch")
"""Norms that take the mean of each channel away again: a bias before them would do nothing."""


def conv_block(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    doubles: bool = False,
    norm: str = "none",
    affine: bool = False,
    activation: Activation = "relu",
) -> nn.Sequential:
    """A convolution with mirrored borders, its norm by name and its activation.

    Of an odd kernel size it keeps the size, with stride 2 it halves it. doubles: the transposed
    convolution, of an odd kernel size, that doubles it instead. norm, affine: see
    `cocosnet_hf.models.norms.make_norm`.
    """
    border, bias = (kernel_size - 1) // 2, norm not in UNBIASED
    conv: nn.Module
    if doubles:
        conv = nn.ConvTranspose2d(
            in_channels, out_channels, kernel_size, 2, border, output_padding=1, bias=bias
        )
    else:
        mode: Literal["reflect", "zeros"] = "reflect" if border else "zeros"
        conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, border, bias=bias, padding_mode=mode
        )
    return nn.Sequential(conv, make_norm(norm, out_channels, affine), ACTIVATIONS[activation]())


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions of one width around a shortcut, the first with an activation."""

    def __init__(self, channels: int, norm: str = "instance", activation: Activation = "relu"):
        super().__init__()
        self.first = conv_block(channels, channels, 3, norm=norm, activation=activation)
        self.second = conv_block(channels, channels, 3, norm=norm, activation="none")

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, h, w) with sides of at least 2; the same shape comes back."""
        return x + self.second(self.first(x))


def halving_layers(
    in_channels: int,
    channels: int,
    halvings: int,
    blocks: int,
    *,
    kernel_size: int = 3,
    norm: str,
    activation: Activation = "relu",
    first: dict[str, Any] | None = None,
) -> nn.Sequential:
    """7x7, n halvings and residual blocks: (B, C, H, W) to (B, 2^n channels, H / 2^n, W / 2^n).

    channels: width at full size, doubled with each halving. kernel_size: of the halvings. first:
    what is different of the 7x7, its norm and activation.
    """
    widths = [channels * 2**level for level in range(halvings + 1)]
    kinds: dict[str, Any] = {"norm": norm, "activation": activation}
    return nn.Sequential(
        conv_block(in_channels, channels, 7, **kinds | (first or {})),
        *(conv_block(*pair, kernel_size, stride=2, **kinds) for pair in pairwise(widths)),
        *(ResidualBlock(widths[-1], **kinds) for _ in range(blocks)),
    )


def doubling_layers(
    channels: int, doublings: int, blocks: int, *, norm: str, activation: Activation = "relu"
) -> nn.Sequential:
    """What `halving_layers` halves back: residual blocks, n doublings, at the end `channels`."""
    widths = [channels * 2**level for level in reversed(range(doublings + 1))]
    kinds: dict[str, Any] = {"norm": norm, "activation": activation}
    return nn.Sequential(
        *(ResidualBlock(widths[0], **kinds) for _ in range(blocks)),
        *(conv_block(*pair, 3, doubles=True, **kinds) for pair in pairwise(widths)),
    )


class ResidualBody(nn.Module):
    """c7s1, n halvings, residual blocks, n doublings: a map of the input's size.

    Johnson et al. 2016, as pix2pixHD and CycleGAN use it. channels: width at full size, doubled
    with each halving. The output has as many.
    """

    def __init__(self, in_channels: int, channels: int, halvings: int, blocks: int, norm: str):
        super().__init__()
        self.down = halving_layers(in_channels, channels, halvings, 0, norm=norm)
        self.up = doubling_layers(channels, halvings, blocks, norm=norm)

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), H and W multiples of 2^n; returns (B, channels, H, W).

        added: a map of the size and width of the coarsest, which joins it by addition.
        """
        x = self.down(x)
        return self.up(x if added is None else x + added)


def halved(x: Tensor) -> Tensor:
    """(B, C, H, W) at half the size: means of 3x3 windows, of what lies inside at the borders."""
    return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)


NORMAL = partial(nn.init.normal_, std=0.02)


def init_weights_(module: nn.Module, draw: Callable[[Tensor], Any] = NORMAL) -> None:
    """Draw the weights of every convolution and linear layer; biases 0."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            draw(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
