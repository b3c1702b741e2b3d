"""Lines as arrays: found in photos, fitted to a size, measured to and drawn."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from PIL import Image
from skimage.feature import canny
from torch import Tensor
from torch.nn import functional as F

from ..pictures import to_image


def photo_edges(
    photo: Image.Image, sigma: float = 1.0, low: float = 0.1, high: float = 0.2
) -> np.ndarray:
    """Canny edges of a photo's grey values, (H, W) bool; thresholds as fractions of the range."""
    grey = np.asarray(photo.convert("L")) / 255
    return canny(grey, sigma, low, high)


def truncated_distance(lines: np.ndarray, reach: float = 765) -> np.ndarray:
    """City-block distance to the nearest line, (H, W) uint8, 255 at `reach` pixels and beyond.

    255 everywhere where there is no line (official networks, 8.3, whose distance is divided by 3).
    """
    return np.minimum(line_distance(lines) / (reach / 255), 255).astype(np.uint8)


def line_distance(lines: np.ndarray) -> np.ndarray:
    """City-block distance in pixels to the nearest line, (H, W); infinite where there is none."""
    if not lines.any():
        return np.full(lines.shape, np.inf, np.float32)
    return cv2.distanceTransform((~lines).astype(np.uint8), cv2.DIST_L1, 3)


def fit_lines(lines: np.ndarray, height: int, width: int) -> np.ndarray:
    """Lines (H, W) bool at another size; a thin line survives being made smaller."""
    if lines.shape == (height, width):
        return lines
    planes = torch.tensor(np.ascontiguousarray(lines))[None].float()
    return F.adaptive_max_pool2d(planes, (height, width))[0].numpy() > 0


def draw_lines(strength: Tensor) -> Image.Image:
    """(H, W) in [0, 1], 1 on the lines -> RGB, dark lines on white."""
    return to_image(1 - strength, low=0).convert("RGB")
