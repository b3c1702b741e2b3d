"""The U-Net of pix2pix, and of BicycleGAN, where it reads a code at every level."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .blocks import LEAKY_SLOPE
from .conv_blocks import UNBIASED, init_weights_
from .network import Network, require_channels, require_stride, require_style, size_of
from .norms import make_norm


class Doubling(nn.Module):
    """A transposed 4x4 convolution with stride 2, and a norm."""

    def __init__(self, in_channels: int, out_channels: int, norm: str):
        super().__init__()
        self.conv = nn.ConvTranspose2d(
            in_channels, out_channels, 4, 2, 1, bias=norm not in UNBIASED
        )
        self.norm = make_norm(norm, out_channels, affine=True)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """x (B, C, h, w) -> (B, C', *size), twice its size or one more."""
        return self.norm(self.conv(x, output_size=size))


class UNet(Network):
    """Halvings to one position and doublings back, each joined with the map of its size.

    Isola et al. 2017, appendix; 54.4 million weights at its own size and three channels.

    condition_channels: K of the condition. base_channels: width of the first map, of which the
    widest are 8 times. levels: number of halvings, 8 at 256 px. dropout: share of the channels'
    positions that noise switches off in the innermost doublings. style_channels: numbers of a code,
    a map of which each halving reads too (Zhu et al. 2017, BicycleGAN), 0 for none. skips: False
    leaves an encoder and a decoder, which the paper compares with. norm: by its name in
    `cocosnet_hf.models.norms`, with a learned scale and shift. At the paper's batch of one its
    batch norm is "instance", in training as in use; "batch" keeps running statistics, which a batch
    of one makes useless.
    Raises ValueError for fewer than 3 levels.
    """

    @register_to_config
    def __init__(
        self,
        condition_channels: int,
        base_channels: int = 64,
        levels: int = 8,
        dropout: float = 0.5,
        skips: bool = True,
        norm: str = "instance",
        style_channels: int = 0,
    ):
        super().__init__()
        if levels < 3 or not 0 <= dropout < 1:
            raise ValueError(
                f"levels must be 3 or more and dropout in 0..1, below 1, got {levels} and "
                f"{dropout}."
            )
        self.stride = 2 ** (levels - 1)  # the innermost halving may round down
        widths = [base_channels * min(2**level, 8) for level in range(levels)]
        inputs = [condition_channels, *widths[:-1]]
        # The first map and the innermost, which may be a single position, have no norm.
        norms = ["none", *[norm] * (levels - 2), "none"]
        self.down = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(given + style_channels, width, 4, 2, 1, bias=name not in UNBIASED),
                make_norm(name, width, affine=True),
            )
            for given, width, name in zip(inputs, widths, norms, strict=True)
        )
        outputs = [*widths[-2::-1], 3]
        joined = [widths[-1], *((2 if skips else 1) * width for width in outputs[:-1])]
        names = [norm] * (levels - 1) + ["none"]
        self.up = nn.ModuleList(
            Doubling(*width, name)
            for width, name in zip(zip(joined, outputs, strict=True), names, strict=True)
        )
        self.noisy_widths = outputs[: max(1, levels - 5)] if dropout else []
        self.threshold = NormalDist().inv_cdf(dropout) if dropout else 0.0
        init_weights_(self)

    def noise_shapes(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """(C, h, w) of each noise map of a picture of this size."""
        inner = height // self.stride, width // self.stride
        return [
            (channels, inner[0] * 2**step, inner[1] * 2**step)
            for step, channels in enumerate(self.noisy_widths)
        ]

    def forward(
        self,
        condition: Tensor,
        style: Tensor | None = None,
        noise: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Paint the picture: (B, K, H, W) -> (B, 3, H, W) in [-1, 1].

        H and W multiples of `stride`. style (B, S): if and only if it was made for one. noise:
        N(0, 1) of `noise_shapes`, each (B, C, h, w), of which the lowest switch off their
        positions; without, nothing is dropped. Raises ValueError for other shapes.
        """
        require_channels("condition", condition, self.config.condition_channels)
        require_stride("condition", condition, self.stride)
        require_style(style, len(condition), self.config.style_channels)
        x, maps = condition, []
        for level, layer in enumerate(self.down):
            x = F.leaky_relu(x, LEAKY_SLOPE) if level else x
            if style is not None:
                x = torch.cat([x, style[:, :, None, None].expand(-1, -1, *size_of(x))], dim=1)
            x = layer(x)
            maps.append(x)
        x = maps.pop()
        sizes = [size_of(made) for made in (*maps[::-1], condition)]
        for step, (layer, size) in enumerate(zip(self.up, sizes, strict=True)):
            if step and self.config.skips:
                x = torch.cat([x, maps.pop()], dim=1)
            x = layer(F.relu(x), size)
            if noise is not None and step < len(noise):
                x = x * (noise[step] > self.threshold) / (1 - self.config.dropout)
        return torch.tanh(x)
