"""Where each place of a training picture lies in its exemplar, as far as that is known.

A flow is (2, H / stride, W / stride) float32: for the centre of each stride x stride cell of the
target (x, y) in pixels of the exemplar, whose pixel centres are whole numbers; NaN where unknown.
"""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ..conditions.joints import LIMBS
from .geometry import Geometry

TOLERANCE = 0.5
"""Pixels by which an exact flow may be off."""

LEAST_SHARE = 0.002
"""Share of a picture below which a region says nothing about its own shape."""

LARGEST_SCALE = 2.0
"""By how much a region may be larger in one picture than in the other."""

LIMB_REACH = 0.3
"""How far a limb reaches to its sides, as a share of its length."""

SHORTEST_LIMB = 2.0
"""Pixels below which a limb, seen from its end, has no direction."""

FLAT = 0.03
"""Range of the values in [-1, 1] of a place and those around it, below which it shows nothing."""


def known_flow(target: Geometry, exemplar: Geometry, stride: int) -> np.ndarray:
    """The exact flow between two cuts of one photo.

    NaN where the place is outside the exemplar. The exemplar's displacement is inverted by
    iteration; where that does not settle, as at a fold, NaN.
    """
    points = centres(target.size, stride)
    origin = target.origin(points)
    places = exemplar.placed(origin)
    error = (exemplar.origin(places) - origin) * np.array(exemplar.load) * exemplar.enlargement
    known = np.abs(error).max(-1) <= TOLERANCE
    # Neither a place nor what fills it may lie outside: there the border is repeated.
    known &= inside(target.filled_from(points), target.size)
    known &= inside(places, exemplar.size) & inside(exemplar.filled_from(places), exemplar.size)
    return _as_flow(np.where(known[..., None], places, np.nan))


def region_flow(labels: np.ndarray, exemplar_labels: np.ndarray, stride: int) -> np.ndarray:
    """A likely flow between two photos with label maps (H, W) of integers.

    Each class is moved and scaled along both axes so that mean and standard deviation of its pixels
    agree, which brings eyes to eyes and their corners to corners. NaN where the exemplar lacks the
    class, has little of it, or another one at that place.
    """
    points = centres(labels.shape[::-1], stride)
    asked = _label_at(labels, points)
    classes = int(max(labels.max(), exemplar_labels.max())) + 1
    mean, deviation = _moments(labels, classes)
    exemplar_mean, exemplar_deviation = _moments(exemplar_labels, classes)
    scale = (exemplar_deviation / deviation).clip(1 / LARGEST_SCALE, LARGEST_SCALE)
    places = exemplar_mean[asked] + scale[asked] * (points - mean[asked])
    return agreeing(_as_flow(places), labels, exemplar_labels)


def limb_flow(
    joints: np.ndarray, exemplar_joints: np.ndarray, size: tuple[int, int], stride: int
) -> np.ndarray:
    """A likely flow between two photos of one person each: along and beside the limbs.

    Each limb that both have is moved, turned and scaled onto the other's, and with it what lies
    within `LIMB_REACH` of its length; where several limbs reach, the nearest counts. joints,
    exemplar_joints (18, >= 2): x, y in pixels, NaN where missing. size: (width, height) of both.
    """
    points = centres(size, stride)
    places = np.full(points.shape, np.nan)
    nearest = np.full(points.shape[:-1], np.inf)
    for limb in LIMBS:
        start, along = _start_and_direction(joints, limb)
        exemplar_start, exemplar_along = _start_and_direction(exemplar_joints, limb)
        if not min(abs(along), abs(exemplar_along)) >= SHORTEST_LIMB:  # or one is not there
            continue
        # In the limb's own frame, a complex number, it goes from 0 to 1.
        framed = ((points[..., 0] + 1j * points[..., 1]) - start) / along
        beside = np.abs(framed - framed.real.clip(0, 1))
        chosen = (beside <= LIMB_REACH) & (beside * abs(along) < nearest)
        nearest[chosen] = beside[chosen] * abs(along)
        moved = exemplar_start + exemplar_along * framed[chosen]
        places[chosen] = np.stack([moved.real, moved.imag], axis=-1)
    return _as_flow(np.where(inside(places, size)[..., None], places, np.nan))


def agreeing(flow: np.ndarray, labels: np.ndarray, exemplar_labels: np.ndarray) -> np.ndarray:
    """A flow, NaN where it leads to another label than the target has, or to the outside."""
    height, width = labels.shape
    places = flow.transpose(1, 2, 0)
    asked = _label_at(labels, centres((width, height), width // flow.shape[2]))
    within = inside(places, (width, height))
    there = _label_at(exemplar_labels, np.where(within[..., None], places, 0))
    return np.where(within & (there == asked), flow, np.float32(np.nan))


def without_flat_places(flow: Tensor, photo: Tensor) -> Tensor:
    """A flow (2, h, w), NaN where the photo (3, H, W) shows one colour in a cell and around it.

    A white ground looks alike everywhere: no matching can find a place of it, and any will do.
    """
    around = photo.shape[-1] // flow.shape[-1] * 3
    step = around // 3
    smooth = F.avg_pool2d(photo, 3, 1, 1, count_include_pad=False)  # noise and lossy files aside
    padded = F.pad(smooth[None], (step,) * 4, mode="replicate")
    highest, lowest = (F.max_pool2d(sign * padded, around, step) for sign in (1, -1))
    flat = (highest + lowest).amax(1) < FLAT
    return flow.masked_fill(flat, float("nan"))


def inside(places: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Whether places (..., 2) lie on the pixels of a picture of this (width, height)."""
    return np.all((places >= -0.5) & (places <= np.array(size) - 0.5), axis=-1)


def centres(size: tuple[int, int], stride: int) -> np.ndarray:
    """(x, y) of the centres of all stride x stride cells of a (width, height): (h, w, 2)."""
    x, y = (np.arange(side // stride) * stride + (stride - 1) / 2 for side in size)
    return np.stack(np.meshgrid(x, y), axis=-1)


def _as_flow(places: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(places.transpose(2, 0, 1), np.float32)


def _label_at(labels: np.ndarray, places: np.ndarray) -> np.ndarray:
    last = np.array(labels.shape[::-1]) - 1
    columns, rows = np.moveaxis(np.rint(places).astype(np.intp).clip(0, last), -1, 0)
    return labels[rows, columns]


def _start_and_direction(joints: np.ndarray, limb: tuple[int, int]) -> tuple[complex, complex]:
    """A limb's first joint and the way to its second, x + iy; NaN where one is missing."""
    start, end = (complex(*joints[joint, :2]) for joint in limb)
    return start, end - start


def _moments(labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the (x, y) of each class's pixels: (classes, 2) each.

    NaN for a class that has too few.
    """
    moments = []
    for axis in (1, 0):
        side = labels.shape[axis]
        place = np.arange(side)
        apart = labels.astype(np.intp) * side + (place if axis else place[:, None])
        counts = np.bincount(apart.ravel(), minlength=classes * side).reshape(classes, side)
        pixels = counts.sum(1)
        pixels = np.where(pixels >= max(1, LEAST_SHARE * labels.size), pixels, np.nan)
        mean = counts @ place / pixels
        variance = counts @ place**2 / pixels - mean**2
        moments.append((mean, np.sqrt(variance.clip(0.25))))
    means, deviations = zip(*moments, strict=True)
    return np.stack(means, axis=1), np.stack(deviations, axis=1)
