"""A picture made from coarse to fine, each size beside the source at that size (Chen, Koltun 2017).

As the contextual loss was used with it (Mechrez et al. 2018): half as wide as the original.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .content_style import init_he_
from .conv_blocks import conv_block
from .network import Network, require_channels, require_stride, size_of


class CascadedGenerator(Network):
    """A picture to a picture of its size, from a few positions on, doubled again and again.

    widths: of the maps at each size, coarse to fine, of which the first has 4 x 4 positions at 256
    pixels as it stands. At each size two 3x3 convolutions, with layer norms and a leak, read the
    map before, doubled, and the source at that size. Nothing brings the picture to -1..1.
    24.3 M parameters.
    """

    @register_to_config
    def __init__(self, widths: Sequence[int] = (512, 512, 512, 512, 512, 256, 256)):
        super().__init__()
        self.stride = 2 ** (len(widths) - 1)
        before = [0, *widths[:-1]]
        self.sizes = nn.ModuleList(
            nn.Sequential(
                conv_block(given + 3, width, 3, norm="layer", affine=True, activation="leaky"),
                conv_block(width, width, 3, norm="layer", affine=True, activation="leaky"),
            )
            for given, width in zip(before, widths, strict=True)
        )
        self.picture = nn.Conv2d(widths[-1], 3, 1)
        init_he_(self)

    def forward(self, image: Tensor) -> Tensor:
        """image (B, 3, H, W) in [-1, 1] -> (B, 3, H, W), about as wide.

        Raises ValueError for sides that are no multiples of the stride, or less than two of it.
        """
        require_channels("image", image, 3)
        require_stride("image", image, self.stride)
        x = self.sizes[0](F.avg_pool2d(image, self.stride))
        for level, layers in enumerate(self.sizes[1:], start=1):
            source = F.avg_pool2d(image, self.stride // 2**level)
            doubled = F.interpolate(x, size_of(source), mode="bilinear")
            x = layers(torch.cat([source, doubled], dim=1))
        return self.picture(x)
