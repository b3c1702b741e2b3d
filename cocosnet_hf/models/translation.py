"""The translation network: paints the picture from the warped exemplar.

Zhang et al. 2020, section 3.2.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .blocks import SelfAttention, SPADEResidualBlock, conv2d, leaky_relu_
from .network import Network, require_channels, require_stride

LARGEST_KEPT = 0.97
"""Magnitude to which a warped exemplar is clamped before artanh, which is infinite at 1."""


class TranslationNetwork(Network):
    """SPADE blocks from a coarse constant-free start up to the picture, with one attention block.

    Zhang et al. 2020, section 3.2; layers as in official networks, 6.

    condition_channels: K of the condition. channels: width after the blocks at strides 2^(n-1),
    ..., 2, 1, coarse to fine; the second coarsest stride has two blocks, attention sits at stride
    2. spade_channels: hidden width of each SPADE. residual: the picture is tanh(x + artanh(warped
    exemplar)), so that the blocks' x only corrects the warped exemplar, whose colours small
    networks need long to learn to carry over; not in the paper. norm: what the SPADEs modulate, by
    its name in `cocosnet_hf.models.norms`; the supplement compares "positional" with "batch".
    """

    warp_channels = 3
    recomputed = (SPADEResidualBlock, SelfAttention)

    @register_to_config
    def __init__(
        self,
        condition_channels: int,
        channels: Sequence[int] = (1024, 1024, 512, 256, 128, 64),
        spade_channels: int = 128,
        residual: bool = False,
        norm: str = "positional",
    ):
        super().__init__()
        if len(channels) < 3:
            raise ValueError(
                f"channels must name the widths of at least 3 strides, got {tuple(channels)}."
            )
        self.stride = 2 ** (len(channels) - 1)
        self.residual = residual
        map_channels = 3 + condition_channels
        self.input_conv = conv2d(map_channels, channels[0], 3, padding=1)
        widths = [channels[0], channels[0], channels[1], channels[1], *channels[2:]]
        if widths[-3] < 8:
            raise ValueError(
                f"The attention works on an eighth of {widths[-3]} channels; it needs 8 or more, "
                f"got channels {tuple(channels)}."
            )
        self.blocks = nn.ModuleList(
            SPADEResidualBlock(*width, map_channels, spade_channels, norm)
            for width in pairwise(widths)
        )
        self.attention = SelfAttention(widths[-3])
        self.output_conv = conv2d(channels[-1], 3, 3, padding=1)

    def forward(self, warped_exemplar: Tensor, condition: Tensor) -> Tensor:
        """Paint the picture.

        warped_exemplar (B, 3, H, W) in [-1, 1]; condition (B, K, H, W); H and W multiples of
        `stride`; returns (B, 3, H, W) in [-1, 1]. Raises ValueError for other shapes.
        """
        require_channels("warped_exemplar", warped_exemplar, 3)
        require_channels("condition", condition, self.config.condition_channels)
        require_stride("condition", condition, self.stride)
        if (
            warped_exemplar.shape[0] != condition.shape[0]
            or warped_exemplar.shape[-2:] != condition.shape[-2:]
        ):
            raise ValueError(
                f"warped_exemplar and condition must agree in batch, height and width, got "
                f"{tuple(warped_exemplar.shape)} and {tuple(condition.shape)}."
            )
        guide = torch.cat([warped_exemplar, condition], dim=1)
        height, width = (side // self.stride for side in guide.shape[-2:])
        x = self.input_conv(F.interpolate(guide, size=(height, width), mode="nearest"))
        attended = len(self.blocks) - 2
        for index, block in enumerate(self.blocks):
            upsample = index not in (0, 2)  # the coarsest stride has one block, the next one two
            if index == attended:
                if upsample:
                    x = F.interpolate(x, scale_factor=2, mode="nearest")
                x, upsample = self.attention(x), False
            x = block(x, guide, upsample)
        x = self.output_conv(leaky_relu_(x))
        if self.residual:
            kept = warped_exemplar.float().clamp(-LARGEST_KEPT, LARGEST_KEPT)
            x = x + torch.atanh(kept).to(x.dtype)
        return torch.tanh(x)
