"""The encoder of BicycleGAN's codes."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .blocks import LEAKY_SLOPE
from .conv_blocks import init_weights_
from .network import Network, require_channels, require_stride
from .norms import make_norm


class PooledBlock(nn.Module):
    """Norm, activation and convolution twice, then means of 2x2, around a pooled shortcut."""

    def __init__(self, in_channels: int, out_channels: int, norm: str):
        super().__init__()
        self.norm_0, self.norm_1 = make_norm(norm, in_channels), make_norm(norm, in_channels)
        self.conv_0 = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.conv_1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, h, w), even sides -> (B, C', h / 2, w / 2)."""
        y = self.conv_0(F.leaky_relu(self.norm_0(x), LEAKY_SLOPE))
        y = self.conv_1(F.leaky_relu(self.norm_1(y), LEAKY_SLOPE))
        return F.avg_pool2d(y, 2) + self.shortcut(F.avg_pool2d(x, 2))


class CodeEncoder(Network):
    """A picture as a Gaussian of codes (Zhu et al. 2017, BicycleGAN).

    channels: widths of the first convolution and of the blocks behind it; each halves the map.
    2.6 M parameters as it stands.
    """

    @register_to_config
    def __init__(
        self,
        style_channels: int = 8,
        channels: Sequence[int] = (64, 128, 192, 256, 256),
        norm: str = "instance",
    ):
        super().__init__()
        self.stride = 2 ** len(channels)
        self.first = nn.Conv2d(3, channels[0], 4, 2, 1)
        self.blocks = nn.Sequential(*(PooledBlock(*pair, norm) for pair in pairwise(channels)))
        self.code = nn.Linear(channels[-1], 2 * style_channels)
        init_weights_(self, partial(nn.init.xavier_normal_, gain=0.02))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """image (B, 3, H, W) in [-1, 1] -> mean and log variance, (B, style_channels) each.

        Raises ValueError for other shapes.
        """
        require_channels("image", image, 3)
        require_stride("image", image, self.stride)
        x = F.leaky_relu(self.blocks(self.first(image)), LEAKY_SLOPE).mean(dim=(2, 3))
        mean, log_variance = self.code(x).chunk(2, dim=1)
        return mean, log_variance
