"""Convolutions with their norm and activation, as the systems beside CoCosNet stack them."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from .blocks import LEAKY_SLOPE
from .norms import make_norm

Activation = Literal["relu", "leaky", "tanh", "none"]
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky": lambda: nn.LeakyReLU(LEAKY_SLOPE),
    "tanh": nn.Tanh,
    "none": nn.Identity,
}


def conv_block(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    norm: str = "none",
    affine: bool = False,
    activation: Activation = "relu",
) -> nn.Sequential:
    """A convolution with mirrored borders, its norm by name and its activation.

    Of an odd kernel size it keeps the size, of an even one with stride 2 it halves it. norm,
    affine: see `cocosnet_hf.models.norms.make_norm`.
    """
    border = (kernel_size - 1) // 2
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            border,
            padding_mode="reflect" if border else "zeros",
        ),
        make_norm(norm, out_channels, affine),
        ACTIVATIONS[activation](),
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions of one width around a shortcut, the first with an activation."""

    def __init__(self, channels: int, norm: str = "instance", activation: Activation = "relu"):
        super().__init__()
        self.first = conv_block(channels, channels, 3, norm=norm, activation=activation)
        self.second = conv_block(channels, channels, 3, norm=norm, activation="none")

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, h, w) with sides of at least 2; the same shape comes back."""
        return x + self.second(self.first(x))


def init_he_(module: nn.Module, slope: float = 0.0) -> None:
    """Weights of every convolution and linear layer by He et al. 2015, biases 0.

    slope: of the activation behind them below 0.
    """
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.kaiming_normal_(part.weight, a=slope)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def init_normal_(module: nn.Module, deviation: float = 0.02) -> None:
    """Weights of every convolution and linear layer N(0, deviation^2), biases 0."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(part.weight, std=deviation)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
