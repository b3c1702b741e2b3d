"""One generator of many domains in styles of each, and what makes and judges these: StarGAN v2's.

Choi et al. 2020, appendix, without its option for faces. Domains are numbers from 0.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .blocks import LEAKY_SLOPE
from .conv_blocks import init_weights_
from .network import Network, require_channels, require_stride, require_style
from .norms import adaptive_norm, make_norm

init_he_ = partial(init_weights_, draw=partial(nn.init.kaiming_normal_, nonlinearity="relu"))
"""By He et al. 2015."""
LAST_SIDE = 4
"""Of the map that a picture is brought to before its last convolution, which has no border."""


class HalvingBlock(nn.Module):
    """Norm, activation and convolution twice around a shortcut, the sum divided by sqrt(2).

    halves: means of 2x2 between the convolutions, and of the shortcut. norm: with a scale and a
    shift of its own, or "none".
    """

    def __init__(self, in_channels: int, out_channels: int, norm: str, halves: bool):
        super().__init__()
        self.norm_0 = make_norm(norm, in_channels, affine=norm != "none")
        self.norm_1 = make_norm(norm, in_channels, affine=norm != "none")
        self.conv_0 = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.conv_1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.shortcut = _shortcut(in_channels, out_channels)
        self.pool = nn.AvgPool2d(2) if halves else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, h, w), even sides where it halves -> (B, C', h / 2, w / 2) or (B, C', h, w)."""
        y = self.pool(self.conv_0(F.leaky_relu(self.norm_0(x), LEAKY_SLOPE)))
        y = self.conv_1(F.leaky_relu(self.norm_1(y), LEAKY_SLOPE))
        return (y + self.pool(self.shortcut(x))) / math.sqrt(2)


class AdaptiveNorm(nn.Module):
    """Instance norm, whose scale 1 + and shift a linear layer reads from a style."""

    def __init__(self, channels: int, style_channels: int):
        super().__init__()
        self.read = nn.Linear(style_channels, 2 * channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x (B, C, h, w), style (B, style_channels); the shape of x comes back."""
        scale, shift = self.read(style).chunk(2, dim=1)
        return adaptive_norm(x, 1 + scale, shift)


class StyledBlock(nn.Module):
    """`HalvingBlock` with norms that a style says; doubles: by repeating pixels, before both."""

    def __init__(self, in_channels: int, out_channels: int, style_channels: int, doubles: bool):
        super().__init__()
        self.norm_0 = AdaptiveNorm(in_channels, style_channels)
        self.norm_1 = AdaptiveNorm(out_channels, style_channels)
        self.conv_0 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv_1 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = _shortcut(in_channels, out_channels)
        self.enlarge = nn.Upsample(scale_factor=2) if doubles else nn.Identity()

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x (B, C, h, w), style (B, style_channels) -> (B, C', 2 h, 2 w) or (B, C', h, w)."""
        y = self.conv_0(self.enlarge(F.leaky_relu(self.norm_0(x, style), LEAKY_SLOPE)))
        y = self.conv_1(F.leaky_relu(self.norm_1(y, style), LEAKY_SLOPE))
        return (y + self.shortcut(self.enlarge(x))) / math.sqrt(2)


def _shortcut(in_channels: int, out_channels: int) -> nn.Module:
    if in_channels == out_channels:
        return nn.Identity()
    return nn.Conv2d(in_channels, out_channels, 1, bias=False)


class RestylingGenerator(Network):
    """A picture in a style, which is what says its domain too (StarGAN v2's).

    base_channels: width at full size, doubled with each of the halvings up to widest.
    bottleneck_blocks: at the smallest size, each kind. The picture is not brought to -1..1 by a
    tanh. 33.9 M parameters as it stands.
    """

    @register_to_config
    def __init__(
        self,
        style_channels: int = 64,
        base_channels: int = 64,
        widest: int = 512,
        halvings: int = 4,
        bottleneck_blocks: int = 2,
    ):
        super().__init__()
        self.stride = 2**halvings
        widths = [min(base_channels * 2**level, widest) for level in range(halvings + 1)]
        deepest = widths[-1]
        self.first = nn.Conv2d(3, base_channels, 3, padding=1)
        self.down = nn.Sequential(
            *(HalvingBlock(*pair, "instance", True) for pair in pairwise(widths)),
            *(HalvingBlock(deepest, deepest, "instance", False) for _ in range(bottleneck_blocks)),
        )
        flat = [(deepest, deepest)] * bottleneck_blocks
        self.up = nn.ModuleList(
            [
                *(StyledBlock(*pair, style_channels, False) for pair in flat),
                *(StyledBlock(*pair, style_channels, True) for pair in pairwise(widths[::-1])),
            ]
        )
        self.last = nn.Sequential(
            make_norm("instance", base_channels, affine=True),
            nn.LeakyReLU(LEAKY_SLOPE),
            nn.Conv2d(base_channels, 3, 1),
        )
        init_he_(self)

    def forward(self, image: Tensor, style: Tensor) -> Tensor:
        """image (B, 3, H, W) in [-1, 1], style (B, style_channels) -> (B, 3, H, W), about as wide.

        Raises ValueError for other shapes.
        """
        require_channels("image", image, 3)
        require_stride("image", image, self.stride)
        require_style(style, len(image), self.config.style_channels)
        x = self.down(self.first(image))
        for block in self.up:
            x = block(x, style)
        return self.last(x)


class StyleMapping(Network):
    """A vector N(0, 1) as a style of a domain: layers of all, then layers of each (StarGAN v2's).

    latent_channels: numbers of the vector. hidden_channels: width of the layers, of which there are
    shared_layers and own_layers before the style. 2.4 M parameters with two domains.
    """

    @register_to_config
    def __init__(
        self,
        domains: int = 2,
        style_channels: int = 64,
        latent_channels: int = 16,
        hidden_channels: int = 512,
        shared_layers: int = 4,
        own_layers: int = 3,
    ):
        super().__init__()
        shared = [latent_channels] + [hidden_channels] * shared_layers
        own = [hidden_channels] * (own_layers + 1)

        def layers(widths: list[int]) -> list[nn.Module]:
            return [part for pair in pairwise(widths) for part in (nn.Linear(*pair), nn.ReLU())]

        self.shared = nn.Sequential(*layers(shared))
        self.own = nn.ModuleList(
            nn.Sequential(*layers(own), nn.Linear(hidden_channels, style_channels))
            for _ in range(domains)
        )
        init_he_(self)

    def forward(self, latent: Tensor, domain: Tensor) -> Tensor:
        """latent (B, latent_channels), domain (B,) int64 -> (B, style_channels)."""
        hidden = self.shared(latent)
        return of_domain(torch.stack([own(hidden) for own in self.own], dim=1), domain)


class _HalvingTrunk(nn.Module):
    """3x3, halvings without a norm down to `LAST_SIDE`, and a convolution over all of that."""

    def __init__(self, size: int, base_channels: int, widest: int):
        super().__init__()
        halvings = int(math.log2(size / LAST_SIDE)) if size >= LAST_SIDE else 0
        if halvings < 1 or size != LAST_SIDE * 2**halvings:
            raise ValueError(
                f"size must be {LAST_SIDE} times a power of two from {2 * LAST_SIDE} on, such as "
                f"64, 128 or 256, got {size}."
            )
        self.size = size
        widths = [min(base_channels * 2**level, widest) for level in range(halvings + 1)]
        self.width = widths[-1]
        self.layers = nn.Sequential(
            nn.Conv2d(3, base_channels, 3, padding=1),
            *(HalvingBlock(*pair, "none", True) for pair in pairwise(widths)),
            nn.LeakyReLU(LEAKY_SLOPE),
            nn.Conv2d(self.width, self.width, LAST_SIDE),
            nn.LeakyReLU(LEAKY_SLOPE),
            nn.Flatten(),
        )

    def forward(self, image: Tensor) -> Tensor:
        """image (B, 3, size, size) -> (B, width). Raises ValueError for another shape."""
        require_channels("image", image, 3)
        if tuple(image.shape[-2:]) != (self.size, self.size):
            raise ValueError(
                f"image must be {self.size} x {self.size} pixels, as this network was made for, "
                f"got {tuple(image.shape[-2:])}: set its size to that of the pictures, which are "
                f"square with a side of 64, 128, 256 or another power of two."
            )
        return self.layers(image)


class DomainStyleEncoder(Network):
    """The style that a picture has in its domain, read by a layer of each (StarGAN v2's).

    size: side of the pictures. base_channels, widest: as of `RestylingGenerator`. 20.9 M parameters
    with two domains.
    """

    @register_to_config
    def __init__(
        self,
        domains: int = 2,
        style_channels: int = 64,
        size: int = 256,
        base_channels: int = 64,
        widest: int = 512,
    ):
        super().__init__()
        self.trunk = _HalvingTrunk(size, base_channels, widest)
        self.heads = nn.Linear(self.trunk.width, domains * style_channels)
        init_he_(self)

    def forward(self, image: Tensor, domain: Tensor) -> Tensor:
        """image (B, 3, size, size) in [-1, 1], domain (B,) int64 -> (B, style_channels)."""
        styles = self.heads(self.trunk(image))
        return of_domain(styles.unflatten(1, (self.config.domains, -1)), domain)


class DomainCritic(Network):
    """Whether a picture is a true one of its domain, by a logit of each (StarGAN v2's).

    Arguments as of `DomainStyleEncoder`. 20.9 M parameters with two domains.
    """

    @register_to_config
    def __init__(
        self, domains: int = 2, size: int = 256, base_channels: int = 64, widest: int = 512
    ):
        super().__init__()
        self.trunk = _HalvingTrunk(size, base_channels, widest)
        self.heads = nn.Linear(self.trunk.width, domains)
        init_he_(self)

    def forward(self, image: Tensor, domain: Tensor) -> Tensor:
        """image (B, 3, size, size) in [-1, 1], domain (B,) int64 -> logits (B,)."""
        return of_domain(self.heads(self.trunk(image)), domain)


def of_domain(each: Tensor, domain: Tensor) -> Tensor:
    """Of (B, D, ...) what belongs to the domain (B,) of each item: (B, ...)."""
    return each[torch.arange(len(each), device=each.device), domain]
