"""Reading what each place of a landscape shows with a network that ships, without a download."""

from __future__ import annotations

import functools
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from .models.scene import SceneNetwork
from .pictures import Picture, enlarged_labels, open_photo, to_tensor

LANDSCAPE = "landscape"
"""What names this network where else a transformers model is named."""

LANDSCAPE_CLASSES = (
    "other",
    "sky",
    "tree",
    "grass",
    "field",
    "rock",
    "sand",
    "mountain",
    "snow",
    "water",
    "road",
    "building",
    "person",
)
"""What it tells apart: the classes of the bundled `mask-to-landscape`."""

WEIGHTS = Path(__file__).parent / "assets" / "landscape-reader"

_SIDES = (256, 160)
"""Shorter sides in pixels of what it looks at: as high as what it learned from, and for the large
parts from farther away."""

_STRIDE = 16
"""Of the network, which the sides must be multiples of."""

_LONGEST = 4
"""Longer side by the shorter one beyond which a photo is squeezed: a strip shows little else."""

_SPECK = 0.002
"""Share of the picture below which a piece is taken for what is around it."""


def read_landscape(photo: Picture, weights: str | PathLike[str] = WEIGHTS) -> np.ndarray:
    """The class of each pixel of a photo, of `LANDSCAPE_CLASSES`: (H, W) uint8.

    See `landscape_logits`.
    """
    image = open_photo(photo)
    logits = landscape_logits(image, weights)
    return enlarged_labels(logits, image.height, image.width).numpy().astype(np.uint8)


@torch.inference_mode()
def landscape_logits(photo: Picture, weights: str | PathLike[str] = WEIGHTS) -> Tensor:
    """Of each class of `LANDSCAPE_CLASSES` the logits in places of a photo, (K, h, w), smaller.

    weights: the folder of the network's. Every photo is read, also one of something else.
    """
    image = open_photo(photo)
    network = _network(Path(weights))
    logits = torch.zeros(1, 1, 1, 1)
    for side in _SIDES:
        images = _seen(image, side)
        found = (network(images) + network(images.flip(3)).flip(3)) / (2 * len(_SIDES))
        size = found.shape[2:] if side == _SIDES[0] else logits.shape[2:]
        logits = logits + F.interpolate(found, size, mode="bilinear")
    _give_up_specks(logits[0].numpy())
    return logits[0]


def _seen(image: Image.Image, side: int) -> Tensor:
    """A photo as the network takes it, with a shorter side of about so many pixels."""
    scale = side / min(image.size)
    width, height = (
        round(min(length * scale, _LONGEST * side) / _STRIDE) * _STRIDE for length in image.size
    )
    # Pillow's filter looks at every pixel of what is made smaller.
    return to_tensor(image.resize((width, height)))[None]


def _give_up_specks(logits: np.ndarray) -> None:
    """Let no class be the likeliest in a small piece, (K, h, w), changed in place."""
    likeliest = logits.argmax(0)
    for number in np.unique(likeliest):
        _, parts, figures, _ = cv2.connectedComponentsWithStats(
            (likeliest == number).astype(np.uint8)
        )
        small = figures[:, cv2.CC_STAT_AREA] < _SPECK * likeliest.size
        small[0] = False  # all else
        logits[number][small[parts]] = logits.min()


@functools.cache
def _network(weights: Path) -> SceneNetwork:
    return SceneNetwork.from_pretrained(weights, variant="fp16", dtype=torch.float32).eval()
