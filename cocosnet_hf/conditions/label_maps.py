"""Label maps as pictures and arrays: values or colours to classes, and the masks of parts."""

from __future__ import annotations

import colorsys
import operator
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..pictures import Picture, check_sides, open_image, resize_plane, to_numpy
from .meaning import NEAR, OPAQUE, ClassCode, chunk_rows, chunks, color_codes, hexadecimal

NEAREST = Image.Resampling.NEAREST


BORDER = 4
"""Pixels from a colour that is near a class's, within which others are the smooth border between
two classes: half a block of JPEG, and wider than antialiasing."""

MOST_BORDER = 1 / 3
"""Share of a mask's pixels above which they are no borders, but a photo that meets some colours."""

BEYOND = 2 * BORDER
"""Rows around a chunk that say what its own borders are between."""

SPREAD = (255, 256, 257)
"""Factors by which programs make class numbers fill one byte, or the upper one or both of two."""

MOST_COLORS = 1 << 20
"""Colours of a picture that are counted; with more it is a photo."""


def resized_labels(labels: np.ndarray, height: int, width: int) -> Tensor:
    """Class indices (H, W) at another size, nearest: (height, width) int64."""
    if labels.dtype != np.uint8:
        labels = labels.astype(np.int32)
    return torch.from_numpy(resize_plane(labels, height, width, NEAREST).astype(np.int64))


def classes_of_plane(image: Image.Image, code: ClassCode, size: tuple[int, int]) -> np.ndarray:
    """Class indices of a picture of class numbers (mode L or I) at (height, width), nearest.

    Raises ValueError for values of no class, also where the nearest pixels hold none of them.
    """
    if image.mode == "L":
        found = np.flatnonzero(image.histogram())
    else:
        found = np.unique(np.concatenate([np.unique(np.asarray(p)) for _, p in chunks(image)]))
    _known_indices(found, code)
    return classes_of_values(np.asarray(_nearest(image, size)), code)


def classes_of_values(values: np.ndarray, code: ClassCode) -> np.ndarray:
    """Pixel values (H, W) of an index map -> class indices 0..K - 1, uint8 where they fit.

    Raises ValueError for values of no class.
    """
    if values.dtype == bool:
        values = values.astype(np.uint8)
    rows = chunk_rows(values.shape[1])
    parts = [values[top : top + rows] for top in range(0, len(values), rows)]
    found = np.unique(np.concatenate([np.unique(part) for part in parts]))
    small = _known_indices(found, code)
    labels = np.empty(values.shape, small.dtype)
    for number, part in enumerate(parts):
        labels[number * rows : number * rows + rows] = small[np.searchsorted(found, part)]
    return labels


def _known_indices(found: np.ndarray, code: ClassCode) -> np.ndarray:
    """The classes of pixel values (N,), uint8 where they fit. Raises ValueError for others."""
    indices = code.of_values(found)
    if (indices < 0).any():
        count = len(code.names)
        step = int(np.gcd.reduce(found.astype(np.int64)))
        scaled = ""
        # A single number is no times of another, unless all bits of one or two bytes are set.
        is_spread = step > 1 and (np.count_nonzero(found) > 1 or step in SPREAD)
        if is_spread and (code.of_values(found.astype(np.int64) // step) >= 0).all():
            scaled = f" If they are class numbers times {step}, divide them by that."
        raise ValueError(
            f"The mask holds the labels {found[indices < 0][:10].tolist()}, but the classes are "
            f"0..{count - 1} ({count} classes); map them to classes with "
            "values={label: class} of the condition (in a recipe networks.condition.values, such "
            f"as {{{found[indices < 0][0]}: {count}}} with one class more), or correct the mask."
            f"{scaled}"
        )
    return indices.astype(np.uint8 if len(code.names) <= 256 else np.int32)


def classes_of_colors(image: Image.Image, code: ClassCode, size: tuple[int, int]) -> np.ndarray:
    """Class indices of a picture in class colours (RGB or RGBA) at (height, width), nearest.

    What is not visible is `code.unknown`. With `code.snap` a colour counts as the class's that it
    is `NEAR`, and within `BORDER` pixels of such as the class of the nearest. Raises ValueError for
    other colours, and for transparency without a class for it.
    """
    found, counts = _census(image)
    hidden = image.width * image.height - int(counts.sum())
    if code.unknown is None and hidden:
        raise ValueError(
            f"The mask has {hidden} transparent pixels, but the condition has no `unknown` class "
            "for them; paint them or declare one."
        )
    colors = np.stack([found >> 16, found >> 8 & 255, found & 255], -1).astype(np.uint8)
    indices = code.of_colors(colors, NEAR if code.snap else 0.0).astype(np.int32)
    strange = indices < 0
    if code.snap and 0 < counts[strange].sum() <= MOST_BORDER * counts.sum():
        labels, left = _with_borders(image, found, indices, code)
        strange = np.isin(found, left)
        if not strange.any():
            return np.asarray(_nearest(labels, size))
    if not strange.any():
        return _looked_up(np.asarray(_nearest(image, size).convert("RGBA")), found, indices, code)
    order = np.flatnonzero(strange)[np.argsort(-counts[strange])][:5]
    first = ", ".join(f"{hexadecimal(found[i])} ({counts[i]} pixels)" for i in order)
    remedy = (
        "They are near no class colour either: declare a class of this colour"
        if code.snap
        else "Save colour masks without compression or smoothing, set snap_colors=True to take "
        "near colours for a class's"
    )
    raise ValueError(
        f"The mask has {strange.sum()} colours of no class: {first}. {remedy}, or pass an "
        "index map (mode L or P) instead."
    )


def _census(image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """The colours of what is visible, as codes in order, and how many pixels each has."""
    found, counts = np.empty(0, np.uint32), np.empty(0, np.int64)
    for _, part in chunks(image):
        rgba = np.asarray(part.convert("RGBA"))
        own, own_counts = np.unique(color_codes(rgba)[rgba[:, :, 3] >= OPAQUE], return_counts=True)
        both, place = np.unique(np.concatenate([found, own]), return_inverse=True)
        weights = np.concatenate([counts, own_counts])
        found, counts = both, np.bincount(place, weights, len(both)).astype(np.int64)
        if len(found) > MOST_COLORS:
            raise ValueError(
                f"The mask has more than {MOST_COLORS:,} colours, as a photo has; pass a label map "
                "in class colours or class numbers."
            )
    return found, counts


def _looked_up(
    rgba: np.ndarray, found: np.ndarray, indices: np.ndarray, code: ClassCode
) -> np.ndarray:
    """The classes (H, W) int32 of colours (H, W, 4), of which those in `found` have `indices`."""
    visible = rgba[:, :, 3] >= OPAQUE
    labels = np.full(visible.shape, -1 if code.unknown is None else code.unknown, np.int32)
    labels[visible] = indices[np.searchsorted(found, color_codes(rgba)[visible])]
    return labels


def _with_borders(
    image: Image.Image, found: np.ndarray, indices: np.ndarray, code: ClassCode
) -> tuple[Image.Image, np.ndarray]:
    """The classes as a picture (mode L or I), borders as the nearest class; colours of no class."""
    labels = Image.new("L" if len(code.names) <= 256 else "I", image.size)
    left: set[int] = set()
    for top, part in chunks(image, BEYOND):
        rgba = np.asarray(part.convert("RGBA"))
        own = _looked_up(rgba, found, indices, code)
        own, strange = _without_borders(rgba, own, rgba[:, :, 3] >= OPAQUE)
        first = min(top, BEYOND)
        last = first + chunk_rows(image.width)
        left.update(np.unique(color_codes(rgba[first:last][strange[first:last]])).tolist())
        kind = np.uint8 if labels.mode == "L" else np.int32
        labels.paste(Image.fromarray(own[first:last].clip(0).astype(kind)), (0, top))
    return labels, np.array(sorted(left), np.uint32)


def _nearest(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A picture at (height, width), of its own pixels."""
    return image if image.size == size[::-1] else image.resize(size[::-1], NEAREST)


def _without_borders(
    rgba: np.ndarray, labels: np.ndarray, visible: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (H, W) whose visible -1 within `BORDER` pixels of a class are the nearest class.

    And where -1 is left, (H, W) bool: far from classes, and where a pixel and its neighbours have
    one colour, as across a smooth border none have.
    """
    far = visible & (labels < 0)
    sure = visible & ~far
    if not far.any():
        return labels, far
    colors = color_codes(rgba).astype(np.float32)  # which holds 24 bits, and OpenCV reads it
    colors[~far] = -1
    around = np.ones((3, 3), np.uint8)
    flat = far & (cv2.erode(colors, around) == cv2.dilate(colors, around))
    distance, nearest = cv2.distanceTransformWithLabels(
        (~sure).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    class_of = np.zeros(int(nearest.max()) + 1, labels.dtype)
    class_of[nearest[sure]] = labels[sure]
    border = far & ~flat & (distance <= BORDER)
    return np.where(border, class_of[nearest], labels), far & ~border


def nearest_classes(rgb: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """The class (H, W) int64 whose colour is the nearest to each of (H, W, 3), however far.

    For pictures that were painted in these colours. palette: of the classes, (K, 3).
    """
    found, position = np.unique(color_codes(rgb), return_inverse=True)
    colors = np.stack([found >> 16, found >> 8 & 255, found & 255], -1)
    code = ClassCode(range(len(palette)), palette)
    return code.of_colors(colors, reach=np.inf)[position].reshape(rgb.shape[:2])


def read_overlay(source: Picture, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Where a class lies that is on top of others, (H, W) bool, in a mask of the labels' shape."""
    what = f"{name} mask"
    if isinstance(source, (np.ndarray, Tensor)):
        values = to_numpy(source, what)
        if not np.isin(values, (0, 1, 255)).all():
            raise ValueError(
                f"The {what}, also as the second plane of integers (2, H, W), holds 0 and 1 "
                f"(or 255), got {np.unique(values)[:5].tolist()}; several masks are a list."
            )
        plane = values > 0
    else:
        plane = read_part(source, what)
    if plane.shape != shape:
        raise ValueError(f"The {what} must have the labels' size {shape}, got {plane.shape}.")
    return plane


def read_part(source: Picture, what: str) -> np.ndarray:
    """Where the mask of one part is set, that is neither 0 nor black: (H, W) bool.

    source: integers or booleans (H, W), or a picture in greys of any mode, or one of two colours
    with a palette; CelebAMask-HQ saves its parts as RGB. Raises ValueError for anything else.
    """
    if isinstance(source, (np.ndarray, Tensor)):
        return read_integers(source, what) > 0
    image = open_image(source, what)
    if image.mode not in ("P", "LA", "RGB", "RGBA"):
        if image.mode not in ("1", "L", "I") and not image.mode.startswith("I;16"):
            raise ValueError(
                f"The {what} must be a picture in greys or RGB, got mode {image.mode}; convert it."
            )
        return np.asarray(image) > 0
    rgba = np.asarray(image.convert("RGBA"))
    colors, visible = rgba[:, :, :3], rgba[:, :, 3] >= 128
    in_greys = (colors == colors[:, :, :1]).all()
    if not in_greys and (image.mode != "P" or len(np.unique(color_codes(colors[visible]))) > 2):
        raise ValueError(
            f"The {what} must be black where the part is not and grey or white where it is; it has "
            "colours, as a photo or a map of several parts has."
        )
    return colors.any(2) & visible


def read_integers(source: np.ndarray | Tensor, what: str) -> np.ndarray:
    """An array of one plane, (H, W) integers or bool. Raises ValueError for anything else."""
    plane = to_numpy(source, what)
    if plane.ndim != 2 or not is_integer(plane):
        raise ValueError(
            f"The {what} must be integers or bool (H, W), got {plane.dtype} {plane.shape}."
        )
    height, width = plane.shape
    check_sides(height, width, f"The {what}")
    return plane


def is_color_array(source: Any) -> bool:
    """Whether a NumPy array is a colour picture (H, W, 3 or 4); no mask is 3 or 4 pixels wide."""
    return isinstance(source, np.ndarray) and source.ndim == 3 and source.shape[2] in (3, 4)


def is_integer(array: np.ndarray | Tensor) -> bool:
    """Whether an array or tensor holds integers or booleans."""
    if isinstance(array, Tensor):
        return not array.is_floating_point() and not array.is_complex()
    return array.dtype == bool or np.issubdtype(array.dtype, np.integer)


def distinct_colors(count: int) -> tuple[str, ...]:
    """`count` different "#rrggbb" colours, the same on every call: hues a golden angle apart."""
    colors: dict[str, None] = {}
    step = 0
    while len(colors) < count:
        saturation, value = ((0.65, 0.95), (0.9, 0.6), (0.4, 0.8))[step % 3]
        rgb = colorsys.hsv_to_rgb(step * 0.618034 % 1, saturation, value)
        colors["#" + "".join(f"{round(255 * part):02x}" for part in rgb)] = None
        step += 1
    return tuple(colors)


def whole_values(values: Mapping[int, int]) -> dict[int, int]:
    """The class of each label, as a saved pipeline keeps it. Raises ValueError for fractions."""
    try:
        return {
            int(operator.index(value)): int(operator.index(index))
            for value, index in values.items()
        }
    except TypeError as error:
        raise ValueError(
            f"'values' must be whole numbers, the class of each label, got {values!r}."
        ) from error


def no_mask(array: np.ndarray | Tensor, channels: int) -> str:
    return (
        "A mask array must be integers (H, W) or (1, H, W), a soft mask "
        f"({channels}, H, W) or, in NumPy, colours (H, W, 3); got shape {tuple(array.shape)}."
    )


def plane_or_planes(array: np.ndarray | Tensor, channels: int) -> np.ndarray | Tensor:
    """Classes (H, W) or shares of them (K, H, W), the first also of (H, W, 1).

    Raises ValueError for any other shape.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3):
        raise ValueError(no_mask(array, channels))
    return array


def soft_planes(source: np.ndarray | Tensor, height: int, width: int) -> Tensor:
    """A soft mask (K, H, W) at another size. Raises ValueError for values outside of 0..1."""
    planes = to_numpy(source, "mask").astype(np.float32)
    if planes.min() < -1e-3 or planes.max() > 1 + 1e-3:
        raise ValueError(
            f"A soft mask must lie in [0, 1], got {planes.min():.3g}..{planes.max():.3g}; "
            "apply softmax over the classes first."
        )
    resized = [resize_plane(plane, height, width, NEAREST) for plane in planes.clip(0, 1)]
    return torch.from_numpy(np.stack(resized))


def labels_of_array(source: np.ndarray | Tensor, code: ClassCode) -> np.ndarray:
    """The classes (H, W) of an index map."""
    array = to_numpy(source, "mask")
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2:
        raise ValueError(no_mask(source, len(code.names)))
    if not is_integer(array):
        raise ValueError(
            f"An index map must hold integers, got {array.dtype}; if it went through ToTensor, "
            "(x * 255).round().long() restores the indices."
        )
    return classes_of_values(array, code)


def labels_of_image(image: Image.Image, code: ClassCode, size: tuple[int, int]) -> np.ndarray:
    """The classes, at (height, width), of a picture that means one thing, see `meaning_of`."""
    read = classes_of_colors if image.mode in ("RGB", "RGBA") else classes_of_plane
    return read(image, code, size)
