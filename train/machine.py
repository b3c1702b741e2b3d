"""accelerate's view of the machine, and what a step needs beside its networks."""

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration
from torch import nn

from cocosnet_hf.processes import require_all_seen
from cocosnet_hf.systems import System

from .config import TrainConfig
from .mistakes import RunError
from .report import require_loggers


def make_accelerator(config: TrainConfig) -> Accelerator:
    """accelerate's view of the machine.

    Raises RunError if the launcher started several processes that do not know of each other,
    ValueError for fp16 without a GPU, where accelerate would quietly compute in float32,
    ImportError for a logger that is not installed.
    """
    require_loggers(config.output.loggers)
    accelerator = Accelerator(
        mixed_precision=config.speed.mixed_precision,
        gradient_accumulation_steps=config.speed.accumulation,
        log_with=list(config.output.loggers) or None,
        project_config=ProjectConfiguration(config.output_dir, f"{config.output_dir}/logs"),
    )
    try:
        require_all_seen(accelerator.num_processes, "train")
    except RuntimeError as error:
        raise RunError(str(error)) from None
    if config.speed.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise ValueError("speed.mixed_precision=fp16 needs a GPU; on a CPU set bf16 or no.")
    return accelerator


def seed_of(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def largest(accelerator: Accelerator, number: int) -> int:
    """Of the numbers of all processes, which all must ask for."""
    if accelerator.num_processes == 1:
        return number
    return int(accelerator.gather(torch.tensor([number], device=accelerator.device)).max())


def wrapped(config: TrainConfig, system: System, accelerator: Accelerator) -> dict[str, nn.Module]:
    """The networks that are trained, as accelerate wraps them; the others stand still."""
    for network in system.networks.values():
        if config.speed.gradient_checkpointing and network.recomputed:
            network.enable_gradient_checkpointing()
        if config.speed.compile:
            network.compile()
    trained = dict(system.networks)
    for name in system.frozen:
        if name in trained:  # in evaluation mode: each use would move its spectral norms
            trained.pop(name).eval().requires_grad_(False)
    prepared = accelerator.prepare(*trained.values())
    if len(trained) == 1:
        prepared = (prepared,)
    return dict(zip(trained, prepared, strict=True))


def make_optimizer(
    config: TrainConfig, system: System, name: str
) -> tuple[torch.optim.Optimizer, float]:
    """A network's optimiser and its full rate."""
    settings, is_critic = config.optimizer, name in system.critics
    optimizer = torch.optim.Adam(
        system.networks[name].parameters(),
        betas=settings.betas,
        eps=settings.discriminator_eps if is_critic else settings.generator_eps,
        weight_decay=settings.weight_decay,
    )
    rate = settings.discriminator_lr if is_critic else settings.generator_lr
    return optimizer, rate * system.rates.get(name, 1.0)
