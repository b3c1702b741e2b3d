"""Systems, batches and a trainer's phases for the tests of the paired baselines."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from cocosnet_hf import MaskCondition
from cocosnet_hf.systems import Batch, Networks, System, Terms
from cocosnet_hf.systems.base import LossWeights
from tests.support.tensors import normal

SIDE = 16
CLASSES = MaskCondition.from_names(["a", "b", "c"])
CRITIC = {"base_channels": 4, "halvings": 1, "scales": 1}
NETWORKS: dict[str, dict[str, Any]] = {
    "pix2pix": {"generator": {"base_channels": 4, "levels": 3}},
    "pix2pixhd": {
        "encoder": {"base_channels": 4, "halvings": 1, "clusters": 2},
        "generator": {"base_channels": 4, "halvings": 1, "blocks": 1, "enhancer_blocks": 1},
    },
    "spade": {
        "encoder": {"style_channels": 3, "channels": [4, 4], "image_size": 8},
        "generator": {"channels": [6, 6, 4], "spade_channels": 4, "start": [4, 4], "norm": "batch"},
    },
}


class Phases:
    """What a system sees of a trainer: each phase's terms and gradients, and Adam's step."""

    step, unit, share = 0, 0, 0.0

    def __init__(self, system: System, rate: float = 2e-3):
        self.networks, self.seen = system.networks, {}
        self.rate, self.order = rate, []
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), rate, betas=(0.5, 0.9))
            for name, network in system.networks.items()
        }

    @contextmanager
    def __call__(self, *names: str, name: str | None = None) -> Iterator[tuple[Networks, Terms]]:
        terms: Terms = {}
        yield self.networks, terms
        name = name or "+".join(names)
        self.order.append(name)
        self.seen |= {f"{name}/{term}": value.item() for term, value in terms.items()}
        for network in self.networks.values():
            network.zero_grad()
        sum(terms.values()).backward()
        for one in names:
            self.optimizers[one].step()


def made(kind: type[System], name: str, losses: LossWeights, **options: Any) -> System:
    """A system with seeded networks in training mode."""
    torch.manual_seed(0)
    networks = kind.make_networks(CLASSES, NETWORKS[name] | {"discriminator": CRITIC})
    for network in networks.values():
        network.train()
    return kind(CLASSES, networks, losses, options=kind.Options(**options))


def layouts(count: int = 2, side: int = SIDE, seed: int = 0) -> Tensor:
    """Label maps one-hot: three horizontal bands whose borders differ."""
    rows = torch.arange(side).view(1, side, 1)
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(side // 4, side // 2, (count, 1, 1), generator=generator)
    labels = (rows >= ends).long() + (rows >= ends + side // 3).long()
    return torch.nn.functional.one_hot(labels.expand(-1, -1, side), 3).movedim(3, 1).float()


def batch(count: int = 2, seed: int = 0, **more: Any) -> Batch:
    """Each class in a colour of its picture."""
    condition = layouts(count, seed=seed)
    colors = normal(count, 3, 3, seed=seed).clamp(-1, 1)
    image = torch.einsum("bkhw,bkc->bchw", condition, colors)
    return Batch(image, condition, image.flip(0), condition.flip(0), torch.zeros(count), **more)
