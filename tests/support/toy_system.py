"""A system as a user would write it: one file, without any other changed.

Two phases train one network, as StarGAN v2 does; a pool of past pictures is its state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ModelMixin  # noqa: F401  (diffusers looks the base class up in this module)
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from cocosnet_hf import Condition, ImageTranslationPipeline
from cocosnet_hf.models.network import Network
from cocosnet_hf.systems import Batch, Generated, LossWeights, Networks, Phase, System


class Shifter(Network):
    """Colours of the exemplar, moved by what the condition says."""

    @register_to_config
    def __init__(self, condition_channels: int, width: int = 4):
        super().__init__()
        self.first = nn.Conv2d(condition_channels + 3, width, 3, padding=1)
        self.second = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, condition: Tensor, exemplar: Tensor) -> Tensor:
        joined = torch.cat([condition, exemplar], dim=1)
        return torch.tanh(self.second(F.relu(self.first(joined))))


class ToyPipeline(ImageTranslationPipeline):
    """The shifter as a pipeline."""

    def __init__(
        self,
        shifter: Shifter,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        super().__init__({"shifter": shifter}, condition, image_size, image_width)

    def generate(self, condition: Tensor, exemplar: Tensor) -> Tensor:
        return self.shifter(condition, exemplar)


@dataclass(frozen=True)
class ToyLosses(LossWeights):
    """The target's pixels, and how far pictures are from those before."""

    pixels: float = 1.0
    novelty: float = 0.1


class Toy(System):
    """The smallest system with everything that a system may have."""

    network_classes = {"shifter": (Shifter,)}
    averaged = ("shifter",)
    rates = {"shifter": 0.5}
    Losses = ToyLosses
    pipeline_class = ToyPipeline
    pool: Tensor | None = None

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        return Generated(nets["shifter"](batch.condition, batch.exemplar))

    def step(self, phase: Phase, batch: Batch) -> Generated:
        with phase("shifter") as (nets, terms):
            made = self.generate(nets, batch)
            terms |= self.losses.applied({"pixels": lambda: F.l1_loss(made.image, batch.image)})
        with phase("shifter", name="novelty") as (nets, terms):
            made = self.generate(nets, batch)
            past = made.image.detach() if self.pool is None else self.pool
            terms |= self.losses.applied({"novelty": lambda: F.l1_loss(made.image, past)})
        self.pool = made.image.detach()
        return made

    def state_dict(self) -> dict[str, Any]:
        return {"pool": self.pool}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.pool = state["pool"]
