"""SPADE: a label map at every scale, and a style from an image encoder (Park et al. 2019).

The recipe spade.yaml trains it at a small size, the layer of that name at its paper's.

`spade` learns an encoder, which sees the true photo in training and the exemplar in use;
`spade_plain` has none and paints one picture for each label map. Boundaries of instances are not
read, as in the paper's training on ADE20k.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..conditions import Condition
from ..gan_losses import kl_sum
from ..models import ImageEncoder, PatchGAN, SPADEGenerator
from ..models.network import Network
from .base import Networks
from .batch import Batch, Generated
from .paired import PairedLosses, PairedSystem, PlainPipeline
from .styled import StyledPipeline

METHOD = "[SPADE](https://arxiv.org/abs/1903.07291)"
CRITIC = {"padding": 2, "scales": 2, "spectral": True}


class SpadePipeline(StyledPipeline):
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


class SpadePlainPipeline(PlainPipeline):
    """Paints what a condition shows; there is no exemplar and nothing is drawn."""

    method = METHOD


@dataclass(frozen=True)
class SpadeLosses(PairedLosses):
    """kl: how far styles are from N(0, 1), summed over their entries and the batch."""

    kl: float = 0.05


class SpadePlain(PairedSystem):
    """The generator that starts from the label map, then the critics on the same picture."""

    network_classes = {"generator": (SPADEGenerator,), "discriminator": (PatchGAN,)}
    averaged = ("generator",)
    defaults = {"generator": {"style_channels": 0}, "discriminator": CRITIC}
    pipeline_class = SpadePlainPipeline

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """As the pipeline does."""
        return Generated(nets["generator"](batch.condition))


class Spade(PairedSystem):
    """Encoder and painter in one phase, the critics in the next on the same picture."""

    network_classes = {
        "encoder": (ImageEncoder,),
        "generator": (SPADEGenerator,),
        "discriminator": (PatchGAN,),
    }
    averaged = ("encoder", "generator")
    defaults = {"discriminator": CRITIC}
    Losses = SpadeLosses
    pipeline_class = SpadePipeline

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks, of which the painter reads a style as the encoder makes it."""
        encoder, channels = cls.make("encoder", options), condition.channels
        entries = encoder.config.style_channels
        return {
            "encoder": encoder,
            "generator": cls.make("generator", options, channels, style_channels=entries),
            "discriminator": cls.make("discriminator", options, channels),
        }

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """As the pipeline does with an exemplar: in the mean style."""
        mean, _ = nets["encoder"](batch.exemplar)
        return Generated(nets["generator"](batch.condition, mean))

    def learned(
        self, nets: Networks, batch: Batch
    ) -> tuple[Generated, dict[str, Callable[[], Tensor]]]:
        """In a style drawn for the true photo."""
        mean, log_variance = nets["encoder"](batch.image)
        style = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        image = nets["generator"](batch.condition, style)
        return Generated(image), {"kl": lambda: kl_sum(mean, log_variance)}
