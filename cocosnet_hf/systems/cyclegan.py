"""CycleGAN: two generators, each of which must undo what the other does (Zhu et al. 2017).

Without pairs: see `cocosnet_hf.systems.unpaired` for what is read of an example. At the paper's
size a generator has 11.4 million weights, a critic 2.8 million. Written from the paper; no code or
weights of its authors are part of this package.

Decided where the paper leaves it open: the term of identity, which the paper has for paintings
only, is on, as colours turn over without it; with several processes each has a pool of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..models import CoarseToFineGenerator, PatchGAN
from ..models.drawn import drawn
from .base import LossWeights, Networks, Phase
from .batch import Batch, Generated
from .two_way import GeneratorPairPipeline, translated
from .unpaired import PooledSystem, apart, domains

GENERATOR = {"halvings": 2, "enhancers": 0}


class CycleGANPipeline(GeneratorPairPipeline):
    """Translates pictures of two domains into each other."""

    method = "[CycleGAN](https://arxiv.org/abs/1703.10593)"


@dataclass(frozen=True)
class CycleGANLosses(LossWeights):
    """Multiplier of each term, summed over both domains; see Zhu et al. 2017, sections 3 and 5.2.

    adversarial: least squares, of the critics too, there halved. cycle: that a picture comes back
    from its translation. identity: that a picture of a generator's own domain stays as it is.
    """

    adversarial: float = 1.0
    cycle: float = 10.0
    identity: float = 5.0


class CycleGAN(PooledSystem):
    """One step teaches both generators, then both critics on pooled pictures."""

    network_classes = {
        "condition_generator": (CoarseToFineGenerator,),
        "photo_generator": (CoarseToFineGenerator,),
        "condition_critic": (PatchGAN,),
        "photo_critic": (PatchGAN,),
    }
    averaged = ("condition_generator", "photo_generator")
    defaults = dict.fromkeys(averaged, GENERATOR)
    Losses = CycleGANLosses
    losses: CycleGANLosses
    pipeline_class = CycleGANPipeline

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """The condition as a photo."""
        return Generated(nets["photo_generator"](drawn(batch.condition)))

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """The generators, then the critics."""
        pictures = domains(batch)
        with phase(*self.averaged, name="generators") as (nets, terms):
            fakes = translated(nets, pictures)
            terms |= self.losses.applied(
                {
                    "adversarial": lambda: self.fooled(nets, fakes),
                    "cycle": lambda: apart(translated(nets, fakes), pictures),
                    "identity": lambda: apart(
                        {name: nets[f"{name}_generator"](one) for name, one in pictures.items()},
                        pictures,
                    ),
                }
            )
        self.pooled_step(phase, pictures, fakes)
        return Generated(fakes["photo"].detach())
