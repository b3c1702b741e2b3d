"""SPADE's generator, and the image encoder that gives it a style."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .blocks import LEAKY_SLOPE, SPADEResidualBlock, conv2d, leaky_relu_
from .conv_blocks import UNBIASED
from .network import Network, require_channels, require_stride, require_style
from .norms import make_norm


class SPADEGenerator(Network):
    """SPADE blocks from a style, or from the smallest condition, up to the picture.

    Park et al. 2019, appendix A; 96.5 million weights without a style and 151 classes.

    condition_channels: K of the condition. channels: width after the blocks at strides 2^(n-1),
    ..., 2, 1, coarse to fine; the second coarsest stride has two blocks. spade_channels: hidden
    width of each SPADE. style_channels: entries of a style, 0 for a generator without. start:
    height and width of the map that a style becomes; the nearest of its positions at other sizes.
    norm: what the SPADEs modulate, by its name in `cocosnet_hf.models.norms`; the paper's is
    "sync_batch".
    """

    recomputed = (SPADEResidualBlock,)

    @register_to_config
    def __init__(
        self,
        condition_channels: int,
        channels: Sequence[int] = (1024, 1024, 512, 256, 128, 64),
        spade_channels: int = 128,
        style_channels: int = 256,
        start: Sequence[int] = (8, 8),
        norm: str = "sync_batch",
    ):
        super().__init__()
        if len(channels) < 2:
            raise ValueError(
                f"channels must name the widths of at least 2 strides, got {tuple(channels)}."
            )
        self.stride = 2 ** (len(channels) - 1)
        self.first: nn.Module
        if style_channels:
            height, width = start
            self.first = nn.Linear(style_channels, channels[0] * height * width)
            nn.init.xavier_normal_(self.first.weight, gain=0.02)
            nn.init.zeros_(self.first.bias)
        else:
            self.first = conv2d(condition_channels, channels[0], 3, padding=1)
        widths = [channels[0], channels[0], channels[1], channels[1], *channels[2:]]
        self.blocks = nn.ModuleList(
            SPADEResidualBlock(*width, condition_channels, spade_channels, norm)
            for width in pairwise(widths)
        )
        self.output_conv = conv2d(channels[-1], 3, 3, padding=1)

    def forward(self, condition: Tensor, style: Tensor | None = None) -> Tensor:
        """Paint the picture: (B, K, H, W) -> (B, 3, H, W) in [-1, 1].

        H and W multiples of `stride`. style (B, S), if and only if it was made for one. Raises
        ValueError for other shapes.
        """
        require_channels("condition", condition, self.config.condition_channels)
        require_stride("condition", condition, self.stride)
        require_style(style, len(condition), self.config.style_channels)
        height, width = (side // self.stride for side in condition.shape[-2:])
        if style is None:
            x = self.first(F.interpolate(condition, size=(height, width), mode="nearest"))
        else:
            x = self.first(style).unflatten(1, (-1, *self.config.start))
            x = F.interpolate(x, size=(height, width), mode="nearest")
        for index, block in enumerate(self.blocks):
            # The coarsest stride has one block, the next one two.
            x = block(x, condition, upsample=index not in (0, 2))
        return torch.tanh(self.output_conv(leaky_relu_(x)))


class ImageEncoder(Network):
    """A photo as a Gaussian over styles.

    Park et al. 2019, appendix A.

    style_channels: entries of a style. channels: widths of the n layers, each of which halves.
    image_size: side to which photos are resized first, a multiple of 2^n. norm: behind each
    convolution, by its name in `cocosnet_hf.models.norms`, without a learned scale.
    """

    @register_to_config
    def __init__(
        self,
        style_channels: int = 256,
        channels: Sequence[int] = (64, 128, 256, 512, 512, 512),
        image_size: int = 256,
        norm: str = "instance",
    ):
        super().__init__()
        bias = norm not in UNBIASED
        side = image_size // 2 ** len(channels)
        if side < 2 or side * 2 ** len(channels) != image_size:
            raise ValueError(
                f"image_size must be a multiple of {2 ** len(channels)} from "
                f"{2 ** (len(channels) + 1)} on for {len(channels)} layers, got {image_size}."
            )
        self.layers = nn.ModuleList(
            nn.Sequential(
                conv2d(*width, 3, stride=2, padding=1, bias=bias, spectral=True),
                make_norm(norm, width[1]),
                nn.LeakyReLU(LEAKY_SLOPE),
            )
            for width in pairwise([3, *channels])
        )
        self.heads = nn.Linear(channels[-1] * side * side, 2 * style_channels)
        nn.init.xavier_normal_(self.heads.weight, gain=0.02)
        nn.init.zeros_(self.heads.bias)

    def forward(self, exemplar: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the styles, (B, S) each, of photos (B, 3, H, W) in [-1, 1].

        Raises ValueError for other channels.
        """
        require_channels("exemplar", exemplar, 3)
        side = self.config.image_size
        x = F.interpolate(exemplar, size=(side, side), mode="bilinear", align_corners=False)
        for layer in self.layers:
            x = layer(x)
        mean, log_variance = self.heads(x.flatten(1)).chunk(2, dim=1)
        return mean, log_variance
