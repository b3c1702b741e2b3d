"""The generator of pix2pixHD: a coarse body, and enhancers at twice the size each."""

from __future__ import annotations

from typing import ClassVar

from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor, nn

from .conv_blocks import ResidualBody, conv_block, halved, init_weights_
from .network import Network, require_channels, require_stride


class CoarseToFineGenerator(Network):
    """A residual body that paints at a part of the size, and enhancers around it.

    Wang et al. 2018 (pix2pixHD), section 3.1; 183 million weights with one enhancer and 39
    channels. Each enhancer reads the condition at twice the size of what it surrounds, adds the
    map before that one's picture to its own, and paints the larger picture.

    condition_channels: K of what it is painted from: classes, boundaries and features together.
    base_channels: width of the body at its full size, halved with each enhancer. halvings, blocks:
    of the body. enhancers, enhancer_blocks: their number, and the residual blocks of each.
    norm: by its name in `cocosnet_hf.models.norms`, without a learned scale. active_enhancers: how
    many paint, None for all: trainings begin with 0, at a smaller size, and go on with more.
    Raises ValueError for numbers that do not go together.
    """

    free_settings: ClassVar[frozenset[str]] = frozenset({"active_enhancers"})
    recomputed = (ResidualBody,)

    @register_to_config
    def __init__(
        self,
        condition_channels: int,
        base_channels: int = 64,
        halvings: int = 4,
        blocks: int = 9,
        enhancers: int = 1,
        enhancer_blocks: int = 3,
        norm: str = "instance",
        active_enhancers: int | None = None,
    ):
        super().__init__()
        if not 0 <= (active_enhancers or 0) <= enhancers or base_channels % 2**enhancers:
            raise ValueError(
                f"active_enhancers must be in 0..{enhancers}, the enhancers there are, and "
                f"base_channels a multiple of {2**enhancers}, got {active_enhancers} and "
                f"{base_channels}."
            )
        self.coarse = ResidualBody(condition_channels, base_channels, halvings, blocks, norm)
        widths = [base_channels // 2**step for step in range(enhancers + 1)]
        self.bodies = nn.ModuleList(
            ResidualBody(condition_channels, width, 1, enhancer_blocks, norm)
            for width in widths[1:]
        )
        self.pictures = nn.ModuleList(
            conv_block(width, 3, 7, activation="tanh") for width in widths
        )
        init_weights_(self)

    @property
    def active(self) -> int:
        """How many enhancers paint."""
        chosen = self.config.active_enhancers
        return len(self.bodies) if chosen is None else chosen

    @property
    def stride(self) -> int:
        """Of which the sides of pictures are multiples."""
        return 2 ** (self.config.halvings + self.active)

    def learn(self, enhancer_alone: bool = False) -> None:
        """Let what paints learn, or of that the last enhancer and its picture alone.

        What does not paint collects no gradient either way. Raises ValueError if no enhancer is
        active that could learn alone.
        """
        if enhancer_alone and not self.active:
            raise ValueError(
                "system_options.enhancer_alone needs an enhancer that paints: set "
                "networks.generator.enhancers and .active_enhancers to 1 or more."
            )
        self.requires_grad_(False)
        painting = [self.coarse, *self.bodies][: self.active + 1]
        for part in (*painting[-1 if enhancer_alone else 0 :], self.pictures[self.active]):
            part.requires_grad_(True)

    def forward(self, condition: Tensor) -> Tensor:
        """Paint the picture: (B, K, H, W) -> (B, 3, H, W) in [-1, 1].

        H and W multiples of `stride`. Raises ValueError for other shapes.
        """
        require_channels("condition", condition, self.config.condition_channels)
        require_stride("condition", condition, self.stride)
        sizes = [condition]
        for _ in range(self.active):
            sizes.append(halved(sizes[-1]))
        x: Tensor = self.coarse(sizes.pop())
        for body in self.bodies[: self.active]:
            x = body(sizes.pop(), x)
        return self.pictures[self.active](x)
