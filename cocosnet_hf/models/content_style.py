"""A picture as content, which has places, and style, which has none (Huang et al. 2018)."""

from functools import partial
from itertools import pairwise

import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .conv_blocks import conv_block, halving_layers, init_weights_
from .network import Network, require_channels, require_stride, require_style
from .norms import adaptive_norm

init_he_ = partial(init_weights_, draw=nn.init.kaiming_normal_)
"""By He et al. 2015."""


class ContentEncoder(Network):
    """What a picture shows, and where: strided layers, then residual blocks (MUNIT's).

    base_channels: width of the first layer, doubled by each of the halvings. norm: behind every
    convolution; instance norm takes the colours out. 5.4 M parameters as it stands.
    """

    @register_to_config
    def __init__(
        self,
        channels: int = 3,
        base_channels: int = 64,
        halvings: int = 2,
        residual_blocks: int = 4,
        norm: str = "instance",
    ):
        super().__init__()
        self.stride = 2**halvings
        self.layers = halving_layers(
            channels, base_channels, halvings, residual_blocks, kernel_size=4, norm=norm
        )
        init_he_(self)

    def forward(self, image: Tensor) -> Tensor:
        """image (B, channels, H, W) in [-1, 1] -> (B, C, H / stride, W / stride).

        Raises ValueError for other shapes.
        """
        require_channels("image", image, self.config.channels)
        require_stride("image", image, self.stride)
        return self.layers(image)


class StyleCodeEncoder(Network):
    """What a picture looks like, as a code of a few numbers (MUNIT's).

    style_channels: numbers of a code. base_channels: width of the first layer, doubled by the first
    two halvings. norm: behind every convolution, none as a rule: most would take out the statistics
    that are asked for. 2.8 M parameters as it stands.
    """

    @register_to_config
    def __init__(
        self,
        channels: int = 3,
        style_channels: int = 8,
        base_channels: int = 64,
        halvings: int = 4,
        norm: str = "none",
    ):
        super().__init__()
        self.stride = 2**halvings
        widths = [base_channels * 2 ** min(level, 2) for level in range(halvings + 1)]
        self.layers = nn.Sequential(
            conv_block(channels, base_channels, 7, norm=norm),
            *(conv_block(*pair, 4, stride=2, norm=norm) for pair in pairwise(widths)),
        )
        self.code = nn.Linear(widths[-1], style_channels)
        init_he_(self)

    def forward(self, image: Tensor) -> Tensor:
        """image (B, channels, H, W) in [-1, 1] -> (B, style_channels).

        Raises ValueError for other shapes.
        """
        require_channels("image", image, self.config.channels)
        require_stride("image", image, self.stride)
        return self.code(self.layers(image).mean(dim=(2, 3)))


class StyledResidualBlock(nn.Module):
    """A residual block whose two norms are given their scales and shifts."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.second = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Tensor, scales: Tensor, shifts: Tensor) -> Tensor:
        """x (B, C, h, w); scales, shifts (B, 2, C), of the first and the second norm."""
        y = F.relu(adaptive_norm(self.first(x), scales[:, 0], shifts[:, 0]))
        return x + adaptive_norm(self.second(y), scales[:, 1], shifts[:, 1])


class StyledDecoder(Network):
    """Content in a style: AdaIN residual blocks, then doublings with layer norm (MUNIT's).

    A small network turns a style into the scales and shifts of all AdaIN layers, which have no 1 +
    (unlike those of StarGAN v2). base_channels, halvings, residual_blocks: of the content encoder.
    hidden_channels: width of the small network. norm: behind the doublings, with a learned scale
    and shift. 6.9 M parameters as it stands.
    """

    @register_to_config
    def __init__(
        self,
        channels: int = 3,
        style_channels: int = 8,
        base_channels: int = 64,
        halvings: int = 2,
        residual_blocks: int = 4,
        hidden_channels: int = 256,
        norm: str = "layer",
    ):
        super().__init__()
        widths = [base_channels * 2**level for level in reversed(range(halvings + 1))]
        self.modulation = nn.Sequential(
            nn.Linear(style_channels, hidden_channels),
            nn.ReLU(),
            nn.Linear(hidden_channels, hidden_channels),
            nn.ReLU(),
            nn.Linear(hidden_channels, 4 * residual_blocks * widths[0]),
        )
        self.blocks = nn.ModuleList(StyledResidualBlock(widths[0]) for _ in range(residual_blocks))
        self.doublings = nn.ModuleList(
            conv_block(*pair, 5, norm=norm, affine=True) for pair in pairwise(widths)
        )
        self.picture = conv_block(base_channels, channels, 7, activation="tanh")
        init_he_(self)

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """content (B, C, h, w), style (B, style_channels) -> (B, channels, H, W) in [-1, 1].

        Raises ValueError for a style of another length.
        """
        require_style(style, len(content), self.config.style_channels)
        x, count = content, len(self.blocks)
        # For each item and block: of scale and shift, of both norms, a number for each channel.
        given = self.modulation(style).reshape(len(style), count, 2, 2, content.shape[1])
        for number, block in enumerate(self.blocks):
            x = block(x, given[:, number, 0], given[:, number, 1])
        for double in self.doublings:
            x = double(F.interpolate(x, scale_factor=2, mode="nearest"))
        return self.picture(x)
