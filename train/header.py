"""What a run says before its first step."""

import re
from collections.abc import Mapping
from os import getppid
from pathlib import Path

from accelerate import Accelerator
from torch import nn

from .config import TrainConfig
from .report import METRICS_FILE

ONE_PROCESS = (
    "{wanted} processes were asked for and ONE runs: on CPUs set ACCELERATE_USE_CPU=true and "
    "launch with accelerate launch --multi_gpu or torchrun"
)


def header(
    config: TrainConfig,
    accelerator: Accelerator,
    networks: Mapping[str, nn.Module],
    photos: int | None,
    steps: int,
    first_step: int,
) -> str:
    """Machine, data, length, networks and where to look.

    photos: of the data; None of a stream. steps: of the whole run. first_step: already trained.
    """
    count = accelerator.num_processes
    per_step = config.data.batch_size * config.speed.accumulation * count
    precision = {"no": "float32"}.get(config.speed.mixed_precision, config.speed.mixed_precision)
    lines = [f"{accelerator.device}, {count} process{'es' if count > 1 else ''}, {precision}"]
    wanted = asked_processes(launcher_command())
    if count == 1 and wanted > 1:
        lines.append(ONE_PROCESS.format(wanted=wanted))
    if photos is None:
        data = f"a stream of photos, {per_step} a step"
    else:
        data = f"{photos:,} photos, {per_step} a step: {photos // per_step:,} steps an epoch"
    left = f", {steps - first_step:,} of them left" if first_step else ""
    lines.append(f"{data}; {steps:,} steps in all{left}")
    sizes = (
        f"{name} {sum(parameter.numel() for parameter in network.parameters()) / 1e6:.1f}"
        for name, network in networks.items()
    )
    lines.append(f"million parameters: {', '.join(sizes)}")
    folder = Path(config.output_dir)
    loggers = ", ".join(config.output.loggers)
    lines.append(
        f"pictures in {folder / 'pictures'}, values in {folder / METRICS_FILE}"
        + (f", curves in {loggers}" if loggers else "")
    )
    return "\n".join(lines)


def asked_processes(command: list[str]) -> int:
    """How many processes a launcher's command asks for; 1 if it says nothing of them."""
    found = re.search(r"--num[_-]processes[= ](\d+)", " ".join(command))
    return int(found[1]) if found and any("accelerate" in word for word in command) else 1


def launcher_command() -> list[str]:
    """The command of the process that started this one, where the system shows it: on Linux."""
    path = Path(f"/proc/{getppid()}/cmdline")
    try:
        return path.read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []
