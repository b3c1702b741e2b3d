"""A generator taught by the contextual loss alone, without pairs or a critic (Mechrez et al. 2018).

What it paints is to have the features of a target, wherever these lie, and those of its source.
What that is good for is a matter of the two lists of pictures: contents beside one picture of a
style, frames of a performer beside one picture or several of whom they are to animate, pictures of
one domain beside those of another. Source is the condition, drawn as a picture, and target the
exemplar, which nothing pairs: see `cocosnet_hf.systems.unpaired`. At the paper's size, of 256
pixels, the generator has 24.3 million weights. Written from the paper; no code or weights of its
authors are part of this package. The same without training: `cocosnet_hf.restyling`.

Decided where the paper leaves it open: losses of several layers are added up; nothing else is asked
for between two domains than between a performer and a puppet; source and target are cut at places
of their own; the bandwidth is 0.5, as its authors have it for generators.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..conditions import Condition
from ..models import CascadedGenerator
from ..models.drawn import drawn
from ..models.network import Network
from ..models.perceptual import PerceptualNetwork
from ..restyling import loss_of_maps, sampled
from .base import LossWeights, Networks, Phase, System, SystemOptions
from .batch import Batch, Generated, needed
from .judged import summed
from .paired import PlainPipeline
from .unpaired import domains

TARGET_LAYERS = ("relu3_2", "relu4_2")
SOURCE_LAYERS = ("relu4_2",)


class ContextualPipeline(PlainPipeline):
    """Paints what a condition shows as its generator's targets look."""

    method = "[the contextual loss](https://arxiv.org/abs/1803.02077)"

    def generate(self, condition: Tensor, exemplar: Tensor | None = None) -> Tensor:
        """condition (B, K, H, W), drawn as a picture, as one of the targets (B, 3, H, W)."""
        del exemplar
        return self.generator(drawn(condition))


@dataclass(frozen=True)
class ContextualLosses(LossWeights):
    """Multiplier of each term; see Mechrez et al. 2018, sections 4.2 and 4.3.

    target: that the features of the target at two layers are found in the picture. source: the
    same of the picture's source at the coarser of them.
    """

    perceptual_terms = ("target", "source")

    target: float = 1.0
    source: float = 1.0


@dataclass(frozen=True)
class ContextualOptions(SystemOptions):
    """bandwidth: of the contextual loss; a larger one asks less for a match."""

    bandwidth: float = 0.5

    def __post_init__(self) -> None:
        if not self.bandwidth > 0:
            raise ValueError(f"system_options.bandwidth must be above 0, got {self.bandwidth}.")


class Contextual(System):
    """One step teaches the generator."""

    network_classes = {"generator": (CascadedGenerator,)}
    averaged = ("generator",)
    Losses = ContextualLosses
    losses: ContextualLosses
    Options = ContextualOptions
    options: ContextualOptions
    pipeline_class = ContextualPipeline

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """A new generator, which reads a picture, whatever the condition."""
        del condition
        return {"generator": cls.make("generator", options)}

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """The source as the targets look."""
        return Generated(nets["generator"](drawn(batch.condition)))

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """The generator."""
        source, target = domains(batch).values()
        network = needed(self.perceptual, "a perceptual network")
        with phase("generator") as (nets, terms):
            made = nets["generator"](source)
            terms |= self.losses.applied(
                {
                    "target": lambda: self.unlike(network, made, target, TARGET_LAYERS),
                    "source": lambda: self.unlike(network, made, source, SOURCE_LAYERS),
                }
            )
        return Generated(made.detach())

    def unlike(
        self, network: PerceptualNetwork, made: Tensor, other: Tensor, layers: Iterable[str]
    ) -> Tensor:
        """The sum over layers of the contextual losses of two pictures (B, 3, H, W)."""
        found, wanted = network(made, layers), network(other, layers)
        return summed(
            loss_of_maps(
                *sampled(found[name], wanted[name].detach()), bandwidth=self.options.bandwidth
            )
            for name in layers
        )
