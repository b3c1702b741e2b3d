"""What systems share that translate between two domains of pictures without seeing pairs.

The domains are conditions, drawn as pictures, and photos. A training example brings one of each:
its condition and its exemplar. Its own photo is looked at only where it is its own exemplar, and
no term compares the two, so that rows may put any condition beside any photo. Of unequal counts
the rows repeat the shorter list; an epoch is one pass over the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..conditions import Condition
from ..models.drawn import drawn
from ..models.network import Network
from .augment import diff_augment
from .base import Networks, Phase, System, Terms, class_of
from .batch import Batch

DOMAINS = ("condition", "photo")
OTHER = {"condition": "photo", "photo": "condition"}
Pair = Mapping[str, Tensor]
"""A tensor of each domain, by its name."""


class UnpairedSystem(System):
    """A system with the networks condition_critic and photo_critic, one for each domain.

    Its `losses` have the weight `adversarial`, of the critics' own terms too.
    """

    losses: Any

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks. All of them read pictures, so that no condition's channels count."""
        del condition
        return {
            name: reader_of_pictures(options.get(name, {}), classes)
            for name, classes in cls.network_classes.items()
        }

    def critics_step(self, phase: Phase, real: Pair, fakes: Pair) -> None:
        """Teach both critics to tell photos and drawn conditions from what was made of the other.

        Without effect where the adversarial term has no weight.
        """
        if not self.losses.adversarial:
            return
        with phase(*(f"{name}_critic" for name in DOMAINS), name="critics") as (nets, terms):
            for name in DOMAINS:
                both = torch.cat([fakes[name].detach(), real[name]])
                fake, true = halves(self.judged(nets, name, both))
                terms |= self._critic_terms(name, fake, true)

    def _critic_terms(self, name: str, fake: Sequence[Tensor], real: Sequence[Tensor]) -> Terms:
        weight = self.losses.adversarial
        return {
            f"{name}_fake": weight * least_squares(fake, 0),
            f"{name}_real": weight * least_squares(real, 1),
        }

    def fooled(self, nets: Networks, fakes: Pair) -> Tensor:
        """The generators' unweighted adversarial term: both critics are to take fakes for true."""
        return summed(least_squares(self.judged(nets, name, fakes[name]), 1) for name in DOMAINS)

    def judged(self, nets: Networks, name: str, pictures: Tensor) -> list[Tensor]:
        """What the critic of this domain says, per scale."""
        if self.settings.diff_augment:
            _, pictures = diff_augment(pictures[:, :0], pictures)
        return nets[f"{name}_critic"](pictures)


def reader_of_pictures(options: Mapping[str, Any], classes: Sequence[type[Network]]) -> Network:
    """The network that options describe, which reads no condition."""
    arguments = {name: value for name, value in options.items() if name != "class"}
    return class_of(options, classes)(**arguments)


def domains(batch: Batch) -> dict[str, Tensor]:
    """The unrelated pictures (B, 3, H, W) in [-1, 1] of each example, by domain."""
    return {"condition": drawn(batch.condition), "photo": batch.exemplar}


def least_squares(logits: Sequence[Tensor], wanted: float) -> Tensor:
    """sum over scales of E (D - wanted)^2 (Mao et al. 2017); wanted: 1 for true, 0 for fake."""
    return summed((scale.float() - wanted).square().mean() for scale in logits)


def apart(found: Pair, true: Pair) -> Tensor:
    """Mean absolute differences, summed over both domains."""
    return summed(F.l1_loss(found[name], true[name]) for name in DOMAINS)


def summed(terms: Iterable[Tensor]) -> Tensor:
    """The sum of scalars."""
    return torch.stack(list(terms)).sum()


def halves(scales: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Per scale what belongs to the first and to the second half of a batch."""
    pairs = [scale.chunk(2) for scale in scales]
    return [first for first, _ in pairs], [second for _, second in pairs]
