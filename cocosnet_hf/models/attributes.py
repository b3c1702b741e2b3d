"""An encoder that is to forget attributes, what decodes with others, and what finds them out.

Those of Fader Networks (Lample et al. 2017). Attributes are numbers, 0 without and 1 with.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .blocks import LEAKY_SLOPE
from .conv_blocks import init_weights_
from .network import Network, require_channels, require_stride, size_of


def widths_of(base_channels: int, widest: int, halvings: int) -> list[int]:
    """Of the maps behind each halving: doubled up to widest."""
    return [min(base_channels * 2**level, widest) for level in range(halvings)]


def halving(in_channels: int, out_channels: int, norm: bool = True) -> nn.Sequential:
    """A 4x4 convolution with stride 2, a norm of the batch or none, and a leak."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 4, 2, 1, bias=not norm),
        nn.BatchNorm2d(out_channels) if norm else nn.Identity(),
        nn.LeakyReLU(LEAKY_SLOPE),
    )


class ForgetfulEncoder(Network):
    """A picture to a small map, by halvings alone.

    base_channels: width behind the first halving, doubled with each up to widest. halvings: of
    which a map of 4 x 4 is left, 6 of 256 pixels. 7.0 M parameters as it stands.
    """

    @register_to_config
    def __init__(self, base_channels: int = 32, widest: int = 512, halvings: int = 6):
        super().__init__()
        self.stride = 2**halvings
        widths = widths_of(base_channels, widest, halvings)
        self.layers = nn.Sequential(
            halving(3, widths[0], norm=False), *(halving(*pair) for pair in pairwise(widths))
        )
        self.channels = widths[-1]
        init_weights_(self)

    def forward(self, image: Tensor) -> Tensor:
        """image (B, 3, H, W) in [-1, 1] -> (B, channels, H / 2^n, W / 2^n).

        Raises ValueError for other shapes.
        """
        require_channels("image", image, 3)
        require_stride("image", image, self.stride)
        return self.layers(image)


class AttributeDecoder(Network):
    """A map of `ForgetfulEncoder` to a picture with attributes, which each doubling reads anew.

    attributes: how many, of each of which it reads two planes, 1 - value and value. The other
    settings are the encoder's. 7.0 M parameters with one attribute.
    """

    @register_to_config
    def __init__(
        self,
        attributes: int = 1,
        base_channels: int = 32,
        widest: int = 512,
        halvings: int = 6,
    ):
        super().__init__()
        self.stride = 2**halvings
        widths = widths_of(base_channels, widest, halvings)[::-1]
        self.doublings = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(given + 2 * attributes, made, 4, 2, 1, bias=False),
                nn.BatchNorm2d(made),
                nn.ReLU(),
            )
            for given, made in pairwise(widths)
        )
        self.picture = nn.ConvTranspose2d(widths[-1] + 2 * attributes, 3, 4, 2, 1)
        init_weights_(self)

    def forward(self, x: Tensor, attributes: Tensor) -> Tensor:
        """x (B, C, h, w), attributes (B, A), of which the decoder learned values 0 and 1.

        Returns (B, 3, 2^n h, 2^n w) in [-1, 1]. Raises ValueError for another number of them.
        """
        if tuple(attributes.shape) != (len(x), self.config.attributes):
            raise ValueError(
                f"attributes must be ({len(x)}, {self.config.attributes}), a number for each of "
                f"each picture, got {tuple(attributes.shape)}."
            )
        told = torch.cat([1 - attributes, attributes], dim=1).to(x)[:, :, None, None]
        for layer in self.doublings:
            x = layer(_told(x, told))
        return torch.tanh(self.picture(_told(x, told)))


class LatentCritic(Network):
    """The logit of each attribute, found in a map of `ForgetfulEncoder`.

    channels: of that map. halvings: 4x4 convolutions behind which one position is left, of more
    their mean counts. dropout: share of these maps' entries that are left out in training. hidden:
    width of the layer before the logits. 8.7 M parameters with one attribute.
    """

    @register_to_config
    def __init__(
        self,
        attributes: int = 1,
        channels: int = 512,
        halvings: int = 2,
        hidden: int = 512,
        dropout: float = 0.3,
    ):
        super().__init__()
        self.stride = 2**halvings
        layers: list[Any] = [
            nn.Sequential(halving(channels, channels), nn.Dropout(dropout)) for _ in range(halvings)
        ]
        self.layers = nn.Sequential(*layers)
        self.heads = nn.Sequential(
            nn.Linear(channels, hidden), nn.LeakyReLU(LEAKY_SLOPE), nn.Linear(hidden, attributes)
        )
        init_weights_(self)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, h, w) -> logits (B, A). Raises ValueError for maps too small to be halved so."""
        if min(size_of(x)) < self.stride:
            raise ValueError(
                f"maps must be {self.stride} positions high and wide or more for a critic of so "
                f"many halvings, got {size_of(x)}: fewer networks.encoder.halvings or "
                f"networks.critic.halvings would do."
            )
        return self.heads(F.adaptive_avg_pool2d(self.layers(x), 1).flatten(1))


def _told(x: Tensor, told: Tensor) -> Tensor:
    return torch.cat([x, told.expand(-1, -1, *size_of(x))], dim=1)
