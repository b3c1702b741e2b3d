"""The patch critics of the baselines, by number of halvings, norm and scales."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .blocks import LEAKY_SLOPE, conv2d
from .conv_blocks import UNBIASED, halved, init_weights_
from .network import Network, require_channels
from .norms import make_norm


class PatchCritic(nn.Module):
    """Logits of overlapping patches, and the maps before them."""

    def __init__(
        self,
        in_channels: int,
        base: int,
        halvings: int,
        padding: int,
        norm: str,
        spectral: bool,
        joins: bool,
        kernel_size: int,
        widest: int,
        logit_size: int,
    ):
        super().__init__()
        kernel = kernel_size if halvings else 1
        padding = padding if halvings else 0
        strides = [2] * halvings + [1] * joins if halvings else [1, 1]
        widths = [base * min(2**step, widest) for step in range(len(strides))]
        layers = []
        for step, (stride, width) in enumerate(zip(strides, widths, strict=True)):
            name = norm if step else "none"
            conv = conv2d(
                in_channels,
                width,
                kernel,
                stride=stride,
                padding=padding,
                bias=name not in UNBIASED,
                spectral=spectral and step > 0,
            )
            layers.append(nn.Sequential(conv, make_norm(name, width), nn.LeakyReLU(LEAKY_SLOPE)))
            in_channels = width
        self.layers = nn.ModuleList(layers)
        size = kernel if joins else logit_size
        self.last = conv2d(in_channels, 1, size, padding=padding if joins else 0)
        if not spectral:
            init_weights_(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        """x (B, C, H, W); returns a map of each layer, then the logits (B, 1, h, w)."""
        maps = []
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        return [*maps, self.last(x)]


class PatchGAN(Network):
    """Patch critics on condition and picture, and on halved copies of both.

    Isola et al. 2017, section 3.2.2; several scales as in Wang et al. 2018 (pix2pixHD).

    condition_channels: K of what is judged beside the picture, 0 for the picture alone (MUNIT).
    base_channels: width of the first layer. halvings: layers with stride 2, before one with stride
    1 and the logits; one logit then sees 16, 34, 70, 142 or 286 pixels for 1 to 5 of them, and one
    pixel for 0. padding: of each layer, 1 (pix2pix) or 2 (pix2pixHD, SPADE). scales: number of
    critics. norm: of the layers between the first and the logits, by its name in
    `cocosnet_hf.models.norms`. spectral: divide the weights of these layers by their norm. joins:
    False leaves out the layer with stride 1, and the logits are of 1x1 (MUNIT). narrows: whether
    each scale has half the widths of the one before (BicycleGAN). kernel_size: of the layers but
    the logits that nothing joins (UNIT 3). widest: of the layers, in multiples of the first (UNIT
    32). logit_size: of the kernel of such logits; after 4 halvings 4 makes one number of 64 pixels
    (DiscoGAN).
    """

    recomputed = (PatchCritic,)

    @register_to_config
    def __init__(
        self,
        condition_channels: int = 0,
        base_channels: int = 64,
        halvings: int = 3,
        padding: int = 1,
        scales: int = 1,
        norm: str = "instance",
        spectral: bool = False,
        joins: bool = True,
        narrows: bool = False,
        kernel_size: int = 4,
        widest: int = 8,
        logit_size: int = 1,
    ):
        super().__init__()
        bases = [base_channels // (2**scale if narrows else 1) for scale in range(scales)]
        form = padding, norm, spectral, joins, kernel_size, widest, logit_size
        self.critics = nn.ModuleList(
            PatchCritic(condition_channels + 3, base, halvings, *form) for base in bases
        )

    @property
    def smallest(self) -> int:
        """The shortest side that all layers of all scales can halve."""
        halvings = self.config.halvings + self.config.scales - 1
        return (3 if self.config.joins else self.config.logit_size) * 2**halvings

    def forward(self, condition: Tensor, image: Tensor) -> list[list[Tensor]]:
        """Per scale, fine to coarse: the feature maps, then the logits.

        condition (B, K, H, W); image (B, 3, H, W) in [-1, 1]. Raises ValueError for other shapes
        and for pictures smaller than a critic's layers need.
        """
        require_channels("condition", condition, self.config.condition_channels)
        require_channels("image", image, 3)
        if min(image.shape[-2:]) < self.smallest:
            raise ValueError(
                f"image must be at least {self.smallest} pixels high and wide for "
                f"{self.config.halvings} halvings and {self.config.scales} scales, got "
                f"{tuple(image.shape[-2:])}; lower the discriminator's halvings or scales."
            )
        x = torch.cat([condition, image], dim=1)
        judged = []
        for critic in self.critics:
            judged.append(critic(x))
            x = halved(x)
        return judged
