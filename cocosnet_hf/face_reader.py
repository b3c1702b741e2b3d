"""Reading the parts of a face, in a photo or in edges, with a network that ships."""

from __future__ import annotations

import functools
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .conditions.faces import CELEBAMASK_FACE_CLASSES
from .conditions.sides import mirrored_order
from .models.scene import SceneNetwork
from .pictures import Picture, open_photo, to_tensor

WEIGHTS = Path(__file__).parent / "assets" / "face-reader"

SIDE = 192
"""Shorter side in pixels of what the network looks at, as high as what it learned from."""

_STRIDE = 16
"""Of the network, which the sides must be multiples of."""

_LONGEST = 2
"""Longer side by the shorter one beyond which a picture is squeezed: there is one face."""


EDGES_SIDE = 256
"""Shorter side in pixels at which edges are best found, to be read: in the middle of those at which
they were found to learn from."""


def read_face_parts(seen: Tensor, weights: str | PathLike[str] = WEIGHTS) -> np.ndarray:
    """The part at each place, in the order of CelebAMask-HQ's label maps: (h, w) uint8.

    See `read_face_shares`.
    """
    return likeliest(read_face_shares(seen, weights))


@torch.inference_mode()
def read_face_shares(seen: Tensor, weights: str | PathLike[str] = WEIGHTS) -> Tensor:
    """How likely each part is at each place: (K, h, w) in 0..1, in CelebAMask-HQ's order.

    seen (3, h, w): of `seen_photo` or `seen_edges`, looked at mirrored as well. weights: the folder
    of the network's. Every picture is read, also one without a face.
    """
    logits, mirrored = _network(Path(weights))(torch.stack([seen, seen.flip(2)])).split(1)
    logits = (logits + mirrored.flip(3)[:, mirrored_order(CELEBAMASK_FACE_CLASSES)]) / 2
    logits = F.interpolate(logits, scale_factor=2.0, mode="bilinear")
    return logits[0].softmax(0)


def likeliest(shares: Tensor) -> np.ndarray:
    """The part at each place, (h, w) uint8, of shares (K, h, w)."""
    return shares.argmax(0).numpy().astype(np.uint8)


def seen_photo(photo: Picture) -> Tensor:
    """A photo as the network takes it, (3, h, w) in -1..1; `SIDE` pixels high or wide, or more."""
    image = open_photo(photo)
    # Pillow's filter looks at every pixel of what is made smaller.
    return to_tensor(image.resize(_fitted(image.height, image.width, SIDE)[::-1]))


def seen_edges(edges: Tensor) -> Tensor:
    """Encoded edges (2, H, W) in 0..1 as the network takes them, (3, h, w) in -1..1."""
    height, width = edges.shape[1:]
    size = _fitted(height, width, SIDE)
    seen = F.interpolate(edges[None].float(), size, mode="bilinear", antialias=True)
    lines, distance = seen[0]
    # Three channels as a photo has; the constant one says that this is none.
    return torch.stack([1 - 2 * lines, 2 * distance - 1, torch.ones_like(lines)])


def read_size(height: int, width: int) -> tuple[int, int]:
    """At which (height, width) edges of such a picture are to be found, to be read."""
    return _fitted(height, width, EDGES_SIDE)


def _fitted(height: int, width: int, side: int) -> tuple[int, int]:
    scale = side / min(height, width)
    rows, columns = (
        round(min(length * scale, _LONGEST * side) / _STRIDE) * _STRIDE
        for length in (height, width)
    )
    return rows, columns


@functools.cache
def _network(weights: Path) -> SceneNetwork:
    return SceneNetwork.from_pretrained(weights, variant="fp16", dtype=torch.float32).eval()
