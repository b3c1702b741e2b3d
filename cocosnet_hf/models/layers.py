"""The blocks of the rivals' networks: convolutions with a norm by name, residual bodies."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .norms import make_norm


def start_normal(module: nn.Module, deviation: float = 0.02) -> None:
    """Start every convolution below at N(0, deviation) with zero bias, in place."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(part.weight, std=deviation)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


class ConvBlock(nn.Sequential):
    """Convolution with mirrored borders, norm, ReLU: c7s1 or d of the residual generators.

    doubles: the transposed 3x3 convolution that doubles the size instead: u.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        norm: str,
        kernel_size: int = 3,
        stride: int = 1,
        doubles: bool = False,
    ):
        bias = norm == "none"  # any norm that is used here takes the mean away again
        conv: nn.Module
        if doubles:
            conv = nn.ConvTranspose2d(
                in_channels, out_channels, 3, 2, padding=1, output_padding=1, bias=bias
            )
        else:
            conv = nn.Conv2d(
                in_channels,
                out_channels,
                kernel_size,
                stride,
                kernel_size // 2,
                bias=bias,
                padding_mode="reflect",
            )
        super().__init__(conv, make_norm(norm, out_channels), nn.ReLU(inplace=True))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a norm each, a ReLU between them and none behind the sum: R."""

    def __init__(self, channels: int, norm: str):
        super().__init__()
        bias = norm == "none"
        self.first = ConvBlock(channels, channels, norm)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=bias, padding_mode="reflect")
        self.norm = make_norm(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, h, w); the same shape comes back."""
        return x + self.norm(self.second(self.first(x)))


class ResidualBody(nn.Module):
    """c7s1, n halvings, residual blocks, n doublings: a map of the input's size.

    Johnson et al. 2016, as pix2pixHD and CycleGAN use it. channels: width at full size, doubled
    with each halving. The output has as many.
    """

    def __init__(self, in_channels: int, channels: int, halvings: int, blocks: int, norm: str):
        super().__init__()
        widths = [channels * 2**step for step in range(halvings + 1)]
        self.down = nn.Sequential(
            ConvBlock(in_channels, channels, norm, kernel_size=7),
            *(ConvBlock(width, 2 * width, norm, stride=2) for width in widths[:-1]),
        )
        self.up = nn.Sequential(
            *(ResidualBlock(widths[-1], norm) for _ in range(blocks)),
            *(ConvBlock(2 * width, width, norm, doubles=True) for width in widths[-2::-1]),
        )

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), H and W multiples of 2^n; returns (B, channels, H, W).

        added: a map of the size and width of the coarsest, which joins it by addition.
        """
        x = self.down(x)
        return self.up(x if added is None else x + added)


class PictureConv(nn.Conv2d):
    """The 7x7 convolution, with mirrored borders, that makes a picture or a map of a body's."""

    def __init__(self, in_channels: int, out_channels: int = 3):
        super().__init__(in_channels, out_channels, 7, padding=3, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W), 4 or more pixels high and wide; the result is in [-1, 1]."""
        return torch.tanh(super().forward(x))


def halved(x: Tensor) -> Tensor:
    """(B, C, H, W) at half the size: means of 3x3 windows, of what lies inside at the borders."""
    return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
