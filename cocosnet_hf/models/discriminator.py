"""The multi-scale patch discriminator."""

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .blocks import SelfAttention, conv2d, leaky_relu_
from .network import Network, require_channels
from .norms import instance_norm


class PatchDiscriminator(nn.Module):
    """Judges every patch of a picture, given its condition (official networks, 7)."""

    def __init__(self, in_channels: int, base_channels: int):
        super().__init__()
        c = base_channels
        self.layers = nn.ModuleList(
            [
                conv2d(in_channels, c, 4, stride=2, padding=1),
                conv2d(c, 2 * c, 4, stride=2, padding=1, bias=False, spectral=True),
                conv2d(2 * c, 4 * c, 4, stride=2, padding=1, bias=False, spectral=True),
                conv2d(4 * c, 8 * c, 4, padding=1, bias=False, spectral=True),
                conv2d(8 * c, 1, 4, padding=1),
            ]
        )
        self.attention = SelfAttention(4 * c)

    def forward(self, x: Tensor) -> list[Tensor]:
        """x (B, K + 3, H, W); returns four feature maps, then logits (B, 1, H/8 - 2, W/8 - 2)."""
        first, second, third, fourth, logits = self.layers
        features = [leaky_relu_(first(x))]
        features.append(leaky_relu_(instance_norm(second(features[-1]))))
        features.append(leaky_relu_(instance_norm(third(features[-1]))))
        features.append(leaky_relu_(instance_norm(fourth(self.attention(features[-1])))))
        return [*features, logits(features[-1])]


class MultiscaleDiscriminator(Network):
    """Patch discriminators of one structure on the picture and on halved copies of it.

    Zhang et al. 2020, section 3.3; layers as in official networks, 7.

    condition_channels: K of the condition. base_channels: width of the first layer.
    scales: number of discriminators, each seeing half the size of the one before.
    """

    recomputed = (PatchDiscriminator,)

    @register_to_config
    def __init__(self, condition_channels: int, base_channels: int = 64, scales: int = 2):
        super().__init__()
        self.discriminators = nn.ModuleList(
            PatchDiscriminator(condition_channels + 3, base_channels) for _ in range(scales)
        )

    def forward(self, condition: Tensor, image: Tensor) -> list[list[Tensor]]:
        """Per scale, fine to coarse: four feature maps, then the logits.

        condition (B, K, H, W); image (B, 3, H, W) in [-1, 1], fake and real stacked along the
        batch if both are judged. Raises ValueError for other shapes.
        """
        require_channels("condition", condition, self.config.condition_channels)
        require_channels("image", image, 3)
        smallest = 24 * 2 ** (len(self.discriminators) - 1)
        if min(image.shape[-2:]) < smallest:
            raise ValueError(
                f"image must be at least {smallest} pixels high and wide for "
                f"{len(self.discriminators)} scales, got {tuple(image.shape[-2:])}."
            )
        x = torch.cat([condition, image], dim=1)
        outputs = []
        for discriminator in self.discriminators:
            outputs.append(discriminator(x))
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return outputs
