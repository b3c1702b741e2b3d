"""Encoders and decoders around one latent map that domains share (Liu et al. 2017, UNIT).

`DomainDecoder` is UNIT's. In the form of EGSC-IT (Ma et al. 2019) a decoder is given the content's
mask and the statistics of an exemplar. `norm` is by name throughout, of all layers but the first,
and "none" by default, which keeps those statistics. Beside a norm activations are ReLU, else leaky.
"""

from typing import Any

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .conv_blocks import (
    Activation,
    ResidualBlock,
    conv_block,
    doubling_layers,
    halving_layers,
    init_weights_,
)
from .network import Network, require_channels, require_stride
from .norms import adaptive_norm, moments

HALVINGS = 2
STRIDE = 2**HALVINGS
"""Pixels for each position of a latent map."""


FIRST: dict[str, Any] = {"norm": "none", "activation": "leaky"}


def beside(norm: str) -> Activation:
    """The activation beside this norm."""
    return "leaky" if norm == "none" else "relu"


class DomainEncoder(Network):
    """A picture of one domain to a map that `SharedLatent` reads. 3.9 M parameters."""

    stride = STRIDE

    @register_to_config
    def __init__(
        self,
        channels: int = 3,
        base_channels: int = 64,
        residual_blocks: int = 3,
        norm: str = "none",
    ):
        super().__init__()
        self.layers = halving_layers(
            channels,
            base_channels,
            HALVINGS,
            residual_blocks,
            norm=norm,
            activation=beside(norm),
            first=FIRST,
        )
        init_weights_(self)

    def forward(self, image: Tensor) -> Tensor:
        """image (B, channels, H, W) in [-1, 1] -> (B, C, H / 4, W / 4).

        Raises ValueError for other shapes.
        """
        require_channels("image", image, self.config.channels)
        require_stride("image", image, STRIDE)
        return self.layers(image)


class SharedLatent(Network):
    """A residual block, noise N(0, 1) in training, and another residual block.

    What both domains share, before and behind the latent map. 2.4 M parameters.
    """

    @register_to_config
    def __init__(self, base_channels: int = 64, norm: str = "none"):
        super().__init__()
        self.before = ResidualBlock(base_channels * STRIDE, norm, beside(norm))
        self.behind = ResidualBlock(base_channels * STRIDE, norm, beside(norm))
        init_weights_(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, h, w) -> the map behind, and the mean before the noise, of the same shape."""
        mean = self.before(x)
        latent = mean + torch.randn_like(mean) if self.training else mean
        return self.behind(latent), mean


def picture_layers(channels: int, base_channels: int, blocks: int, norm: str) -> nn.Sequential:
    """A latent map to a picture of one domain: residual blocks, two doublings, 1x1, tanh."""
    return nn.Sequential(
        *doubling_layers(base_channels, HALVINGS, blocks, norm=norm, activation=beside(norm)),
        conv_block(base_channels, channels, 1, activation="tanh"),
    )


class DomainAutoencoder(Network):
    """Encodes and decodes pictures of one domain: EGSC-IT's first stage.

    base_channels: width of the first layer, 1 / 4 of the latent map's. 10.2 M parameters as it
    stands. `features`: what is before the latent. `taught` is saved with the weights: whether a
    first stage has been over them.
    """

    stride = STRIDE
    taught: Tensor

    @register_to_config
    def __init__(
        self,
        channels: int = 3,
        base_channels: int = 64,
        residual_blocks: int = 3,
        norm: str = "none",
    ):
        super().__init__()
        self.features = DomainEncoder(channels, base_channels, residual_blocks, norm)
        self.latent = SharedLatent(base_channels, norm)
        self.decoder = picture_layers(channels, base_channels, residual_blocks, norm)
        self.register_buffer("taught", torch.zeros((), dtype=torch.bool))
        init_weights_(self)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """image (B, channels, H, W) -> the same decoded, and the latent's mean (B, C, h, w).

        Noisy in training only. Raises ValueError for other shapes.
        """
        x, mean = self.latent(self.features(image))
        return self.decoder(x), mean


class DomainDecoder(Network):
    """A map of `SharedLatent` to a picture of one domain. 3.9 M parameters."""

    @register_to_config
    def __init__(
        self,
        channels: int = 3,
        base_channels: int = 64,
        residual_blocks: int = 3,
        norm: str = "none",
    ):
        super().__init__()
        self.layers = picture_layers(channels, base_channels, residual_blocks, norm)
        init_weights_(self)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, h, w) -> (B, channels, 4 h, 4 w) in [-1, 1]."""
        return self.layers(x)


class GuidedDecoder(DomainDecoder):
    """A shared map to a picture of one domain, after a content mask and an exemplar's statistics.

    As the paper has it: x <- x (1/2 + sigmoid(content)/2), then adaptive instance norm to the
    standard deviation and mean of the exemplar's features. 3.9 M parameters.
    """

    def forward(  # type: ignore[override]  # what guides it
        self, x: Tensor, content: Tensor, exemplar: Tensor
    ) -> Tensor:
        """x (B, C, h, w) from `SharedLatent` -> (B, channels, 4 h, 4 w) in [-1, 1].

        content (B, C, h, w): features of the picture that is translated, exemplar (B, C, h', w'):
        of the one that it is to look like; both of a `DomainAutoencoder`.
        """
        return self.layers(guided(x, content, exemplar))


def guided(x: Tensor, content: Tensor, exemplar: Tensor) -> Tensor:
    """x (B, C, h, w) masked by content (B, C, h, w), with the exemplar's channel statistics."""
    return adaptive_norm(x * (0.5 + 0.5 * torch.sigmoid(content)), *moments(exemplar))
