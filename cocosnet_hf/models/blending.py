"""A translation network that copies where the match is good and paints where it is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from diffusers.utils import BaseOutput
from torch import Tensor, nn

from .blocks import LEAKY_SLOPE, leaky_relu_
from .detail import BEYOND, DetailCurve, around
from .network import Network, require_channels, require_stride

TRUSTED_AT_FIRST = 2.0
"""Logit of the blend before training: 88 % of the sharp warp, 12 % of the soft one."""

WARP_CHANNELS = 8
"""The sharp warp (3), the soft warp (3), correlation and consistency."""


@dataclass
class BlendingOutput(BaseOutput):
    """What the network makes of a warp: image = blend * sharp + (1 - blend) * soft + change.

    image (B, 3, H, W), as a picture in [-1, 1] and a little beyond; change (B, 3, H, W): what was
    painted, and what the curve of the detail did; blend (B, 1, H, W) in 0..1: how much of the sharp
    warp's texture is copied.
    """

    image: Tensor
    blend: Tensor
    change: Tensor


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each position.

    Statistics over positions would differ between the cuts that the network learns from and the
    whole pictures that it paints.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x and the result are (B, C, H, W)."""
        rows = x.permute(0, 2, 3, 1)
        return F.layer_norm(rows, self.weight.shape, self.weight, self.bias).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(relu(norm(x))))), at first x itself."""

    def __init__(self, channels: int, norm: type[nn.Module] = ChannelNorm):
        super().__init__()
        self.norm = norm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """x and the result are (B, C, H, W)."""
        return x + self.second(leaky_relu_(self.first(F.leaky_relu(self.norm(x), LEAKY_SLOPE))))


class BlendingTranslationNetwork(Network):
    """A U-net over the sharp warp, that closes its seams and paints what the exemplar lacks.

    Where the exemplar has what the condition asks for, its own pixels are better than any that a
    network of this size paints, so the picture begins as the warp.
    What it paints is added: to the sharp warp where that is trusted, elsewhere to the soft one,
    whose colours are right and whose texture is missing. The condition joins at half size and
    below: at full size, the kinks of a distance map turn into ripples.

    condition_channels: K of the condition. channels: widths at full size, 1/2, 1/4 and 1/8, of
    which the last serves 1/16 as well. condition_width: features of the condition at 1/2; twice as
    many at 1/4 and 1/8. detail: of its pictures, see `DetailCurve`; found
    after the training, by what their bands lack beside those of photos.
    """

    stride = 16
    warp_channels = WARP_CHANNELS
    recomputed = (ResidualBlock,)

    @register_to_config
    def __init__(
        self,
        condition_channels: int,
        channels: Sequence[int] = (24, 48, 96, 128),
        condition_width: int = 16,
        detail: Sequence[Sequence[float]] = (),
    ):
        super().__init__()
        self.curve = DetailCurve(detail)
        if len(channels) != 4 or any(width % 8 for width in channels):
            raise ValueError(
                f"channels must be four multiples of 8, for full size, 1/2, 1/4 and 1/8, got "
                f"{tuple(channels)}."
            )
        full, half, quarter, eighth = channels
        deep = 2 * condition_width
        if min(full, half - condition_width, quarter - deep - 16, eighth - deep) < 1:
            raise ValueError(
                f"channels must be above 0, condition_width = {condition_width}, "
                f"{deep + 16} and {deep}, to have room for what joins them, got {tuple(channels)}."
            )
        self.condition_half = nn.Conv2d(condition_channels, condition_width, 3, padding=1)
        self.condition_quarter = nn.Conv2d(condition_width, deep, 4, stride=2, padding=1)
        self.condition_eighth = nn.Conv2d(deep, deep, 4, stride=2, padding=1)

        self.stem = nn.Conv2d(3 + 2, full, 3, padding=1)
        self.down_half = nn.Conv2d(full, half - condition_width, 4, stride=2, padding=1)
        self.encode_half = ResidualBlock(half)
        # The soft warp's colours join at the size of the matching's grid or a little above.
        self.down_quarter = nn.Conv2d(half, quarter - deep - 16, 4, stride=2, padding=1)
        self.soft = nn.Conv2d(3, 16, 3, padding=1)
        self.encode_quarter = ResidualBlock(quarter)
        self.down_eighth = nn.Conv2d(quarter, eighth - deep, 4, stride=2, padding=1)
        self.encode_eighth = ResidualBlock(eighth)
        self.down_sixteenth = nn.Conv2d(eighth, eighth, 4, stride=2, padding=1)
        self.encode_sixteenth = nn.Sequential(ResidualBlock(eighth), ResidualBlock(eighth))

        self.join_eighth = nn.Conv2d(2 * eighth, eighth, 1)
        self.decode_eighth = ResidualBlock(eighth)
        self.join_quarter = nn.Conv2d(eighth + quarter, quarter, 1)
        self.decode_quarter = nn.Sequential(ResidualBlock(quarter), ResidualBlock(quarter))
        self.join_half = nn.Conv2d(quarter + half, half, 1)
        self.decode_half = nn.Sequential(ResidualBlock(half), ResidualBlock(half))
        self.narrow = nn.Conv2d(half, full, 1)
        self.join_full = nn.Conv2d(2 * full, full, 3, padding=1)
        self.decode_full = ResidualBlock(full, nn.Identity)
        self.output_conv = nn.Conv2d(full, 4, 3, padding=1)
        nn.init.normal_(self.output_conv.weight, std=1e-3)
        with torch.no_grad():
            self.output_conv.get_parameter("bias").zero_()[3] = TRUSTED_AT_FIRST

    def forward(self, warped_exemplar: Tensor, condition: Tensor) -> BlendingOutput:
        """Paint the picture.

        warped_exemplar (B, 8, H, W): the sharp and the soft warp in [-1, 1], the correlation of
        each place and its consistency, as `CorrespondenceNetwork.warp` gives them. condition
        (B, K, H, W); H and W multiples of `stride`. Raises ValueError for other shapes.
        """
        require_channels("warped_exemplar", warped_exemplar, WARP_CHANNELS)
        require_channels("condition", condition, self.config.condition_channels)
        require_stride("condition", condition, self.stride)
        if warped_exemplar.shape[-2:] != condition.shape[-2:]:
            raise ValueError(
                f"warped_exemplar and condition must agree in height and width, got "
                f"{tuple(warped_exemplar.shape)} and {tuple(condition.shape)}."
            )
        sharp, soft, trust = warped_exemplar.split([3, 3, 2], dim=1)
        asked_half = self.condition_half(F.avg_pool2d(condition, 2))
        asked_quarter = self.condition_quarter(F.leaky_relu(asked_half, LEAKY_SLOPE))
        asked_eighth = self.condition_eighth(F.leaky_relu(asked_quarter, LEAKY_SLOPE))

        full = self.stem(torch.cat([sharp, trust], dim=1))
        half = self.down_half(F.leaky_relu(full, LEAKY_SLOPE))
        half = self.encode_half(torch.cat([half, asked_half], dim=1))
        quarter = self.down_quarter(F.leaky_relu(half, LEAKY_SLOPE))
        colors = self.soft(F.avg_pool2d(soft, 4))
        quarter = self.encode_quarter(torch.cat([quarter, colors, asked_quarter], dim=1))
        eighth = self.down_eighth(F.leaky_relu(quarter, LEAKY_SLOPE))
        eighth = self.encode_eighth(torch.cat([eighth, asked_eighth], dim=1))
        x = self.encode_sixteenth(self.down_sixteenth(F.leaky_relu(eighth, LEAKY_SLOPE)))

        x = self.decode_eighth(self.join_eighth(torch.cat([_doubled(x), eighth], dim=1)))
        x = self.decode_quarter(self.join_quarter(torch.cat([_doubled(x), quarter], dim=1)))
        x = self.decode_half(self.join_half(torch.cat([_doubled(x), half], dim=1)))
        x = self.join_full(leaky_relu_(torch.cat([_doubled(self.narrow(x)), full], dim=1)))
        change, trusted = self.output_conv(F.leaky_relu(self.decode_full(x), LEAKY_SLOPE)).split(
            [3, 1], 1
        )

        blend = torch.sigmoid(trusted)
        base = torch.lerp(soft, sharp, blend)
        image = self.curve(base + change)
        return BlendingOutput(image, blend, image - base)


@torch.no_grad()
def set_strength(network: BlendingTranslationNetwork, strength: float) -> None:
    """Change the weights so that 0.5 gives what another strength gave.

    Raises ValueError for a strength that no weights can give.
    """
    if not 0.5 <= strength < 1:
        raise ValueError(f"a network can be given a strength of 0.5 to below 1, got {strength}.")
    damped = 2 * (1 - strength)
    network.output_conv.weight[:3] *= damped
    bias = network.output_conv.get_parameter("bias")
    bias[:3] *= damped
    bias[3] += math.log(strength / (1 - strength))


def with_strength(warped_exemplar: Tensor, output: BlendingOutput, strength: float) -> Tensor:
    """The picture (B, 3, H, W) with more or less of the exemplar, for a strength s in 0..1.

    0.5: as the network decided. Below, the odds of the blend are multiplied by s / (1 - s), so that
    0 copies no texture; above, by the same, and the change by 2 (1 - s), so that 1 is the sharp
    warp itself. warped_exemplar, output: what the network was given and returned.
    """
    if strength == 0.5:
        return output.image
    sharp, soft, _ = warped_exemplar.split([3, 3, 2], dim=1)
    base = torch.lerp(soft, sharp, blend_share(output.blend, strength))
    return base + min(1.0, 2 * (1 - strength)) * output.change


def blend_share(blend: Tensor, strength: float) -> Tensor:
    """The blend (B, 1, H, W) with its odds times s / (1 - s), for a strength s in 0..1.

    0.5: as the network decided; 0: nothing is copied; 1: nothing is painted.
    """
    if strength == 0.5:
        return blend
    if strength == 1:  # also where the network would copy nothing at all
        return torch.ones_like(blend)
    copied = strength * blend
    return copied / (copied + (1 - strength) * (1 - blend)).clamp_min(1e-6)


def enlarged(image: Tensor, share: Tensor, warp: Tensor) -> Tensor:
    """A picture at the size of a larger sharp warp, from which its finest bands come.

    As in a Laplacian pyramid (Burt and Adelson 1983) of two bands: the coarse one is the picture,
    (B, 3, h, w), the fine one that of the warp (B, 3, H, W), as far as share (B, 1, h, w) says that
    the picture is copied from it.
    """
    small, large = image.shape[-2:], warp.shape[-2:]
    coarse = F.interpolate(warp, small, mode="bilinear", antialias=True)
    detail = warp - F.interpolate(coarse, large, mode="bicubic")
    trusted = F.interpolate(share, large, mode="bilinear")
    larger = F.interpolate(image, large, mode="bicubic") + trusted * detail
    # Its edges are not quite those of the warp, whose detail would draw a bright line beside them.
    limits = (F.interpolate(limit, large, mode="bilinear") for limit in around(image))
    low, high = (
        choice(one, other)
        for choice, one, other in zip(
            (torch.minimum, torch.maximum), limits, around(warp), strict=True
        )
    )
    return torch.minimum(torch.maximum(larger, low - BEYOND), high + BEYOND).clamp(-1, 1)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear")
