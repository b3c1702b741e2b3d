"""What systems share that translate between two domains of pictures without seeing pairs.

The domains are conditions, drawn as pictures, and photos. A training example brings one of each:
its condition and its exemplar. Its own photo is looked at only where it is its own exemplar, and
no term compares the two, so that rows may put any condition beside any photo. Of unequal counts
the rows repeat the shorter list; an epoch is one pass over the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..conditions import Condition
from ..gan_losses import LEAST_SQUARES
from ..models.drawn import drawn
from ..models.network import Network
from .base import Phase, SystemOptions
from .batch import Batch
from .judged import JudgedSystem, summed

DOMAINS = ("condition", "photo")
OTHER = {"condition": "photo", "photo": "condition"}
Pair = Mapping[str, Tensor]
"""A tensor of each domain, by its name."""


class UnpairedSystem(JudgedSystem):
    """A system with a critic for each domain, such as condition_critic and photo_critic.

    All of its networks read pictures, so that no condition's channels count.
    """

    gan = LEAST_SQUARES

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks, of which those called generators read a picture as their condition."""
        del condition
        channels = {name: [3] * name.endswith("generator") for name in cls.network_classes}
        return {name: cls.make(name, options, *given) for name, given in channels.items()}


@dataclass(frozen=True)
class PoolOptions(SystemOptions):
    """pool: how many past pictures each critic is shown some of, see `PicturePool`; 0 for none."""

    pool: int = 50

    def __post_init__(self) -> None:
        if self.pool < 0:
            raise ValueError(f"system_options.pool must be at least 0, got {self.pool}.")


class PicturePool:
    """Past pictures of a generator, so that its critic does not forget what it knew to be wrong.

    Shrivastava et al. 2017, section 2.3. Once size pictures are stored, each new one takes the
    place of one of them with probability 1/2, which is then shown instead. By torch's global
    generator, so that a step's seed draws the same again.
    """

    def __init__(self, size: int):
        self.size = size
        self.pictures: list[Tensor] = []

    def exchanged(self, pictures: Tensor) -> Tensor:
        """As many pictures (B, 3, H, W), new or past, without gradients."""
        shown = []
        for picture in pictures.detach():
            if len(self.pictures) < self.size:
                self.pictures.append(picture)
            elif self.size and torch.rand(()) < 0.5:
                place = int(torch.randint(self.size, ()))
                self.pictures[place], picture = picture, self.pictures[place].to(picture)
            shown.append(picture)
        return torch.stack(shown)


class PooledSystem(UnpairedSystem):
    """A system whose critics, called after what they judge, see pools of past pictures.

    The pools are in the checkpoint: of several processes the main one's, which all go on from.
    """

    Options = PoolOptions
    options: PoolOptions
    critic_weight = 0.5

    @cached_property
    def pools(self) -> dict[str, PicturePool]:
        """By the names of the critics, less "_critic"."""
        names = [name.removesuffix("_critic") for name in self.critics]
        return {name: PicturePool(self.options.pool) for name in names}

    def pooled_step(self, phase: Phase, real: Pair, fakes: Pair) -> None:
        """Teach the critics on pooled pictures."""
        shown = {name: self.pools[name].exchanged(fake) for name, fake in fakes.items()}
        self.critics_step(phase, real, shown)

    def state_dict(self) -> dict[str, Any]:
        """The pictures of the pools."""
        return {name: [one.cpu() for one in pool.pictures] for name, pool in self.pools.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with such pictures."""
        for name, pictures in state.items():
            self.pools[name].pictures = list(pictures)


def domains(batch: Batch) -> dict[str, Tensor]:
    """The unrelated pictures (B, 3, H, W) in [-1, 1] of each example, by domain."""
    return {"condition": drawn(batch.condition), "photo": batch.exemplar}


def apart(found: Pair, true: Pair) -> Tensor:
    """Mean absolute differences, summed over both domains."""
    return summed(F.l1_loss(found[name], true[name]) for name in DOMAINS)
