"""A discriminator that judges pixels with their condition, and features of frozen networks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .blocks import conv2d, leaky_relu_
from .efficientnet import EfficientNetLite0Features
from .inference import RAW_WEIGHT, reflect_pad
from .network import Network, require_channels

_PATCH_GAIN = 2.0  # what spectral norm and the blur take from a map in one layer
_SMALLEST_SIDE = 32  # of the distilled VGG, which mirrors borders at stride 16


@dataclass(frozen=True)
class Backbone:
    """How a frozen network is read.

    read: network and images (B, 3, H, W) in [-1, 1] to features at strides 4, 8 and 16. channels:
    of these features. size: their root mean square on photographs of landscapes, faces, bodies and
    facades, 128 px.
    """

    read: Callable[[nn.Module, Tensor], list[Tensor]]
    channels: tuple[int, ...]
    size: tuple[float, ...]


def _read_distilled_vgg(network: nn.Module, images: Tensor) -> list[Tensor]:
    return list(network(images, ("relu3_4", "relu4_4", "relu5_1")).values())


BACKBONES = {
    "efficientnet-lite0": Backbone(
        lambda network, images: network(images),
        channels=EfficientNetLite0Features.channels,
        size=(8.5, 7.7, 6.9),
    ),
    "vgg19-distilled": Backbone(_read_distilled_vgg, channels=(64, 128, 128), size=(3.7, 1.9, 7.5)),
}
"""Networks that a `ProjectedDiscriminator` may judge by, by their names in its configuration."""


class BlurPool(nn.Module):
    """Halve a map behind the binomial filter [1, 3, 3, 1] / 8 in both directions (Zhang 2019).

    A plain stride lets half of the pixels count more than the others, and what learns from such a
    judge paints lattices.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", torch.outer(taps, taps).view(1, 1, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W), best laid out channels last; returns (B, C, H // 2, W // 2)."""
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, 4, 4)
        return F.conv2d(reflect_pad(x), kernel, stride=2, groups=channels)


class BlurPoolPatchDiscriminator(nn.Module):
    """Judges patches of 68 pixels of a picture, given its condition, without aliasing.

    Without instance norm as well, which would hide from it how strong contrasts are. On the
    official tiny weights, spectral norm alone lets the maps fade from layer to layer, and each step
    of Adam overthrows the weights: hence weights at unit gain, and a constant gain in each layer.
    """

    def __init__(self, in_channels: int, base_channels: int):
        super().__init__()
        c = base_channels
        widths = (in_channels, c, 2 * c, 4 * c, 8 * c)
        self.layers = nn.ModuleList(
            conv2d(width, next_width, 3, padding=1, spectral=True)
            for width, next_width in zip(widths, widths[1:], strict=False)
        )
        for layer in self.layers:
            nn.init.xavier_normal_(layer.get_parameter(RAW_WEIGHT))
        self.logits = nn.Conv2d(8 * c, 1, 3, padding=1)
        nn.init.xavier_normal_(self.logits.weight)
        self.pool = BlurPool()

    def forward(self, x: Tensor) -> list[Tensor]:
        """x (B, K + 3, H, W); returns four feature maps, then logits (B, 1, H // 8, W // 8)."""
        features = []
        # The blur is a multiple faster on maps laid out so.
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in self.layers[:-1]:
            x = _PATCH_GAIN * self.pool(leaky_relu_(layer(x)))
            features.append(x)
        features.append(_PATCH_GAIN * leaky_relu_(self.layers[-1](x)))
        return [*features, self.logits(features[-1])]


class FeatureHead(nn.Module):
    """Judges every position of a frozen network's feature map.

    The features are first mixed at random, once and for all, so that none can be singled out
    (Sauer et al. 2021); the mixture has a size of about 1.
    """

    mixture: Tensor

    def __init__(self, in_channels: int, channels: int, feature_size: float):
        super().__init__()
        mixture = torch.randn(in_channels, in_channels, 1, 1) / (in_channels**0.5 * feature_size)
        self.register_buffer("mixture", mixture)
        self.reduce = conv2d(in_channels, channels, 1)
        nn.init.xavier_normal_(self.reduce.weight)  # no norm behind it would undo a small gain
        self.conv = conv2d(channels, channels, 3, padding=1, spectral=True)
        nn.init.xavier_normal_(self.conv.get_parameter(RAW_WEIGHT))
        # With the small official gain a head would need hundreds of steps to say anything.
        self.logits = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """features (B, C, h, w); returns logits (B, 1, h, w)."""
        x = leaky_relu_(self.reduce(F.conv2d(features, self.mixture)))
        return self.logits(leaky_relu_(self.conv(x)))


class ProjectedDiscriminator(Network):
    """A patch discriminator on pixels, and one head on each feature map of frozen networks.

    Sauer et al. 2021: networks that know photographs see at once what a small discriminator would
    need many pictures to learn. The frozen networks are no part of this one: they are given with
    `attach`, and neither trained nor saved.

    condition_channels: K of the condition, which only the patch discriminator sees.
    base_channels: width of its first layer. backbones: names in `BACKBONES`, each read at strides
    4, 8 and 16. head_channels: width of each head.
    """

    backbones: ClassVar[tuple[str, ...]] = ("efficientnet-lite0", "vgg19-distilled")

    recomputed = (BlurPoolPatchDiscriminator, FeatureHead)

    @register_to_config
    def __init__(
        self,
        condition_channels: int,
        base_channels: int = 32,
        backbones: tuple[str, ...] = backbones,
        head_channels: int = 64,
    ):
        super().__init__()
        unknown = [name for name in backbones if name not in BACKBONES]
        if unknown or len(set(backbones)) != len(backbones):
            raise ValueError(
                f"backbones must be different names among {', '.join(BACKBONES)}, got "
                f"{tuple(backbones)}."
            )
        self.patch = BlurPoolPatchDiscriminator(condition_channels + 3, base_channels)
        self.heads = nn.ModuleDict()
        for name in backbones:
            backbone = BACKBONES[name]
            self.heads[name] = nn.ModuleList(
                FeatureHead(channels, head_channels, size)
                for channels, size in zip(backbone.channels, backbone.size, strict=True)
            )
        self._attached: dict[str, nn.Module] = {}

    def attach(self, backbones: Mapping[str, nn.Module]) -> None:
        """Give the networks that the heads judge by, under their names in the configuration.

        They are frozen and put into evaluation mode, and must be on the discriminator's device;
        as they are no part of it, moving it does not move them. Raises ValueError if one is missing
        or not in the configuration.
        """
        if set(backbones) != set(self.heads):
            raise ValueError(
                f"the heads of this discriminator judge by {_listed(self.heads)}, got "
                f"{_listed(backbones)}; attach just those of its configuration."
            )
        # A dict, in which torch does not look for parts of this module.
        self._attached = {
            name: network.eval().requires_grad_(False) for name, network in backbones.items()
        }

    def forward(self, condition: Tensor, image: Tensor) -> list[list[Tensor]]:
        """The patch discriminator's four feature maps and logits, then the logits of each head.

        Heads are in the order of the configuration, fine to coarse within one network, each a list
        of its own. condition (B, K, H, W); image (B, 3, H, W) in [-1, 1], fake and real stacked
        along the batch if both are judged. Raises ValueError for other shapes and RuntimeError
        before `attach`.
        """
        require_channels("condition", condition, self.config.condition_channels)
        require_channels("image", image, 3)
        if min(image.shape[-2:]) < _SMALLEST_SIDE:
            raise ValueError(
                f"image must be at least {_SMALLEST_SIDE} pixels high and wide, got "
                f"{tuple(image.shape[-2:])}."
            )
        if self._attached.keys() != set(self.heads):
            raise RuntimeError(
                f"this discriminator judges by the features of {_listed(self.heads)}, which are "
                f"not saved with it; give them with attach() first."
            )
        outputs = [self.patch(torch.cat([condition, image], dim=1))]
        image = image.contiguous(memory_format=torch.channels_last)
        for name, heads in self.heads.items():
            features = BACKBONES[name].read(self._attached[name], image)
            pairs = zip(heads.children(), features, strict=True)
            outputs += [[head(maps)] for head, maps in pairs]
        return outputs


def _listed(names: Mapping[str, nn.Module] | nn.ModuleDict) -> str:
    return ", ".join(sorted(names)) or "none"
