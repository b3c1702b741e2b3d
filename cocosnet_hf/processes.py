"""Several processes of one command."""

from __future__ import annotations

import os

import torch


def require_all_seen(seen: int, work: str) -> None:
    """Raise RuntimeError if the launcher started several processes that do not know of each other.

    seen: how many processes accelerate sees. work: what each would do by itself, such as "train".
    """
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if seen != launched:
        raise RuntimeError(
            f"{launched} processes were launched but accelerate sees {seen}, so each would {work} "
            f"by itself; on CPUs set ACCELERATE_USE_CPU=true and launch with torchrun or "
            f"accelerate launch --multi_gpu."
        )


def leave_group() -> None:
    """Leave what processes share: its threads would outlive the interpreter, which then aborts."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
