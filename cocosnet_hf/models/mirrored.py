"""The decoder of AdaIN style transfer: a feature network backwards (Huang and Belongie 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .content_style import init_he_
from .conv_blocks import conv_block
from .network import Network


class MirroredDecoder(Network):
    """Features at relu4_1 to the picture: 3x3 convolutions and doublings, without a norm.

    widths: of the encoder's stages, coarse to fine; between two of them the map is doubled.
    convolutions: of each stage, the last of which goes to the next stage's width. The default is
    VGG-19's and has 3.5 M parameters; the distilled one has widths 128, 64, 32, 16.
    """

    stride = 8

    @register_to_config
    def __init__(
        self,
        widths: Sequence[int] = (512, 256, 128, 64),
        convolutions: Sequence[int] = (1, 4, 2, 1),
    ):
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(conv_block(wide, wide, 3) for _ in range(count - 1)), conv_block(wide, narrow, 3)
            )
            for (wide, narrow), count in zip(
                pairwise([*widths, widths[-1]]), convolutions, strict=True
            )
        )
        self.picture = conv_block(widths[-1], 3, 3, activation="none")
        init_he_(self)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, widths[0], h, w) -> (B, 3, 8 h, 8 w), near [-1, 1]."""
        for number, stage in enumerate(self.stages):
            x = stage(x if number == 0 else F.interpolate(x, scale_factor=2, mode="nearest"))
        return self.picture(x)
