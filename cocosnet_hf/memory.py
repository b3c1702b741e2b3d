"""How much memory was used."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")
"""What Linux says of this process."""


def process_peak() -> float:
    """Largest resident memory of this process so far in MB."""
    # Sandboxes such as gVisor leave the line out. getrusage, which then has to do, counts the
    # parent's memory at the time of the fork.
    if STATUS.exists() and (peak := re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())):
        return int(peak[1]) / 2**10
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def peak_memory(device: torch.device) -> dict[str, float]:
    """Largest memory so far in MB: of this "process" and, on CUDA, of its tensors on the "GPU"."""
    peak = {"process": process_peak()}
    if device.type == "cuda":
        peak["GPU"] = torch.cuda.max_memory_allocated(device) / 2**20
    return peak
