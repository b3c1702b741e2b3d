"""What systems share that translate between two domains of pictures without seeing pairs.

The domains are conditions, drawn as pictures, and photos. A training example brings one of each:
its condition and its exemplar. Its own photo is looked at only where it is its own exemplar, and
no term compares the two, so that rows may put any condition beside any photo. Of unequal counts
the rows repeat the shorter list; an epoch is one pass over the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..conditions import Condition
from ..gan_losses import LEAST_SQUARES
from ..models.drawn import drawn
from ..models.network import Network
from .batch import Batch
from .judged import JudgedSystem, summed

DOMAINS = ("condition", "photo")
OTHER = {"condition": "photo", "photo": "condition"}
Pair = Mapping[str, Tensor]
"""A tensor of each domain, by its name."""


class UnpairedSystem(JudgedSystem):
    """A system with the networks condition_critic and photo_critic, one for each domain.

    All of its networks read pictures, so that no condition's channels count.
    """

    gan = LEAST_SQUARES

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks."""
        del condition
        return {name: cls.make(name, options) for name in cls.network_classes}


def domains(batch: Batch) -> dict[str, Tensor]:
    """The unrelated pictures (B, 3, H, W) in [-1, 1] of each example, by domain."""
    return {"condition": drawn(batch.condition), "photo": batch.exemplar}


def apart(found: Pair, true: Pair) -> Tensor:
    """Mean absolute differences, summed over both domains."""
    return summed(F.l1_loss(found[name], true[name]) for name in DOMAINS)
