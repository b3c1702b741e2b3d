"""Reading the parts of a face, in a photo or in edges, with a network that ships."""

from __future__ import annotations

import functools
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .models.scene import SceneNetwork
from .pictures import Picture, open_photo

WEIGHTS = Path(__file__).parent / "assets" / "face-reader"

SIDE = 160
"""Shorter side in pixels of what the network looks at, as high as what it learned from."""

_STRIDE = 16
"""Of the network, which the sides must be multiples of."""

_LONGEST = 2
"""Longer side by the shorter one beyond which a picture is squeezed: there is one face."""


@torch.inference_mode()
def read_face_parts(
    picture: Picture | Tensor, weights: str | PathLike[str] = WEIGHTS
) -> np.ndarray:
    """The part at each place, in the order of CelebAMask-HQ's label maps: (h, w) uint8.

    picture: a photo, or encoded edges (2, H, W) in 0..1. weights: the folder of the network's. h, w
    are what the network sees by: at least `SIDE` pixels, in the picture's aspect. Every picture is
    read, also one without a face.
    """
    seen = seen_edges(picture) if isinstance(picture, Tensor) else seen_photo(picture)
    logits = _network(Path(weights))(seen[None])
    logits = F.interpolate(logits, scale_factor=2.0, mode="bilinear")
    return logits[0].argmax(0).numpy().astype(np.uint8)


def seen_photo(photo: Picture) -> Tensor:
    """A photo as the network takes it, (3, h, w) in -1..1."""
    image = open_photo(photo)
    # Pillow's filter looks at every pixel of what is made smaller.
    seen = np.array(image.resize(_size(image.height, image.width)[::-1]))
    return torch.from_numpy(seen).permute(2, 0, 1).float() / 127.5 - 1


def seen_edges(edges: Tensor) -> Tensor:
    """Encoded edges (2, H, W) in 0..1 as the network takes them, (3, h, w) in -1..1."""
    height, width = edges.shape[1:]
    seen = F.interpolate(edges[None].float(), _size(height, width), mode="bilinear", antialias=True)
    lines, distance = seen[0]
    # Three channels as a photo has; the constant one says that this is none.
    return torch.stack([1 - 2 * lines, 2 * distance - 1, torch.ones_like(lines)])


def _size(height: int, width: int) -> tuple[int, int]:
    scale = SIDE / min(height, width)
    rows, columns = (
        round(min(length * scale, _LONGEST * SIDE) / _STRIDE) * _STRIDE
        for length in (height, width)
    )
    return rows, columns


@functools.cache
def _network(weights: Path) -> SceneNetwork:
    return SceneNetwork.from_pretrained(weights, variant="fp16", dtype=torch.float32).eval()
