"""Metrics of single pictures: against their target, exemplar or condition."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from skimage.metrics import structural_similarity
from torch import Tensor

from ..conditions import Pose


def ssim(pictures: Tensor, targets: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004: Gaussian window of deviation 1.5), mean over RGB.

    Both (B, 3, H, W) in 0..1, at least 11 pixels high and wide. Returns (B,), 1 for equal ones.
    """
    _require_alike(pictures, targets)
    arrays = [some.float().cpu().numpy() for some in (pictures, targets)]
    return torch.tensor(
        [
            structural_similarity(
                *pair,
                data_range=1.0,
                channel_axis=0,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            for pair in zip(*arrays, strict=True)
        ]
    )


def psnr(pictures: Tensor, targets: Tensor) -> Tensor:
    """Peak signal to noise ratio in dB, (B,). Both (B, 3, H, W) in 0..1; equal ones have 100."""
    _require_alike(pictures, targets)
    error = (pictures.float() - targets.float()).square().mean((1, 2, 3))
    return -10 * error.clamp_min(1e-10).log10()


def copy_score(pictures: Tensor, exemplars: Tensor) -> Tensor:
    """mean |picture - exemplar|, (B,) in 0..1: near 0 the exemplar is copied as it is.

    Both (B, 3, H, W) in 0..1.
    """
    _require_alike(pictures, exemplars)
    return (pictures.float() - exemplars.float()).abs().mean((1, 2, 3))


def perceptual_distance(features: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """1 - cosine of the feature vectors, mean over positions and layers: (B,) in 0..2.

    LPIPS without its learned weights (Zhang et al. 2018). Both: for each layer (B, C, h, w).
    Positions without any activation in both are equal.
    """
    distances = [
        (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(1).mean((1, 2)) / 2
        for a, b in zip(features, others, strict=True)
    ]
    return torch.stack(distances).mean(0)


def diversity(features: Sequence[Tensor]) -> float:
    """Mean `perceptual_distance` of all pairs of pictures of one condition with M exemplars.

    features: for each layer (M, C, h, w). 0 if the exemplar is ignored. Raises ValueError for
    fewer than two pictures.
    """
    count = len(features[0])
    if count < 2:
        raise ValueError(f"Diversity needs at least two pictures of a condition, got {count}.")
    first, second = (list(indices) for indices in zip(*combinations(range(count), 2), strict=True))
    pairs = [[layer[indices] for layer in features] for indices in (first, second)]
    return perceptual_distance(*pairs).mean().item()


def edge_f1(edges: np.ndarray, wanted: np.ndarray, tolerance: int = 1) -> float:
    """Harmonic mean of precision and recall of edge pixels, 0..1.

    edges, wanted (H, W) bool: found in the output, asked for by the condition. One that has a
    partner at most `tolerance` pixels away, in rows and in columns, is right. 1 if there is none
    in either.
    """
    if edges.shape != wanted.shape:
        raise ValueError(f"Edges must agree in size, got {edges.shape} and {wanted.shape}.")
    if not edges.any() or not wanted.any():
        return float(edges.any() == wanted.any())
    near = np.ones((2 * tolerance + 1,) * 2, np.uint8)
    precision = cv2.dilate(wanted.astype(np.uint8), near)[edges].mean()
    recall = cv2.dilate(edges.astype(np.uint8), near)[wanted].mean()
    return 0.0 if precision + recall == 0 else float(2 * precision * recall / (precision + recall))


def pose_pck(found: Pose, wanted: Pose, threshold: float = 0.1, min_score: float = 0.0) -> float:
    """Share of the wanted joints that are found near their place, 0..1 (PCK).

    Near: within `threshold` times the longer side of the box around the wanted joints (Yang and
    Ramanan 2013). Joints of `wanted` whose score is not above min_score do not count; NaN if none
    does. The poses' sizes may differ: places are compared relative to them.
    """
    counted = wanted.joints[:, 2] > min_score
    if not counted.any():
        return float("nan")
    scale = np.array(wanted.size[::-1]) / np.array(found.size[::-1])
    places = wanted.joints[counted, :2]
    reach = threshold * np.ptp(places, axis=0).max()
    distance = np.linalg.norm(found.joints[counted, :2] * scale - places, axis=1)
    return float((distance <= reach).mean())  # a joint that was not found is at NaN


def confusion(labels: Tensor, wanted: Tensor, classes: int) -> Tensor:
    """Pixels of each wanted class (rows) that got each label (columns), (classes, classes).

    Both of one shape, whole numbers in 0..classes - 1. Confusions of several pictures add up.
    Raises ValueError for other labels.
    """
    for name, given in (("labels", labels), ("wanted", wanted)):
        if given.min() < 0 or given.max() >= classes:
            raise ValueError(
                f"{name} must be in 0..{classes - 1}, got {int(given.min())}..{int(given.max())}."
            )
    pairs = wanted.long().flatten() * classes + labels.long().flatten()
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def mask_accuracy(confused: Tensor) -> float:
    """Share of pixels that got the wanted class, from `confusion`."""
    return (confused.diagonal().sum() / confused.sum()).item()


def class_iou(confused: Tensor) -> Tensor:
    """Intersection over union of each class, (classes,), from `confusion`; NaN if it is nowhere."""
    hit = confused.diagonal().double()
    return hit / (confused.sum(0) + confused.sum(1) - hit)


def _require_alike(pictures: Tensor, others: Tensor) -> None:
    if pictures.ndim != 4 or pictures.shape != others.shape:
        raise ValueError(
            f"Pictures must be (B, 3, H, W) and of one shape, got {tuple(pictures.shape)} and "
            f"{tuple(others.shape)}."
        )
