"""Fader Networks: photos with other attributes, which a slider says how much (Lample et al. 2017).

An encoder is taught to leave out of its map what a critic could tell attributes by, so that the
decoder has to do as it is told. The condition is a photo and the attributes that it is to have
(`cocosnet_hf.conditions.AttributesCondition`); learning needs no more than photos whose attributes
are known, each decoded with its own. At the size of the published code, 256 pixels, encoder and
decoder have 7.0 million weights each, the critic 8.7. Written from the paper; no code or weights of
its authors are part of this package.

Decided where the paper leaves it open: an attribute's two classes are one logit of the critic,
which is the same; of several attributes the entropies are added up; one that is there in part
counts in part; the widths are those of the published code, not of the paper, which has one layer
more; the weight of the critic grows over `FaderOptions.rising_steps` steps of training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..call_inputs import as_batch
from ..conditions import Condition
from ..conditions.asked import require_attributes, taken_apart
from ..image_translation import require_output_type
from ..models import AttributeDecoder, ForgetfulEncoder, LatentCritic
from ..models.network import Network
from .base import LossWeights, Networks, Phase, System, SystemOptions
from .batch import Batch, Generated
from .paired import ConditionPipeline, PairedOutput
from .styled import together


class FaderPipeline(ConditionPipeline):
    """Paints a photo with other attributes."""

    method = "[Fader Networks](https://arxiv.org/abs/1706.00409)"

    encoder: ForgetfulEncoder
    decoder: AttributeDecoder

    def __init__(
        self,
        encoder: ForgetfulEncoder,
        decoder: AttributeDecoder,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        networks = {"encoder": encoder, "decoder": decoder}
        super().__init__(networks, condition, image_size, image_width)

    def generate(self, condition: Tensor, exemplar: Tensor | None = None) -> Tensor:
        """condition (B, 3 + A, H, W), as `AttributesCondition` encodes it -> (B, 3, H, W)."""
        del exemplar
        return faded(self.networks, condition)

    @torch.no_grad()
    def __call__(  # type: ignore[override]  # more settings, by name
        self,
        condition: Any,
        exemplar: Any = None,
        exemplar_condition: Any = None,
        *,
        attributes: Mapping[str, float] | Sequence[Mapping[str, float]] | None = None,
        height: int | None = None,
        width: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: str = "pil",
    ) -> PairedOutput:
        """Paint `condition`, a photo or a list of them, with these attributes.

        attributes: a number for each by its name, 0 without and 1 with; numbers between are
        sliders, and those beyond exaggerate. A list of such: of each photo, or of several pictures
        of one photo.
        Without, each condition says its own, {"picture": photo, "asked": attributes}, in 0..1.
        exemplar, exemplar_condition, generator: of no use here; taken so that all can be called
        alike. height, width: of the picture. output_type: "pil", "np" or "pt". The output's styles
        are the numbers. Raises ValueError for input that cannot be used.
        """
        del exemplar, exemplar_condition, generator
        require_output_type(output_type)
        known: Any = self.condition
        given = self._given(condition, height=height, width=width).condition
        photo, values = taken_apart(given)
        if attributes is not None:
            asked = [attributes] if isinstance(attributes, Mapping) else as_batch(attributes, "")
            wanted = torch.tensor([known.values(one) for one in asked])
            photo, values = together(photo, wanted.to(photo))
        images = self.decoder(self.encoder(photo), values)
        return self._output(images, output_type, values)


@dataclass(frozen=True)
class FaderLosses(LossWeights):
    """Multiplier of each term; see Lample et al. 2017, equations 1 to 3.

    reconstruction: squared differences of the photo and what is decoded with its own attributes.
    latent: that the critic takes attributes for what they are not; it grows to this weight, see
    `FaderOptions`. Too much too early and nothing is reconstructed; too little, and the decoder is
    told nothing that it does not know. The critic itself learns where this is above 0.
    """

    reconstruction: float = 1.0
    latent: float = 1e-4


@dataclass(frozen=True)
class FaderOptions(SystemOptions):
    """rising_steps: over which the weight of the critic grows from 0, linearly; 0 for at once."""

    rising_steps: int = 500_000

    def __post_init__(self) -> None:
        if self.rising_steps < 0:
            raise ValueError(
                f"system_options.rising_steps must be at least 0, got {self.rising_steps}."
            )


class Fader(System):
    """One step teaches the critic what is left in the encoder's map, then encoder and decoder."""

    network_classes = {
        "encoder": (ForgetfulEncoder,),
        "decoder": (AttributeDecoder,),
        "critic": (LatentCritic,),
    }
    averaged = ("encoder", "decoder")
    Losses = FaderLosses
    losses: FaderLosses
    Options = FaderOptions
    options: FaderOptions
    pipeline_class = FaderPipeline

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks for the condition's attributes. Raises ValueError for one without any."""
        count = require_attributes(condition)
        encoder: Any = cls.make("encoder", options)
        shape = {name: encoder.config[name] for name in ("base_channels", "widest", "halvings")}
        return {
            "encoder": encoder,
            "decoder": cls.make("decoder", options, attributes=count, **shape),
            "critic": cls.make("critic", options, attributes=count, channels=encoder.channels),
        }

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """The photo with the attributes that are asked for."""
        return Generated(faded(nets, batch.condition))

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """The critic on the map as it is, then encoder and decoder beside the critic as it is.

        Those that do not learn use the statistics that their norms have gathered.
        """
        photo, values = taken_apart(batch.condition)
        if self.losses.latent:
            with torch.no_grad():
                latent = still(self.networks["encoder"], photo)
            with phase("critic") as (nets, terms):
                terms["attributes"] = told_apart(nets["critic"](latent), values)
        with phase(*self.averaged, name="autoencoder") as (nets, terms):
            latent = nets["encoder"](photo)
            made = nets["decoder"](latent, values)
            share = self.share(phase.step)
            terms |= self.losses.applied(
                {
                    "reconstruction": lambda: F.mse_loss(made.float(), photo.float()),
                    "latent": lambda: (
                        share * told_apart(still(self.networks["critic"], latent), 1 - values)
                    ),
                }
            )
        return Generated(made.detach())

    def share(self, step: int) -> float:
        """Of the weight of the critic that counts after so many steps, 0..1."""
        rising = self.options.rising_steps
        return min(1.0, step / rising) if rising else 1.0


def faded(nets: Networks, condition: Tensor) -> Tensor:
    """Photos (B, 3, H, W) of conditions (B, 3 + A, H, W), with the attributes asked for."""
    photo, values = taken_apart(condition)
    return nets["decoder"](nets["encoder"](photo), values)


def told_apart(logits: Tensor, values: Tensor) -> Tensor:
    """The cross entropy of what is said of attributes (B, A), and how much each is there in 0..1.

    The mean over the batch of the sum over attributes, a scalar.
    """
    gaps = F.binary_cross_entropy_with_logits(logits.float(), values.float(), reduction="none")
    return gaps.sum(dim=1).mean()


def still(network: Any, x: Tensor) -> Tensor:
    """What a network makes of x with its gathered statistics and nothing random."""
    was = network.training
    network.eval()
    try:
        return network(x)
    finally:
        network.train(was)
