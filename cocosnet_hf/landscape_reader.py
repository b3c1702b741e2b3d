"""Reading what each place of a landscape shows with a network that ships, without a download."""

from __future__ import annotations

import functools
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from .models.scene import SceneNetwork
from .pictures import Picture, enlarged_labels, open_photo

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

_SIDE = 256
"""Shorter side in pixels of what it looks at, as high as what it learned from."""

_STRIDE = 16
"""Of the network, which the sides must be multiples of."""

_LONGEST = 4
"""Longer side by the shorter one beyond which a photo is squeezed: a strip shows little else."""


@torch.inference_mode()
def read_landscape(photo: Picture, weights: str | PathLike[str] = WEIGHTS) -> np.ndarray:
    """The class of each pixel of a photo, of `LANDSCAPE_CLASSES`: (H, W) uint8.

    weights: the folder of the network's. Every photo is read, also one of something else.
    """
    image = open_photo(photo)
    scale = _SIDE / min(image.size)
    width, height = (
        round(min(side * scale, _LONGEST * _SIDE) / _STRIDE) * _STRIDE for side in image.size
    )
    # Pillow's filter looks at every pixel of what is made smaller.
    seen = np.asarray(image.resize((width, height)))
    images = torch.from_numpy(seen.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    network = _network(Path(weights))
    logits = network(images) + network(images.flip(3)).flip(3)
    return enlarged_labels(logits[0], image.height, image.width).numpy().astype(np.uint8)


@functools.cache
def _network(weights: Path) -> SceneNetwork:
    return SceneNetwork.from_pretrained(weights, variant="fp16", dtype=torch.float32).eval()
