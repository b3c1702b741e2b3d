"""The network that says what each place of a photo shows."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn
from torch.nn import functional as F

from .efficientnet import EfficientNetLite0Features
from .network import Network, require_channels


class SceneNetwork(Network):
    """EfficientNet-Lite0 up to stride 16, and a decoder of plain convolutions up to stride 2.

    classes: how many. width: channels of the decoder, of which stride 2 has half.
    """

    @register_to_config
    def __init__(self, classes: int, width: int = 48):
        super().__init__()
        self.trunk = EfficientNetLite0Features()
        quarter, eighth, sixteenth = self.trunk.channels
        self.far = _block(sixteenth, width)
        self.middle = _block(eighth + width, width)
        self.near = _block(quarter + width, width)
        self.narrow = nn.Conv2d(width, width // 2, 1)
        self.lines = nn.Conv2d(3, width // 4, 3, stride=2, padding=1)
        self.fine = _block(width // 2 + width // 4, width // 2)
        self.class_head = nn.Conv2d(width // 2, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [-1, 1], H and W multiples of 16 -> logits (B, K, H/2, W/2).

        Raises ValueError for other channels.
        """
        return self.classes(images, self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) -> (B, width, H/4, W/4)."""
        require_channels("images", images, 3)
        quarter, eighth, sixteenth = self.trunk(images)
        x = self.middle(torch.cat([eighth, _doubled(self.far(sixteenth))], dim=1))
        features: Tensor = self.near(torch.cat([quarter, _doubled(x)], dim=1))
        return features

    def classes(self, images: Tensor, features: Tensor) -> Tensor:
        """Logits (B, K, H/2, W/2) from the images' `features` and their own lines."""
        fine = self.fine(torch.cat([self.lines(images), _doubled(self.narrow(features))], dim=1))
        logits: Tensor = self.class_head(fine)
        return logits


def _block(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1),
        nn.GroupNorm(8, channels),
        nn.ReLU(inplace=True),
    )


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear")
