"""Photos, label maps and encoded conditions for pipelines to paint from."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cocosnet_hf import CoCosPipeline, EdgeCondition, MaskCondition

HEIGHT, WIDTH = 32, 40
CLASSES = MaskCondition.from_names(["sky", "tree", "water"])


def photo_array(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Blocks of colour, (height, width, 3) uint8: something with edges."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


def photo(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    return Image.fromarray(photo_array(seed, height, width))


def labels(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return photo_array(seed, height, width)[:, :, 0] % 3


def tensors(batch: int = 1, seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """Photos (B, 3, H, W) in 0..1."""
    stack = np.stack([photo_array(seed + i, height, width) for i in range(batch)])
    return torch.from_numpy(stack).permute(0, 3, 1, 2) / 255


def encoded(batch: int = 1, seed: int = 50, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    edges = EdgeCondition()
    maps = [edges.encode(photo(seed + i, height, width), height, width) for i in range(batch)]
    return torch.stack(maps)


def run(pipe: CoCosPipeline, *arguments: Any, **settings: Any) -> Tensor:
    return pipe(*arguments, output_type="pt", **settings).images


def assert_same_images(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


def quiet(pipe: CoCosPipeline) -> CoCosPipeline:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def regions(shape: tuple[int, ...] = (HEIGHT, WIDTH)) -> np.ndarray:
    return np.zeros(shape, np.int64)
