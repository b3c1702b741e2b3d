"""BicycleGAN's networks: a U-Net that reads a code at every level, and the encoder of the code."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .blocks import LEAKY_SLOPE
from .network import Network, require_channels, require_stride, size_of
from .norms import make_norm


class CodedUNet(Network):
    """Halvings to one position and doublings back, with skips; each halving reads the code too.

    Zhu et al. 2017 (BicycleGAN). condition_channels: K of the condition. style_channels: numbers of
    a code. base_channels: width of the first map, of which the widest are 8 times. levels: of
    halvings, 8 at 256 px. dropout: of the innermost doublings, in training only: in use the code is
    the only chance there is. norm: by its name in `cocosnet_hf.models.norms`. 54.8 M parameters for
    a picture as condition. Raises ValueError for fewer than 3 levels.
    """

    @register_to_config
    def __init__(
        self,
        condition_channels: int,
        style_channels: int = 8,
        base_channels: int = 64,
        levels: int = 8,
        dropout: float = 0.5,
        norm: str = "instance",
    ):
        super().__init__()
        if levels < 3:
            raise ValueError(f"levels must be 3 or more, got {levels}.")
        self.stride = 2 ** (levels - 1)  # the innermost halving may round down
        widths = [base_channels * min(2**level, 8) for level in range(levels)]
        inputs = [condition_channels, *widths[:-1]]
        # The first map has no norm, and neither has the innermost, which may be one position.
        names = ["none", *[norm] * (levels - 2), "none"]
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(given + style_channels, width, 4, 2, 1), make_norm(name, width))
            for given, width, name in zip(inputs, widths, names, strict=True)
        )
        outputs = [*widths[-2::-1], 3]
        joined = [widths[-1], *(2 * width for width in outputs[:-1])]
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(*pair, 4, 2, 1) for pair in zip(joined, outputs, strict=True)
        )
        self.norms = nn.ModuleList(make_norm(norm, width) for width in outputs[:-1])
        self.drop = nn.Dropout(dropout)
        self.dropped = max(1, levels - 5)
        _init_xavier_(self)

    def forward(self, condition: Tensor, style: Tensor) -> Tensor:
        """condition (B, K, H, W), style (B, style_channels) -> (B, 3, H, W) in [-1, 1].

        H and W multiples of `stride`. Raises ValueError for other shapes.
        """
        require_channels("condition", condition, self.config.condition_channels)
        require_stride("condition", condition, self.stride)
        if style.shape != (len(condition), self.config.style_channels):
            raise ValueError(
                f"style must be {(len(condition), self.config.style_channels)}, got "
                f"{tuple(style.shape)}; pipe.sample and pipe.encode make such codes."
            )
        x, maps = condition, [condition]
        for level, layer in enumerate(self.down):
            x = F.leaky_relu(x, LEAKY_SLOPE) if level else x
            code = style[:, :, None, None].expand(-1, -1, *x.shape[-2:])
            x = layer(torch.cat([x, code], dim=1))
            maps.append(x)
        maps.pop()
        for level, layer in enumerate(self.up):
            skipped = maps.pop()
            x = layer(F.relu(x), output_size=size_of(skipped))
            if level < len(self.norms):
                x = self.norms[level](x)
                x = self.drop(x) if level < self.dropped else x
                x = torch.cat([x, skipped], dim=1)
        return torch.tanh(x)


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
        self.first = nn.Conv2d(3, channels[0], 4, 2, 1)
        self.blocks = nn.Sequential(*(PooledBlock(*pair, norm) for pair in pairwise(channels)))
        self.code = nn.Linear(channels[-1], 2 * style_channels)
        _init_xavier_(self)

    @property
    def stride(self) -> int:
        """Of which the sides of pictures are multiples."""
        return 2 ** len(self.config.channels)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """image (B, 3, H, W) in [-1, 1] -> mean and log variance, (B, style_channels) each.

        Raises ValueError for other shapes.
        """
        require_channels("image", image, 3)
        require_stride("image", image, self.stride)
        x = F.leaky_relu(self.blocks(self.first(image)), LEAKY_SLOPE).mean(dim=(2, 3))
        mean, log_variance = self.code(x).chunk(2, dim=1)
        return mean, log_variance


def _init_xavier_(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.xavier_normal_(part.weight, gain=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
