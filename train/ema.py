"""The averaged copy of a network that is published."""

import copy
from typing import Any

import torch
from torch import nn


class ModuleEMA:
    """Exponential moving average of a module's parameters; its buffers are taken over as they are.

    The spectral norm's vectors belong to the buffers. Early steps forget faster, at (1 + n) /
    (10 + n), so that the random start does not linger.
    """

    def __init__(self, module: nn.Module, decay: float):
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def step(self, module: nn.Module) -> None:
        """Move towards `module`, the network in training."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for average, current in zip(self.module.parameters(), module.parameters(), strict=True):
            average.lerp_(current.to(average), 1 - decay)
        for average, current in zip(self.module.buffers(), module.buffers(), strict=True):
            average.copy_(current)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        return {"steps": self.steps, "module": self.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.steps = state["steps"]
        self.module.load_state_dict(state["module"])
