"""SPADE: a label map at every scale, and a style from an image encoder (Park et al. 2019).

The recipe spade.yaml trains it at a small size, the layer of that name at its paper's.

`spade` learns an encoder, which sees the true photo in training and the exemplar in use;
`spade_plain` has none and paints one picture for each label map. Boundaries of instances are not
read, as in the paper's training on ADE20k.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..conditions import Condition
from ..gan_losses import HINGE, kl_sum
from ..image_translation import require_output_type
from ..models import ImageEncoder, PatchGAN, SPADEGenerator
from ..models.network import Network
from .base import Networks, Phase, make_network
from .batch import Batch, Generated
from .paired import PairedLosses, PairedOutput, PairedPipeline, PairedSystem

METHOD = "[SPADE](https://arxiv.org/abs/1903.07291)"


class SpadePipeline(PairedPipeline):
    """Paints a condition in the style of an exemplar, in a style given or drawn, or in the mean."""

    method = METHOD
    encoder: ImageEncoder
    generator: SPADEGenerator

    def __init__(
        self,
        encoder: ImageEncoder,
        generator: SPADEGenerator,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        networks = {"encoder": encoder, "generator": generator}
        super().__init__(networks, condition, image_size, image_width)

    def generate(self, condition: Tensor, exemplar: Tensor) -> Tensor:
        """The picture (B, 3, H, W) in the mean style that the encoder sees in exemplars."""
        return self.generator(condition, self.encoder(exemplar)[0])

    @torch.no_grad()
    def __call__(
        self,
        condition: Any,
        exemplar: Any = None,
        exemplar_condition: Any = None,
        *,
        style: Tensor | None = None,
        count: int = 1,
        height: int | None = None,
        width: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: str = "pil",
    ) -> PairedOutput:
        """Paint `condition`.

        condition, exemplar: one of each or lists, as `CoCosPipeline` reads them.
        exemplar_condition: of no use here. style (S,) or (B, S), in the place of an exemplar, such
        as `styles` of an output. generator: one, one for each condition or one for each picture; of
        the style where there is neither, which without it is 0, the mean of all. With an exemplar
        nothing is drawn. count: pictures of each condition. height, width: of the picture.
        output_type: "pil", "np" or "pt". Raises ValueError for input that cannot be used.
        """
        del exemplar_condition
        require_output_type(output_type)
        if style is not None and exemplar is not None:
            raise ValueError("a style stands in the place of an exemplar: pass one of them.")
        given = self._given(
            condition, exemplar, count=count, height=height, width=width, generator=generator
        )
        entries, items = self.generator.config.style_channels, len(given.condition)
        if given.exemplar is not None:
            style = self.encoder(given.exemplar)[0]
        elif style is not None:
            style = torch.atleast_2d(style).to(given.condition)
            if len(style) in (1, items // count):  # else the generator says what it needs
                style = style.expand(items // count, -1).repeat_interleave(count, 0)
        else:
            style = given.noise((entries,))
        if style is None:
            style = given.condition.new_zeros(items, entries)
        return self._output(self.generator(given.condition, style), output_type, style.cpu())


class SpadePlainPipeline(PairedPipeline):
    """Paints what a condition shows; there is no exemplar and nothing is drawn."""

    method = METHOD
    uses_exemplar = False
    generator: SPADEGenerator

    def __init__(
        self,
        generator: SPADEGenerator,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        super().__init__({"generator": generator}, condition, image_size, image_width)

    def generate(self, condition: Tensor, exemplar: Tensor | None = None) -> Tensor:
        """The picture (B, 3, H, W) of a condition (B, K, H, W)."""
        del exemplar
        return self.generator(condition)

    @torch.no_grad()
    def __call__(
        self,
        condition: Any,
        exemplar: Any = None,
        exemplar_condition: Any = None,
        *,
        height: int | None = None,
        width: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: str = "pil",
    ) -> PairedOutput:
        """Paint `condition`: one or a list, as `CoCosPipeline` reads it.

        exemplar, exemplar_condition, generator: of no use here; taken so that rivals can be called
        alike. height, width, output_type: as of `SpadePipeline`.
        """
        del exemplar, exemplar_condition, generator
        require_output_type(output_type)
        given = self._given(condition, height=height, width=width)
        return self._output(self.generator(given.condition), output_type)


@dataclass(frozen=True)
class SpadeLosses(PairedLosses):
    """kl: how far styles are from N(0, 1), summed over their entries and the batch."""

    kl: float = 0.05


class SpadePlain(PairedSystem):
    """The generator that starts from the label map, then the critics on the same picture."""

    network_classes = {"generator": (SPADEGenerator,), "discriminator": (PatchGAN,)}
    averaged = ("generator",)
    Losses = PairedLosses
    pipeline_class = SpadePlainPipeline
    gan = HINGE
    critic_defaults = {"padding": 2, "scales": 2, "spectral": True}

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks of the condition alone."""
        chosen = {**options.get("generator", {}), "style_channels": 0}
        painter = make_network(chosen, (SPADEGenerator,), condition.channels)
        return {
            "generator": painter,
            "discriminator": cls.make_critic(condition.channels, options),
        }

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """As the pipeline does."""
        return Generated(nets["generator"](batch.condition))

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """The painter, then the critics."""
        with phase("generator") as (nets, terms):
            image = nets["generator"](batch.condition)
            found = self.picture_terms(nets, batch.condition, image, batch.image)
            terms |= self.losses.applied(found)
        self.critic_step(phase, batch.condition, image, batch.image)
        return Generated(image)


class Spade(PairedSystem):
    """Encoder and painter in one phase, the critics in the next on the same picture."""

    network_classes = {
        "encoder": (ImageEncoder,),
        "generator": (SPADEGenerator,),
        "discriminator": (PatchGAN,),
    }
    averaged = ("encoder", "generator")
    Losses = SpadeLosses
    pipeline_class = SpadePipeline
    gan = HINGE
    critic_defaults = SpadePlain.critic_defaults

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks, of which the painter reads a style as the encoder makes it."""
        encoder = ImageEncoder(**options.get("encoder", {}))
        chosen = {
            **options.get("generator", {}),
            "style_channels": encoder.config.style_channels,
        }
        return {
            "encoder": encoder,
            "generator": make_network(chosen, (SPADEGenerator,), condition.channels),
            "discriminator": cls.make_critic(condition.channels, options),
        }

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """As the pipeline does with an exemplar: in the mean style."""
        mean, _ = nets["encoder"](batch.exemplar)
        return Generated(nets["generator"](batch.condition, mean))

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """Encoder and painter, in a style drawn for the true photo; then the critics."""
        with phase(*self.averaged, name="generator") as (nets, terms):
            mean, log_variance = nets["encoder"](batch.image)
            style = mean + torch.randn_like(mean) * (log_variance / 2).exp()
            image = nets["generator"](batch.condition, style)
            found = self.picture_terms(nets, batch.condition, image, batch.image)
            terms |= self.losses.applied(found | {"kl": lambda: kl_sum(mean, log_variance)})
        self.critic_step(phase, batch.condition, image, batch.image)
        return Generated(image)
