"""UNIT: two domains around one latent map, which the same layers make and read (Liu et al. 2017).

The latent is a map, not a vector: a picture has one, nothing can be painted of one by chance, and
the pipeline has no `sample`. Without pairs: see `cocosnet_hf.systems.unpaired`. At the paper's size
encoder and decoder have 3.9 million weights each, what is shared 2.4, a critic 25.1. Written from
the paper; no code or weights of its authors are part of this package.

Decided where the paper leaves it open: what a code is pulled by is the mean of its squares, not
their sum; the critics share no layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..conditions import Condition
from ..gan_losses import CROSS_ENTROPY
from ..models import DomainDecoder, DomainEncoder, PatchGAN, SharedLatent
from ..models.drawn import drawn
from .base import LossWeights, Networks, Phase
from .batch import Batch, Generated
from .egsc_it import encoded, squares
from .two_way import TwoWayPipeline
from .unpaired import DOMAINS, OTHER, Pair, UnpairedSystem, apart, domains

CRITIC = {"halvings": 6, "norm": "none", "joins": False, "kernel_size": 3, "widest": 32}


class UNITPipeline(TwoWayPipeline):
    """Translates pictures of two domains into each other, without noise."""

    method = "[UNIT](https://arxiv.org/abs/1703.00848)"

    def __init__(
        self,
        condition_encoder: DomainEncoder,
        photo_encoder: DomainEncoder,
        shared: SharedLatent,
        condition_decoder: DomainDecoder,
        photo_decoder: DomainDecoder,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        networks = {
            "condition_encoder": condition_encoder,
            "photo_encoder": photo_encoder,
            "shared": shared,
            "condition_decoder": condition_decoder,
            "photo_decoder": photo_decoder,
        }
        super().__init__(networks, condition, image_size, image_width)

    def translated(self, picture: Tensor, domain: str) -> Tensor:
        """See `TwoWayPipeline`."""
        return painted(self.networks, picture, domain)


@dataclass(frozen=True)
class UNITLosses(LossWeights):
    """Multiplier of each term, summed over both domains; see Liu et al. 2017, section 3.

    adversarial: of the critics too. image: that a picture comes back from its own code. cycle: that
    it comes back from its translation. latent: mean square of codes, of pictures and of
    translations.
    """

    adversarial: float = 10.0
    image: float = 100.0
    cycle: float = 100.0
    latent: float = 0.1


class UNIT(UnpairedSystem):
    """One step teaches the critics, then the other five networks."""

    network_classes = {
        "condition_encoder": (DomainEncoder,),
        "photo_encoder": (DomainEncoder,),
        "shared": (SharedLatent,),
        "condition_decoder": (DomainDecoder,),
        "photo_decoder": (DomainDecoder,),
        "condition_critic": (PatchGAN,),
        "photo_critic": (PatchGAN,),
    }
    averaged = tuple(name for name in network_classes if not name.endswith("_critic"))
    defaults = {
        name: CRITIC if name.endswith("_critic") else {"norm": "instance"}
        for name in network_classes
    }
    Losses = UNITLosses
    losses: UNITLosses
    pipeline_class = UNITPipeline
    gan = CROSS_ENTROPY

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """The condition as a photo."""
        return Generated(painted(nets, drawn(batch.condition), "photo"))

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """The critics, then all others."""
        pictures = domains(batch)
        with torch.no_grad():
            fakes = translations(self.networks, encoded(self.networks, pictures)[0])
        self.critics_step(phase, pictures, fakes)
        with phase(*self.averaged, name="generators") as (nets, terms):
            shared, means = encoded(nets, pictures)
            fakes = translations(nets, shared)
            again, later = encoded(nets, fakes)
            own = {name: nets[f"{name}_decoder"](shared[name]) for name in DOMAINS}
            terms |= self.losses.applied(
                {
                    "adversarial": lambda: self.fooled(nets, fakes),
                    "image": lambda: apart(own, pictures),
                    "cycle": lambda: apart(translations(nets, again), pictures),
                    "latent": lambda: squares(means) + squares(later),
                }
            )
        return Generated(fakes["photo"].detach())


def painted(nets: Networks, picture: Tensor, domain: str) -> Tensor:
    """A picture (B, 3, H, W) in [-1, 1] of the other domain as one of this domain."""
    shared, _ = nets["shared"](nets[f"{OTHER[domain]}_encoder"](picture))
    return nets[f"{domain}_decoder"](shared)


def translations(nets: Networks, shared: Pair) -> dict[str, Tensor]:
    """By domain what its decoder makes of the other domain's map."""
    return {name: nets[f"{name}_decoder"](shared[OTHER[name]]) for name in DOMAINS}
