"""The network that reads a person in a photo: what each place wears, and where the joints are."""

from __future__ import annotations

from typing import NamedTuple

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn
from torch.nn import functional as F

from .efficientnet import EfficientNetLite0Features
from .network import Network, require_channels


class PersonOutput(NamedTuple):
    """classes (B, K, H/2, W/2): logits. joints (B, J, H/4, W/4): logits of each joint's places,
    beside which a constant 0 stands for "nowhere in the picture"."""

    classes: Tensor
    joints: Tensor


class PersonNetwork(Network):
    """EfficientNet-Lite0 up to stride 16, and a decoder of plain convolutions with two heads.

    classes, joints: how many of them. width: channels of the decoder, of which stride 2 has half.
    """

    size = (192, 96)
    """Height and width of the pictures that it learns from, which one person fills."""
    joint_stride = 4

    @register_to_config
    def __init__(self, classes: int, joints: int = 18, width: int = 48):
        super().__init__()
        self.trunk = EfficientNetLite0Features()
        quarter, eighth, sixteenth = self.trunk.channels
        self.far = _block(sixteenth, width)
        self.middle = _block(eighth + width, width)
        self.near = _block(quarter + width, width)
        self.joint_head = nn.Conv2d(width, joints, 1)
        self.narrow = nn.Conv2d(width, width // 2, 1)
        self.lines = nn.Conv2d(3, width // 4, 3, stride=2, padding=1)
        self.fine = _block(width // 2 + width // 4, width // 2)
        self.class_head = nn.Conv2d(width // 2, classes, 1)

    def forward(self, images: Tensor) -> PersonOutput:
        """images (B, 3, H, W) in [-1, 1], H and W multiples of 16.

        Raises ValueError for other channels.
        """
        require_channels("images", images, 3)
        quarter, eighth, sixteenth = self.trunk(images)
        x = self.middle(torch.cat([eighth, _doubled(self.far(sixteenth))], dim=1))
        x = self.near(torch.cat([quarter, _doubled(x)], dim=1))
        fine = self.fine(torch.cat([self.lines(images), _doubled(self.narrow(x))], dim=1))
        return PersonOutput(self.class_head(fine), self.joint_head(x))


def _block(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1),
        nn.GroupNorm(8, channels),
        nn.ReLU(inplace=True),
    )


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear")
