"""pix2pix: a U-Net and a conditional patch critic (Isola et al. 2017).

The recipe pix2pix.yaml trains it at a small size, the layer of that name at its paper's.

Its only noise is dropout, in training and in use: a call draws it from its `generator`, and without
one paints with nothing dropped. The critic learns before the painter, on a picture of the same
noise. The critic's batch norm is an instance norm here, which is the same at a batch of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from ..conditions import Condition
from ..gan_losses import CROSS_ENTROPY
from ..image_translation import require_output_type
from ..models import PatchGAN, UNet
from ..models.network import Network, size_of
from .base import Networks, Phase, make_network
from .batch import Batch, Generated
from .paired import PairedLosses, PairedOutput, PairedPipeline, PairedSystem


class Pix2PixPipeline(PairedPipeline):
    """Paints what a condition shows; there is no exemplar."""

    method = "[pix2pix](https://arxiv.org/abs/1611.07004)"
    uses_exemplar = False
    generator: UNet

    def __init__(
        self,
        generator: UNet,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        super().__init__({"generator": generator}, condition, image_size, image_width)

    def generate(self, condition: Tensor, exemplar: Tensor | None = None) -> Tensor:
        """The picture (B, 3, H, W) of a condition (B, K, H, W), with nothing dropped."""
        del exemplar
        return self.generator(condition)

    @torch.no_grad()
    def __call__(
        self,
        condition: Any,
        exemplar: Any = None,
        exemplar_condition: Any = None,
        *,
        count: int = 1,
        height: int | None = None,
        width: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: str = "pil",
    ) -> PairedOutput:
        """Paint `condition`.

        condition: one or a list, as `CoCosPipeline` reads it. exemplar, exemplar_condition: of no
        use here; taken so that rivals can be called alike. count: pictures of each condition, which
        differ by dropout. generator: of the dropout, one, one for each condition or one for each
        picture; without, nothing is dropped. height, width: of the picture. output_type: "pil",
        "np" or "pt". Raises ValueError for input that cannot be used.
        """
        del exemplar, exemplar_condition
        require_output_type(output_type)
        given = self._given(condition, count=count, height=height, width=width, generator=generator)
        shapes = self.generator.noise_shapes(*size_of(given.condition))
        drawn = [given.noise(shape) for shape in shapes]
        noise = [each for each in drawn if each is not None]
        return self._output(self.generator(given.condition, noise or None), output_type)


@dataclass(frozen=True)
class Pix2PixLosses(PairedLosses):
    """The critic's word and the pixels (Isola et al. 2017, equation 4)."""

    feature_matching: float = 0.0
    perceptual: float = 0.0
    pixel: float = 100.0


class Pix2Pix(PairedSystem):
    """One step teaches the critic, then the painter."""

    network_classes = {"generator": (UNet,), "discriminator": (PatchGAN,)}
    averaged = ("generator",)
    Losses = Pix2PixLosses
    pipeline_class = Pix2PixPipeline
    gan = CROSS_ENTROPY
    critic_weight = 0.5
    judges_together = False  # a batch norm would tell true from painted by the other half

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks of the condition alone."""
        channels = condition.channels
        painter = make_network(options.get("generator", {}), (UNet,), channels)
        return {"generator": painter, "discriminator": cls.make_critic(channels, options)}

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """As the pipeline does without a generator: nothing is dropped."""
        return Generated(nets["generator"](batch.condition))

    def noise(self, condition: Tensor) -> list[Tensor]:
        """Of a step's picture, from torch's global generator."""
        painter = cast(UNet, self.networks["generator"])
        shapes = painter.noise_shapes(*size_of(condition))
        return [condition.new_empty(len(condition), *shape).normal_() for shape in shapes]

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """The critic, on what the painter makes now; then the painter, with the same noise."""
        noise = self.noise(batch.condition)
        if self.losses.adversarial:
            with phase("discriminator") as (nets, terms):
                with torch.no_grad():
                    image = nets["generator"](batch.condition, noise)
                terms |= self.critic_terms(nets, batch.condition, image, batch.image)
        with phase("generator") as (nets, terms):
            image = nets["generator"](batch.condition, noise)
            found = self.picture_terms(nets, batch.condition, image, batch.image)
            terms |= self.losses.applied(found)
        return Generated(image)
