"""Descriptors: vectors whose scalar product says how alike two layouts are."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from ..pictures import open_photo
from .joints import Pose


class Encoder(Protocol):
    """What of a `Condition` a descriptor needs."""

    @property
    def channels(self) -> int:
        """Number of classes K."""

    def encode(self, source: Any, height: int, width: int) -> Tensor:
        """A source as (K, height, width) in 0..1."""


def layout_descriptor(mask: Any, condition: Encoder) -> np.ndarray:
    """Where each class lies, so that the scalar product of two masks is their layout overlap.

    The overlap of class c is the sum over cells of sqrt(a_c b_c), a_c being the class's share of a
    cell. Each is weighted by 1 / sqrt(|a_c| |b_c|)^(1/2), |a_c| the class's area, and the whole is
    scaled to 1 for equal layouts; 0 means disjoint ones. So a class counts by the root of its area:
    eyes matter beside the background, and most positions still find their class in the exemplar.
    Between the two extremes on 900 CelebAMask-HQ masks, nearest against query: by area 0.82 of the
    pixels agree at a mean IoU of 0.43, all classes alike 0.77 and 0.49; this 0.81 and 0.47.

    (K * cells,) float32; 16 x 16 cells up to 32 classes, else 8 x 8. mask: a source of
    `condition.encode`.
    """
    grid = 16 if condition.channels <= 32 else 8
    encoded = condition.encode(mask, 4 * grid, 4 * grid).numpy()
    share = encoded.reshape(condition.channels, grid, 4, grid, 4).mean((2, 4))
    layout = np.sqrt(share.reshape(condition.channels, -1))
    area = share.sum((1, 2))[:, None]
    return normalized((layout / np.maximum(area, 1e-12) ** 0.25).reshape(-1))


def pose_descriptor(pose: Pose, min_score: float = 0.0) -> np.ndarray:
    """Where each joint lies: a blob on a 12 x 12 grid per joint, (18 * 144,) float32.

    The scalar product of two poses is the mean agreement of their joints.
    """
    centers = (np.arange(12) + 0.5) / 12
    place = pose.joints[:, :2] / np.array(pose.size[::-1])
    along = np.exp(-(((place[:, :, None] - centers) / 0.08) ** 2) / 2)
    blobs = along[:, 1, :, None] * along[:, 0, None, :]
    blobs[~(pose.joints[:, 2] > min_score)] = 0
    blobs = blobs.reshape(len(blobs), -1)
    lengths = np.linalg.norm(blobs, axis=1, keepdims=True)
    return normalized((blobs / np.maximum(lengths, 1e-12)).reshape(-1))


def gradient_descriptor(photo: Any) -> np.ndarray:
    """Directions of the brightness's slopes, without colour: 8 directions on 8 x 8 cells, (512,).

    A drawing or photo of any kind that `open_photo` takes.
    """
    small = open_photo(photo).convert("L").resize((64, 64), Image.Resampling.BILINEAR)
    grey = np.asarray(small, np.float32)
    down, across = np.gradient(grey)
    direction = (np.arctan2(down, across) % np.pi) / np.pi * 8
    lower = np.floor(direction).astype(int) % 8
    upper_share = direction - np.floor(direction)
    strength = np.hypot(down, across)
    cells = np.zeros((8, 8, 8), np.float32)
    row, column = np.indices((64, 64)) // 8
    np.add.at(cells, (row, column, lower), strength * (1 - upper_share))
    np.add.at(cells, (row, column, (lower + 1) % 8), strength * upper_share)
    # The root keeps one strong border from outweighing everything else.
    return normalized(np.sqrt(cells).reshape(-1))


def normalized(vector: np.ndarray) -> np.ndarray:
    """A vector at length 1, float32; all zeros stay. Raises ValueError unless it is finite, 1-D."""
    vector = np.asarray(vector, dtype=np.float32)
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise ValueError(
            f"A descriptor must be one row of finite numbers, got shape {vector.shape}."
        )
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
