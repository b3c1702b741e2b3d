"""Critics of pictures alone, patch by patch."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .conv_blocks import conv_block, init_normal_
from .network import Network, require_channels


class PictureCritic(Network):
    """Says of each patch of a picture how true it looks, on the picture and on halved copies.

    channels: of the pictures. widths: of the 4x4 layers, each of which halves its map; by default
    MUNIT's. norm: behind all but the first of them. last_width: of one more 4x4 layer that halves
    nothing, with logits of 4x4 behind it, as in pix2pix; 0 for logits of 1x1 behind the halvings.
    narrows: whether each scale has half the widths of the one before (BicycleGAN).
    """

    @register_to_config
    def __init__(
        self,
        channels: int = 3,
        widths: Sequence[int] = (64, 128, 256, 512),
        norm: str = "none",
        scales: int = 3,
        last_width: int = 0,
        narrows: bool = False,
    ):
        super().__init__()
        shares = [2**scale if narrows else 1 for scale in range(scales)]
        self.critics = nn.ModuleList(
            _critic(channels, [width // share for width in widths], norm, last_width // share)
            for share in shares
        )
        init_normal_(self)

    @property
    def smallest(self) -> int:
        """The shortest side that all layers of all scales can halve."""
        halvings = len(self.config.widths) + self.config.scales - 1
        return (3 if self.config.last_width else 1) * 2**halvings

    def forward(self, image: Tensor) -> list[Tensor]:
        """image (B, channels, H, W) in [-1, 1] -> logits (B, 1, h, w) per scale, fine to coarse.

        Raises ValueError for other channels and for pictures too small for the layers.
        """
        require_channels("image", image, self.config.channels)
        if min(image.shape[-2:]) < self.smallest:
            raise ValueError(
                f"image must be at least {self.smallest} pixels high and wide for "
                f"{self.config.scales} scales of {len(self.config.widths)} layers, got "
                f"{tuple(image.shape[-2:])}; set fewer scales or widths."
            )
        logits = []
        for critic in self.critics:
            logits.append(critic(image))
            image = F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
        return logits


def _critic(channels: int, widths: Sequence[int], norm: str, last_width: int) -> nn.Sequential:
    halvings = [
        conv_block(channels, widths[0], 4, stride=2, activation="leaky"),
        *(
            conv_block(*pair, 4, stride=2, norm=norm, activation="leaky")
            for pair in pairwise(widths)
        ),
    ]
    if not last_width:
        return nn.Sequential(*halvings, nn.Conv2d(widths[-1], 1, 1))
    last = conv_block(widths[-1], last_width, 4, norm=norm, activation="leaky")
    return nn.Sequential(*halvings, last, conv_block(last_width, 1, 4, activation="none"))
