"""The phases of a training step without a trainer: plain updates, and what each was made of."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from cocosnet_hf.systems import Networks, System, Terms


class PlainPhases:
    """Opens the phases of a system's steps. rate: of Adam; 0 leaves all weights as they are.

    terms: those of the last phase of each name. gradients: the networks that got any in it.
    """

    step, unit, share = 0, 0, 0.0

    def __init__(self, system: System, rate: float = 0.0):
        self.system = system
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), rate, (0.5, 0.999))
            for name, network in system.networks.items()
        }
        self.terms: dict[str, dict[str, Tensor]] = {}
        self.gradients: dict[str, set[str]] = {}

    @contextmanager
    def __call__(self, *names: str, name: str | None = None) -> Iterator[tuple[Networks, Terms]]:
        networks = self.system.networks
        for one, network in networks.items():
            network.zero_grad()
            network.requires_grad_(one in names)
        terms: Terms = {}
        yield networks, terms
        key = name or "+".join(names)
        sum(terms.values()).backward()
        self.terms[key] = {term: value.detach() for term, value in terms.items()}
        self.gradients[key] = {
            one
            for one, network in networks.items()
            if any(p.grad is not None and p.grad.any() for p in network.parameters())
        }
        for one in names:
            self.optimizers[one].step()
        for one, network in networks.items():
            network.requires_grad_(one not in self.system.frozen)
