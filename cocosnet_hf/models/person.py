"""The network that reads a person in a photo: what each place wears, and where the joints are."""

from __future__ import annotations

from typing import NamedTuple

from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .scene import SceneNetwork


class PersonOutput(NamedTuple):
    """classes (B, K, H/2, W/2): logits. joints (B, J, H/4, W/4): logits of each joint's places,
    beside which a constant 0 stands for "nowhere in the picture"."""

    classes: Tensor
    joints: Tensor


class PersonNetwork(SceneNetwork):
    """A `SceneNetwork` with a second head for joints, of stride 4.

    classes, joints: how many of them. width: channels of the decoder, of which stride 2 has half.
    """

    size = (192, 96)
    """Height and width of the pictures that it learns from, which one person fills."""
    joint_stride = 4

    @register_to_config
    def __init__(self, classes: int, joints: int = 18, width: int = 48):
        super().__init__(classes, width)
        self.joint_head = nn.Conv2d(width, joints, 1)

    def forward(self, images: Tensor) -> PersonOutput:  # type: ignore[override]
        """images (B, 3, H, W) in [-1, 1], H and W multiples of 16.

        Raises ValueError for other channels.
        """
        features = self.features(images)
        return PersonOutput(self.classes(images, features), self.joint_head(features))
