"""DiscoGAN: what two domains have in common, found by going both ways (Kim et al. 2017).

Without pairs: see `cocosnet_hf.systems.unpaired`. At the paper's size, of 64 pixels, a generator
has 5.5 million weights, a critic 2.8 million. Written from the paper; no code or weights of its
authors are part of this package.

Decided where the paper leaves it open: the generators are the encoder and decoder of `UNet` without
skips, whose innermost map has no norm, and end in tanh, so that the term of reconstruction is
divided by 4 to be in units of pictures in 0..1; features are compared behind the critic's three
norms; at other sizes than 64 the critic says several numbers of a picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..gan_losses import CROSS_ENTROPY
from ..models import PatchGAN, UNet
from ..models.drawn import drawn
from .base import LossWeights, Networks, Phase, SystemOptions
from .batch import Batch, Generated
from .judged import summed
from .two_way import GeneratorPairPipeline, translated
from .unpaired import DOMAINS, Pair, UnpairedSystem, domains

GENERATOR = {"levels": 4, "dropout": 0, "skips": False, "norm": "batch"}
CRITIC = {"halvings": 4, "norm": "batch", "joins": False, "logit_size": 4}


class DiscoGANPipeline(GeneratorPairPipeline):
    """Translates pictures of two domains into each other."""

    method = "[DiscoGAN](https://arxiv.org/abs/1703.05192)"


@dataclass(frozen=True)
class DiscoGANLosses(LossWeights):
    """Multiplier of each term, summed over both domains, before the rate of `DiscoGANOptions`.

    adversarial: of the critics too, there times 5, which makes one half. features: squared
    differences of the critic's features, of their means over the batch. reconstruction: of the
    squared differences of a picture and what comes back from its translation.
    """

    adversarial: float = 0.1
    features: float = 0.9
    reconstruction: float = 1.0


@dataclass(frozen=True)
class DiscoGANOptions(SystemOptions):
    """rate: of the term of reconstruction, 1 - rate of both others. early_rate: the same in the
    first early_steps steps, in which critics and generators find the domains. critics_every: of so
    many steps one teaches the critics, the others the generators.
    """

    rate: float = 0.5
    early_rate: float = 0.01
    early_steps: int = 10_000
    critics_every: int = 3

    def __post_init__(self) -> None:
        if not (0 <= self.rate <= 1 and 0 <= self.early_rate <= 1 and self.critics_every > 1):
            raise ValueError(
                f"system_options.rate and .early_rate must be in 0..1 and .critics_every from 2 "
                f"on, got {self.rate}, {self.early_rate} and {self.critics_every}."
            )


class DiscoGAN(UnpairedSystem):
    """Every third step teaches the critics, the others the generators."""

    network_classes = {
        "condition_generator": (UNet,),
        "photo_generator": (UNet,),
        "condition_critic": (PatchGAN,),
        "photo_critic": (PatchGAN,),
    }
    averaged = ("condition_generator", "photo_generator")
    defaults = {
        name: GENERATOR if name in ("condition_generator", "photo_generator") else CRITIC
        for name in network_classes
    }
    Losses = DiscoGANLosses
    losses: DiscoGANLosses
    Options = DiscoGANOptions
    options: DiscoGANOptions
    pipeline_class = DiscoGANPipeline
    gan = CROSS_ENTROPY
    critic_weight = 5.0
    judges_together = False  # a batch norm would tell true from painted by the other half

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """The condition as a photo."""
        return Generated(nets["photo_generator"](drawn(batch.condition)))

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """The critics or the generators, by the number of the step."""
        pictures = domains(batch)
        if phase.step % self.options.critics_every == 0:
            with torch.no_grad():
                fakes = translated(self.networks, pictures)
            self.critics_step(phase, pictures, fakes)
            return Generated(fakes["photo"])
        with phase(*self.averaged, name="generators") as (nets, terms):
            fakes = translated(nets, pictures)
            found = {
                name: self.judge(nets[f"{name}_critic"], fake[:, :0], fake, pictures[name])
                for name, fake in fakes.items()
            }
            made = self.losses.applied(
                {
                    "adversarial": lambda: summed(
                        self.gan.for_painter(fake) for fake, _ in found.values()
                    ),
                    "features": lambda: summed(
                        feature_difference(fake[0], real[0]) for fake, real in found.values()
                    ),
                    "reconstruction": lambda: squares(translated(nets, fakes), pictures) / 4,
                }
            )
            terms |= {name: term * self.share(phase, name) for name, term in made.items()}
        return Generated(fakes["photo"].detach())

    def share(self, phase: Phase, name: str) -> float:
        """What a term is multiplied by in this step, beside its weight."""
        own = self.options
        rate = own.early_rate if phase.step < own.early_steps else own.rate
        return rate if name == "reconstruction" else 1 - rate


def feature_difference(fake: list[Tensor], real: list[Tensor]) -> Tensor:
    """Mean over layers of mean (E fake - E real)^2, E: the mean over the batch.

    fake, real: what a critic says, maps (B, C, h, w) and logits. Of all maps but the first.
    """
    pairs = list(zip(fake[1:-1], real[1:-1], strict=True))
    return summed(
        F.mse_loss(one.float().mean(0), other.float().mean(0)) / len(pairs) for one, other in pairs
    )


def squares(found: Pair, true: Pair) -> Tensor:
    """Mean squared differences, summed over both domains."""
    return summed(F.mse_loss(found[name], true[name]) for name in DOMAINS)
