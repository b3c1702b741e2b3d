"""How much memory was used."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch


def process_peak() -> float:
    """Largest resident memory of this process so far in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the parent's memory at the time of the fork
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 2**10
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
