"""Pairs of pictures from one vector, and their critics, which share layers (Liu and Tuzel 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .conv_blocks import UNBIASED, init_weights_
from .network import Network, require_channels
from .norms import make_norm

DOMAINS = 2


def layer(conv: nn.Module, channels: int, norm: str) -> nn.Sequential:
    """A convolution, its norm and a learned leak."""
    return nn.Sequential(conv, make_norm(norm, channels, affine=True), nn.PReLU(channels))


class CoupledGenerator(Network):
    """A vector to a picture of each domain, by the same layers up to the last.

    style_channels: numbers of the vector, uniform in -1..1. channels: widths at the start and after
    each doubling, of which the last is each domain's own, as is the picture's layer. start: (h, w)
    of the first map. shares: False makes every layer each domain's own, which the paper compares
    with. norm: by its name in `cocosnet_hf.models.norms`. 12.9 M parameters as it stands.
    """

    @register_to_config
    def __init__(
        self,
        style_channels: int = 100,
        channels: Sequence[int] = (1024, 512, 256, 128, 64, 32),
        start: Sequence[int] = (4, 4),
        norm: str = "batch",
        shares: bool = True,
    ):
        super().__init__()
        bias = norm not in UNBIASED

        def doublings(widths: Sequence[int]) -> list[nn.Module]:
            return [
                layer(nn.ConvTranspose2d(*pair, 4, 2, 1, bias=bias), pair[1], norm)
                for pair in pairwise(widths)
            ]

        def trunk() -> nn.Sequential:
            first = nn.ConvTranspose2d(style_channels, channels[0], tuple(start), bias=bias)  # type: ignore[arg-type]
            return nn.Sequential(layer(first, channels[0], norm), *doublings(channels[:-1]))

        self.trunks = nn.ModuleList(trunk() for _ in range(1 if shares else DOMAINS))
        self.own = nn.ModuleList(
            nn.Sequential(
                *doublings(channels[-2:]), nn.Conv2d(channels[-1], 3, 3, padding=1), nn.Tanh()
            )
            for _ in range(DOMAINS)
        )
        init_weights_(self)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the pictures."""
        height, width = (side * 2 ** (len(self.config.channels) - 1) for side in self.config.start)
        return height, width

    def forward(self, style: Tensor) -> tuple[Tensor, Tensor]:
        """style (B, style_channels) -> two pictures (B, 3, *size) in [-1, 1]."""
        maps = [trunk(style[:, :, None, None]) for trunk in self.trunks]
        first, second = (own(maps[at % len(maps)]) for at, own in enumerate(self.own))
        return first, second


class CoupledCritic(Network):
    """Whether a picture is true, for each domain by a first layer of its own.

    channels: widths after each halving, the first by kernels of 5, from the fourth on by 3. hidden:
    width of the layer before the logit. size: (H, W) of the pictures. norm, shares: as of
    `CoupledGenerator`. 14.9 M parameters as it stands.
    """

    @register_to_config
    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 128, 256, 512, 1024),
        hidden: int = 2048,
        size: Sequence[int] = (128, 128),
        norm: str = "batch",
        shares: bool = True,
    ):
        super().__init__()
        bias = norm not in UNBIASED

        def halving(at: int, given: int, width: int) -> nn.Sequential:
            kernel = 5 if at < 3 else 3
            conv = nn.Conv2d(given, width, kernel, 2, kernel // 2, bias=bias)
            return layer(conv, width, norm if at else "none")

        def upper() -> nn.Sequential:
            halvings = [halving(at, *pair) for at, pair in enumerate(pairwise(channels), start=1)]
            positions = 1
            for side in size:
                positions *= -(-side // 2 ** len(channels))
            linear = nn.Linear(positions * channels[-1], hidden)
            return nn.Sequential(
                *halvings, nn.Flatten(), linear, nn.PReLU(hidden), nn.Linear(hidden, 1)
            )

        self.own = nn.ModuleList(halving(0, 3, channels[0]) for _ in range(DOMAINS))
        self.upper = nn.ModuleList(upper() for _ in range(1 if shares else DOMAINS))
        init_weights_(self)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, 1) of pictures (B, 3, *size) in [-1, 1] of each domain, which nothing pairs.

        Raises ValueError for pictures of another size.
        """
        said = []
        for at, image in enumerate((first, second)):
            require_channels("image", image, 3)
            if list(image.shape[-2:]) != list(self.config.size):
                raise ValueError(
                    f"image must be {tuple(self.config.size)} pixels high and wide, as this critic "
                    f"was made for, got {tuple(image.shape[-2:])}."
                )
            said.append(self.upper[at % len(self.upper)](self.own[at](image)))
        return said[0], said[1]
