"""The three networks of SIMS: where a segment goes, which lies in front, what the canvas becomes.

Qi et al. 2018, section 5 and appendix. All stand on one trunk: groups of 3x3 convolutions with
layer norm, the map halved after each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .blocks import LEAKY_SLOPE
from .content_style import init_he_
from .conv_blocks import conv_block, halved
from .network import Network, require_channels, require_stride, size_of

"""By He et al. 2015."""
WIDTHS, DEPTHS = (64, 128, 256, 512, 512), (2, 2, 3, 3, 3)


def group(in_channels: int, width: int, depth: int, norm: str) -> nn.Sequential:
    """3x3 convolutions of one width, each with its norm and activation."""
    inputs = [in_channels] + [width] * (depth - 1)
    kinds: dict[str, Any] = {"norm": norm, "affine": True, "activation": "leaky"}
    return nn.Sequential(*(conv_block(given, width, 3, **kinds) for given in inputs))


class Trunk(nn.Module):
    """Groups of convolutions, and the map halved behind each."""

    def __init__(self, in_channels: int, widths: Sequence[int], depths: Sequence[int], norm: str):
        super().__init__()
        if len(widths) != len(depths) or not widths:
            raise ValueError(
                f"widths and depths say the same groups, at least one, got {list(widths)} and "
                f"{list(depths)}."
            )
        inputs = [in_channels, *widths[:-1]]
        groups = zip(inputs, widths, depths, strict=True)
        self.groups = nn.ModuleList(group(*one, norm) for one in groups)

    def forward(self, x: Tensor) -> list[Tensor]:
        """x (B, C, H, W); the map of each group, fine to coarse, and the last one halved."""
        maps = []
        for layers in self.groups:
            maps.append(layers(x))
            x = halved(maps[-1])
        return [*maps, x]


class SegmentTransformer(Network):
    """How a segment is to be moved so that it lies as the layout asks: an affine map.

    condition_channels: K of the layout. widths, depths: of the trunk's groups. norm: by its name in
    `cocosnet_hf.models.norms`, with a learned scale and shift. Untaught it moves nothing. 14.7 M
    parameters as it stands, for 20 classes.
    """

    @register_to_config
    def __init__(
        self,
        condition_channels: int,
        widths: Sequence[int] = WIDTHS,
        depths: Sequence[int] = DEPTHS,
        norm: str = "layer",
    ):
        super().__init__()
        self.stride = 2 ** len(widths)
        self.trunk = Trunk(4 + condition_channels, widths, depths, norm)
        self.map = nn.Linear(widths[-1], 6)
        init_he_(self)
        with torch.no_grad():
            self.map.weight.zero_()
            self.map.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))

    def forward(self, layers: Tensor, condition: Tensor) -> Tensor:
        """Layers (B, 4, H, W), colours and mask, of layouts (B, K, H, W), moved: the same shape.

        Raises ValueError for other shapes.
        """
        require_channels("layers", layers, 4)
        require_channels("condition", condition, self.config.condition_channels)
        require_stride("condition", condition, self.stride)
        seen = torch.cat([layers, condition], dim=1)
        return moved(layers, self.map(self.trunk(seen)[-1].mean(dim=(2, 3))).view(-1, 2, 3))


def moved(x: Tensor, maps: Tensor) -> Tensor:
    """x (B, C, H, W) seen through affine maps (B, 2, 3) of places in -1..1; 0 from outside."""
    grid = F.affine_grid(maps, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


class OrderingNetwork(Network):
    """Which class lies in front, of two segments whose boxes meet.

    condition_channels: K, the classes. widths, depths, norm: as of `SegmentTransformer`.
    hidden_channels, dropout: before the classes. `taught` is saved with the weights: whether a
    training has changed them. 15.3 M parameters as it stands, for 20 classes.
    """

    taught: Tensor

    @register_to_config
    def __init__(
        self,
        condition_channels: int,
        widths: Sequence[int] = WIDTHS,
        depths: Sequence[int] = DEPTHS,
        hidden_channels: int = 1024,
        dropout: float = 0.5,
        norm: str = "layer",
    ):
        super().__init__()
        self.stride = 2 ** len(widths)
        self.trunk = Trunk(6, widths, depths, norm)
        self.classes = nn.Sequential(
            nn.Linear(widths[-1], hidden_channels),
            nn.LeakyReLU(LEAKY_SLOPE),
            nn.Dropout(dropout),
            nn.Linear(hidden_channels, condition_channels),
        )
        self.register_buffer("taught", torch.zeros((), dtype=torch.bool))
        init_he_(self)

    def forward(self, pair: Tensor, whole: Tensor) -> Tensor:
        """Drawn patches of two segments and drawn layouts, (B, 3, H, W) each -> scores (B, K).

        Raises ValueError for other shapes.
        """
        require_channels("pair", pair, 3)
        require_stride("whole", whole, self.stride)
        found = self.trunk(torch.cat([pair, whole], dim=1))[-1]
        return self.classes(found.mean(dim=(2, 3)))


class CanvasPainter(Network):
    """A canvas of segments made whole: colours, and what they show.

    condition_channels: K of the layout. widths, depths: of the trunk's groups. decoder_widths: of
    two convolutions at each scale, coarse to fine, one more than the groups. norm: by its name in
    `cocosnet_hf.models.norms`, with a learned scale and shift. 57.7 M parameters as it stands, for
    20 classes.
    """

    recomputed = (Trunk,)

    @register_to_config
    def __init__(
        self,
        condition_channels: int,
        widths: Sequence[int] = (*WIDTHS, 512),
        depths: Sequence[int] = (*DEPTHS, 3),
        decoder_widths: Sequence[int] = (512, 512, 512, 512, 512, 256, 256),
        norm: str = "layer",
    ):
        super().__init__()
        if len(decoder_widths) != len(widths) + 1:
            raise ValueError(
                f"decoder_widths must be {len(widths) + 1}, one more than widths, got "
                f"{len(decoder_widths)}."
            )
        self.stride = 2 ** len(widths)
        seen = condition_channels + 4
        self.trunk = Trunk(seen, widths, depths, norm)
        before = [0, *decoder_widths[:-1]]
        maps = [widths[-1], *reversed(widths)]
        self.decoder = nn.ModuleList(
            group(seen + own + previous, width, 2, norm)
            for own, previous, width in zip(maps, before, decoder_widths, strict=True)
        )
        self.colours = nn.Conv2d(decoder_widths[-1], 3, 1)
        self.labels = nn.Conv2d(decoder_widths[-1], condition_channels, 1)
        init_he_(self)

    def forward(self, condition: Tensor, canvas: Tensor, filled: Tensor) -> tuple[Tensor, Tensor]:
        """Layouts (B, K, H, W), canvas (B, 3, H, W) in [-1, 1], filled (B, 1, H, W) in 0..1.

        Returns colours (B, 3, H, W), about [-1, 1], and scores of classes (B, K, H, W). Raises
        ValueError for other shapes.
        """
        require_channels("condition", condition, self.config.condition_channels)
        require_stride("condition", condition, self.stride)
        given = torch.cat([condition, canvas, filled], dim=1)
        coarser: list[Tensor] = []
        for layers, own in zip(self.decoder, reversed(self.trunk(given)), strict=True):
            seen, *below = (
                F.interpolate(x, size_of(own), mode="bilinear", align_corners=False)
                for x in (given, *coarser)
            )
            coarser = [layers(torch.cat([seen, own, *below], dim=1))]
        return self.colours(coarser[0]), self.labels(coarser[0])
