"""An exemplar as one vector, for systems that have no correspondence."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .blocks import conv2d, leaky_relu_
from .network import Network, require_channels


class StyleEncoder(Network):
    """An exemplar as one vector: its mean colours, their spreads and what strided layers see.

    The layers' share is a projection of the means of all their maps through tanh. Borders wrap
    around, so that the vector knows no places: an exemplar whose sides are multiples of 2^n has the
    same style when it is rolled by such multiples. The colours stand in it as they are, because one
    that was all learned fell into two styles, of light and of dark exemplars.

    style_channels: S. channels: widths of the n layers, each of which halves the map; by default
    with about as many weights as the correspondence network that it replaces in edge-to-face.
    Raises ValueError if S leaves no place for what is learned.
    """

    @register_to_config
    def __init__(self, style_channels: int = 16, channels: Sequence[int] = (32, 64, 128, 256, 512)):
        super().__init__()
        if style_channels <= 6:
            raise ValueError(
                f"style_channels must be over 6, which colours and spreads take, got "
                f"{style_channels}."
            )
        widths = [3, *channels]
        self.layers = nn.ModuleList(
            conv2d(*width, 3, stride=2, spectral=True) for width in pairwise(widths)
        )
        self.projection = nn.Linear(3 + sum(widths), style_channels - 6)

    def forward(self, exemplar: Tensor) -> Tensor:
        """exemplar (B, 3, H, W) in [-1, 1] -> (B, S) in [-1, 1]; the first three its mean colour.

        Raises ValueError for other channels.
        """
        require_channels("exemplar", exemplar, 3)
        maps = [exemplar]
        for layer in self.layers:
            maps.append(leaky_relu_(layer(F.pad(maps[-1], (1, 1, 1, 1), mode="circular"))))
        spread = exemplar.std(dim=(2, 3), correction=0)
        means = [each.mean(dim=(2, 3)) for each in maps]
        learned = torch.tanh(self.projection(torch.cat([spread, *means], dim=1)))
        return torch.cat([means[0], spread, learned], dim=1)
