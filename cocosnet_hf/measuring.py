"""What benchmarks measure with: the clock, the work, the device; and the table they print."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from .markdown import markdown_table


def is_cuda(device: str) -> bool:
    """Whether `device`, such as cuda:0, is one; otherwise it is the CPU."""
    return torch.device(device).type == "cuda"


def unusable(device: str) -> str | None:
    """Why nothing can be computed on a device of this name, or None if it can."""
    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError) as error:  # by how torch was built
        return str(error).partition("\n")[0]
    return None


def seconds(function: Callable[[], Any], device: str) -> float:
    """Wall time of one call, the device's work included."""
    if is_cuda(device):
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    function()
    if is_cuda(device):
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def gflop(function: Callable[[], Any]) -> float:
    """Multiplications and additions of convolutions, matrix products and attention."""
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

    def count(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(q, k, v)

    with FlopCounterMode(display=False, custom_mapping={attention: count}) as counter:
        function()
    return counter.get_total_flops() / 1e9


def matrix_rate(dtype: torch.dtype, device: str) -> float:
    """GFLOP/s of a product of the networks' typical size, the best of ten.

    As a matrix product and as a 1x1 convolution: on some processors two libraries, of which either
    may be the faster.
    """
    rows, inner, columns = 4096, 2304, 1024
    a = torch.randn(rows, inner, device=device).to(dtype)
    b = torch.randn(inner, columns, device=device).to(dtype)
    image = a.t().reshape(1, inner, rows, 1).contiguous(memory_format=torch.channels_last)
    kernel = b.t().reshape(columns, inner, 1, 1).contiguous(memory_format=torch.channels_last)
    products = (lambda: a @ b, lambda: F.conv2d(image, kernel))
    fastest = min(seconds(product, device) for _ in range(10) for product in products)
    return 2 * rows * inner * columns / fastest / 1e9


def machine(device: str) -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if is_cuda(device) else "cpu",
    }


def table(rows: list[dict[str, Any]], columns: dict[str, str]) -> str:
    """Rows as Markdown; columns: format of each."""
    cells = [
        ["" if row[name] is None else format(row[name], f) for name, f in columns.items()]
        for row in rows
    ]
    return markdown_table(list(columns), cells)
