"""Where each place of a training picture lies in its exemplar, as far as that is known."""

from __future__ import annotations

import numpy as np

from .geometry import Geometry

SETTLED = 0.5
"""Pixels by which the inverse of a displacement may be off."""

LEAST_SHARE = 0.002
"""Share of a picture below which a region says nothing about its own shape."""

LARGEST_SCALE = 2.0
"""By how much a region may be larger in one picture than in the other."""


def known_flow(target: Geometry, exemplar: Geometry, stride: int) -> np.ndarray:
    """The exact flow between two cuts of one photo: (2, H / stride, W / stride) float32.

    For the centre of each stride x stride cell of the target (x, y) in pixels of the exemplar, NaN
    where it is outside. The exemplar's displacement is inverted by iteration; where that does not
    settle, as at a fold, NaN.
    """
    origin = target.origin(centres(target.size, stride))
    places = exemplar.placed(origin)
    error = (exemplar.origin(places) - origin) * np.array(exemplar.load)
    places[np.abs(error).max(-1) > SETTLED] = np.nan
    # Neither the place nor what fills it may lie outside: there the border is repeated.
    for seen in (places, exemplar.filled_from(places)):
        outside = (seen < -0.5) | (seen > np.array(exemplar.size) - 0.5)
        places[outside.any(-1)] = np.nan
    return places.astype(np.float32).transpose(2, 0, 1)


def region_flow(labels: np.ndarray, exemplar_labels: np.ndarray, stride: int) -> np.ndarray:
    """A likely flow between two photos with label maps: (2, H / stride, W / stride) float32.

    Each class is moved and scaled along both axes so that mean and standard deviation of its pixels
    agree, which brings eyes to eyes and their corners to corners. NaN where the exemplar lacks the
    class, has little of it, or another one at that place. labels, exemplar_labels (H, W) integers.
    """
    height, width = labels.shape
    points = centres((width, height), stride)
    places = np.full(points.shape, np.nan)
    rows, columns = np.rint(points).astype(np.intp)[..., ::-1].transpose(2, 0, 1)
    asked = labels[rows, columns]
    own, other = _moments(labels), _moments(exemplar_labels)
    for label in own.keys() & other.keys():
        mean, deviation, exemplar_mean, exemplar_deviation = *own[label], *other[label]
        scale = (exemplar_deviation / deviation).clip(1 / LARGEST_SCALE, LARGEST_SCALE)
        chosen = asked == label
        places[chosen] = exemplar_mean + scale * (points[chosen] - mean)
    return agreeing(places, asked, exemplar_labels).astype(np.float32).transpose(2, 0, 1)


def agreeing(places: np.ndarray, asked: np.ndarray, exemplar_labels: np.ndarray) -> np.ndarray:
    """Places (h, w, 2), NaN where the exemplar has another label there than is asked for (h, w)."""
    height, width = exemplar_labels.shape
    inside = ((places > -0.5) & (places < np.array([width, height]) - 0.5)).all(-1)
    nearest = np.rint(np.where(inside[..., None], places, 0)).astype(np.intp)
    there = exemplar_labels[nearest[..., 1], nearest[..., 0]]
    return np.where((inside & (there == asked))[..., None], places, np.nan)


def centres(size: tuple[int, int], stride: int) -> np.ndarray:
    """(x, y) of the centres of all stride x stride cells of a (width, height): (h, w, 2)."""
    x, y = (np.arange(side // stride) * stride + (stride - 1) / 2 for side in size)
    return np.stack(np.meshgrid(x, y), axis=-1)


def _moments(labels: np.ndarray) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Mean and standard deviation (2,) of the (x, y) of each class that has enough pixels."""
    height, width = labels.shape
    flat = labels.ravel()
    y, x = np.divmod(np.arange(flat.size), width)
    counts = np.bincount(flat)
    sums = [np.bincount(flat, weights) for weights in (x, y, x * x, y * y)]
    found = {}
    for label in np.flatnonzero(counts >= LEAST_SHARE * flat.size):
        mean_x, mean_y, square_x, square_y = (total[label] / counts[label] for total in sums)
        variance = np.array([square_x - mean_x**2, square_y - mean_y**2])
        found[int(label)] = np.array([mean_x, mean_y]), np.sqrt(variance.clip(0.25))
    return found
