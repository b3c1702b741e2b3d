"""The fused matching kernel, run by Triton's interpreter, beside the written-down form."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="needs triton, for GPUs")

# The interpreter is chosen when Triton is imported, so the check runs in a process of its own.
CHECK = """
import torch
from cocosnet_hf.fused import FusedMatching
from cocosnet_hf.matching import Matching
from cocosnet_hf.reference import ReferenceMatching

def check(height, width, other, channels, patch, regions=False, several=False):
    generator = torch.Generator().manual_seed(height)
    content = torch.randn(1, channels, height, width, generator=generator)
    style = torch.randn(1, channels, *other, generator=generator)
    values = torch.rand(1, 3, *other, generator=generator)
    settings = {"patch_size": patch, "temperature": 0.05}
    if regions:
        settings["content_regions"] = torch.randint(-1, 3, (1, height, width), generator=generator)
        settings["style_regions"] = torch.randint(0, 2, (1, *other), generator=generator)
    if several:
        half = other[1] // 2
        style, values = ([[each[0, :, :, :half], each[0, :, :, half:]]] for each in (style, values))
        settings["style_regions"] = None
    tiled = Matching(content, style, **settings).warp(values)
    fused = FusedMatching(content, style, **settings).warp(values)
    torch.testing.assert_close(fused, tiled, atol=2e-5, rtol=0)
    if not regions and not several:
        plain = ReferenceMatching(content, style, **settings).warp(values)
        torch.testing.assert_close(fused, plain, atol=2e-5, rtol=0)

check(9, 7, (5, 11), channels=40, patch=3)  # neither blocks nor channels divide
check(8, 9, (8, 9), channels=32, patch=1)
check(9, 8, (7, 10), channels=8, patch=3, regions=True)
check(6, 6, (6, 8), channels=8, patch=3, several=True)
"""


def test_the_fused_kernel_warps_as_the_tiles_and_the_formula_do() -> None:
    """Odd sizes, regions that nothing offers, and two exemplars."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", CHECK], env=environment, text=True, check=False)
    assert done.returncode == 0
