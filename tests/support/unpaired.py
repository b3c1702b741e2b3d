"""Systems and batches for the tests of those that see no pairs."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cocosnet_hf import MaskCondition, PictureCondition
from cocosnet_hf.systems import Batch, LossWeights, Networks, System
from tests.support import tiny
from tests.support.phases import PlainPhases

CONDITION = MaskCondition.from_names(["sky", "hill", "field", "wall"])
BODY = {"base_channels": 4, "halvings": 1, "blocks": 1}
CRITIC = {"base_channels": 4, "halvings": 1}
GENERATORS: dict[str, Any] = {
    "condition_generator": BODY,
    "photo_generator": BODY,
    "condition_critic": CRITIC,
    "photo_critic": CRITIC,
}


def batch(seed: int = 0, count: int = 2, side: int = 32) -> Batch:
    """Layouts of four classes beside photos of another look each, and texture."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count, 4, 4), generator=generator).repeat_interleave(side // 4, 1)
    labels = labels.repeat_interleave(side // 4, 2)
    condition = F.one_hot(labels, 4).movedim(-1, 1).float()
    look = torch.rand(count, 3, 1, 1, generator=generator) * 1.4 - 0.7
    texture = torch.rand(count, 3, side, side, generator=generator) * 0.6 - 0.3
    image = torch.rand(count, 3, side, side, generator=generator)
    return Batch(image, condition, look + texture, None, torch.zeros(count))


def made(
    kind: type[System],
    settings: dict[str, Any],
    losses: LossWeights | None = None,
    *,
    lively: bool = False,
    **options: Any,
) -> Any:
    """A system with seeded networks in training mode. lively: see `tests.support.tiny`."""
    torch.manual_seed(0)
    networks = kind.make_networks(CONDITION, settings)
    for network in networks.values():
        if lively:
            tiny.lively(network)
        network.train()
    return kind(CONDITION, networks, losses or kind.Losses(), options=kind.Options(**options))


def quiet(system: System) -> Any:
    """The pipeline of a system's networks, without a progress bar."""
    for network in system.networks.values():
        tiny.lively(network)
    pipe = system.pipeline(system.networks)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def critic(nets: Networks, name: str, picture: Tensor) -> Tensor:
    """The logits of a critic of pictures alone."""
    return nets[f"{name}_critic"](picture[:, :0], picture)[0][-1]


def two_colour(seed: int, count: int = 2, side: int = 16) -> Batch:
    """Layouts of two colours each: blue and white as pictures, red and black as photos."""
    generator = torch.Generator().manual_seed(seed)

    def layout() -> Tensor:
        grid = torch.randint(2, (count, 1, 4, 4), generator=generator).float()
        return F.interpolate(grid, size=side)

    bright, other = layout(), layout()
    condition = torch.cat([bright, bright, torch.ones_like(bright)], 1)
    photo = torch.cat([other, torch.zeros_like(other), torch.zeros_like(other)], 1) * 2 - 1
    return Batch(photo, condition, photo, None, torch.zeros(count))


def trained(system: System, steps: int, rate: float = 4e-3) -> Networks:
    """The networks after so many steps on `two_colour` batches."""
    system.condition = PictureCondition()
    phases = PlainPhases(system, rate)
    for step in range(steps):
        torch.manual_seed(step)
        phases.step = step
        system.step(phases, two_colour(step))
    return {name: network.eval() for name, network in system.networks.items()}


def gradient(nets: Networks, name: str) -> Tensor:
    """Of all weights of a network, as one row."""
    module: nn.Module = nets[name]
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
