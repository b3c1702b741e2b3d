"""Photos as people have them, brought to what the bundled models have learned.

Faces that fill the picture, and one person on white from head to feet. Everything that is needed
comes with the package.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import cv2
import numpy as np
import skimage.data
from PIL import Image
from skimage.feature import Cascade

from .pictures import Picture, open_photo

FACE_SCALE = 1.75
"""Side of a crop by the side of the box that the detector finds."""

FACE_PLACE = (0.50, 0.55)
"""Where the middle of that box lies in the crop, as shares of it from the left and the top."""

PERSON_MARGIN = 1.04
"""Height of the frame around a person by the person's; the frame is half as wide as high."""

PERSON_SHARES = (0.03, 0.6)
"""Of a photo's pixels; who is found to fill less or more is a mistake."""

SAME_COLOURS = 0.8
"""Of the colours of a person and the rest in common, from which they cannot be told apart."""

_FACE_SIDE = 400
"""Longer side in pixels at which faces are looked for."""

_PERSON_SIDE = 320
"""Longer side in pixels at which people are looked for."""


class NotFoundInPhotoError(ValueError):
    """A photo in which no face or no person is found; the message says what helps."""


class FaceBox(NamedTuple):
    """A square in pixels of the photo."""

    left: float
    top: float
    side: float


def find_face(photo: Picture) -> FaceBox:
    """The largest face that looks at the camera.

    Raises NotFoundInPhotoError where there is none.
    """
    image = open_photo(photo)
    small, scale = _shrunk(image, _FACE_SIDE)
    short = min(small.size)
    found = _cascade().detect_multi_scale(
        img=np.asarray(small.convert("L")),
        scale_factor=1.1,
        step_ratio=1,
        min_size=(max(short // 8, 24),) * 2,
        max_size=(short, short),
    )
    if not found:
        raise NotFoundInPhotoError(
            f"No face is found in the photo of {image.width} x {image.height} pixels: take one "
            "that shows a face from the front, upright and not too small, or crop it by hand."
        )
    box = max(found, key=lambda one: one["width"])
    return FaceBox(box["c"] / scale, box["r"] / scale, box["width"] / scale)


def crop_to_face(photo: Picture) -> Image.Image:
    """The square around the largest face, framed as the faces that `edge-to-face` has learned.

    Where it reaches beyond the photo, the photo's border goes on. Raises what `find_face` raises.
    """
    image = open_photo(photo)
    left, top, side = find_face(image)
    crop = FACE_SCALE * side
    x = left + side / 2 - FACE_PLACE[0] * crop
    y = top + side / 2 - FACE_PLACE[1] * crop
    return _framed(np.asarray(image), x, y, round(crop), round(crop), None)


def find_person(photo: Picture) -> np.ndarray:
    """How much of each pixel is the person in the middle of a photo, (H, W) float32 in 0..1.

    By GrabCut (Rother et al. 2004) from a standing figure as high as the photo: it tells colours
    apart and knows no people. Raises NotFoundInPhotoError where what it finds fills too little or
    too much of the photo, or has the colours of the rest.
    """
    image = open_photo(photo)
    small, _ = _shrunk(image, _PERSON_SIDE)
    labels = _standing(small.height, small.width)
    ground, figure = np.zeros((1, 65)), np.zeros((1, 65))
    unused = (0, 0, 0, 0)  # the box, beside labels
    cv2.setRNGSeed(0)  # its clusters start at random
    cv2.grabCut(np.asarray(small), labels, unused, ground, figure, 5, cv2.GC_INIT_WITH_MASK)
    there = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    _, parts, figures, _ = cv2.connectedComponentsWithStats(there)
    there = (parts == 1 + figures[1:, cv2.CC_STAT_AREA].argmax()) & (there > 0)
    least, most = PERSON_SHARES
    if not least <= there.mean() <= most or _overlap(np.asarray(small), there) > SAME_COLOURS:
        raise NotFoundInPhotoError(
            f"No person is found in the photo of {image.width} x {image.height} pixels: take one "
            "that shows a whole person standing in the middle, from head to feet, on a ground of "
            "other colours than the clothes."
        )
    share = cv2.GaussianBlur(there.astype(np.float32), (3, 3), 0)
    return cv2.resize(share, image.size, interpolation=cv2.INTER_LINEAR)


def cut_out(photo: Picture) -> Image.Image:
    """The person on white, twice as high as wide, as the bundled body models know people.

    Raises what `find_person` raises.
    """
    image = open_photo(photo)
    share = find_person(image)
    rows, columns = (np.flatnonzero((share > 0.5).any(axis)) for axis in (1, 0))
    x, y = (columns[0] + columns[-1] + 1) / 2, (rows[0] + rows[-1] + 1) / 2
    height = PERSON_MARGIN * max(rows[-1] + 1 - rows[0], 2 * (columns[-1] + 1 - columns[0]))
    pixels = np.asarray(image) * share[..., None] + 255 * (1 - share[..., None])
    return _framed(
        pixels.round().astype(np.uint8),
        x - height / 4,
        y - height / 2,
        round(height / 2),
        round(height),
        (255, 255, 255),
    )


def _standing(height: int, width: int) -> np.ndarray:
    """GrabCut's labels (H, W) of where a person in the middle stands, and surely is or is not."""
    y, x = np.mgrid[0.5:height, 0.5:width]
    y, x = y / height, np.abs(x - width / 2) / height
    # The head is narrower than the rest; arms may reach further than they probably do.
    likely = ((x / 0.16) ** 2 + ((y - 0.52) / 0.48) ** 2 < 1) & ((y > 0.17) | (x < 0.07))
    surely = (x < 0.035) & (y > 0.1) & (y < 0.6)
    never = (x > 0.27) | (y < 0.01) | (y > 0.995)
    labels = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[surely] = cv2.GC_FGD
    labels[never] = cv2.GC_BGD
    return labels


def _overlap(pixels: np.ndarray, there: np.ndarray) -> float:
    """The share of colours that a place and the rest have in common, 0..1, in steps of 32."""
    red, green, blue = np.moveaxis(pixels.astype(int) // 32, -1, 0)
    colours = (red * 8 + green) * 8 + blue
    inside, outside = (np.bincount(colours[side], minlength=512) for side in (there, ~there))
    return float(np.minimum(inside / inside.sum(), outside / outside.sum()).sum())


def _shrunk(image: Image.Image, side: int) -> tuple[Image.Image, float]:
    """A photo whose longer side is at most `side`, and its scale."""
    scale = min(1.0, side / max(image.size))
    width, height = (max(round(old * scale), 1) for old in image.size)
    return image.resize((width, height), Image.Resampling.BOX), scale


def _framed(
    pixels: np.ndarray,
    left: float,
    top: float,
    width: int,
    height: int,
    ground: tuple[int, int, int] | None,
) -> Image.Image:
    """A piece of a photo; beyond it is the ground, or without one the photo's border goes on."""
    x, y = round(left), round(top)
    rows, columns = pixels.shape[:2]
    before = max(-y, 0), max(-x, 0)
    after = max(y + height - rows, 0), max(x + width - columns, 0)
    kind = cv2.BORDER_REPLICATE if ground is None else cv2.BORDER_CONSTANT
    value = ground or (0, 0, 0)
    wide = cv2.copyMakeBorder(pixels, before[0], after[0], before[1], after[1], kind, value=value)
    x, y = x + before[1], y + before[0]
    return Image.fromarray(wide[y : y + height, x : x + width])


@functools.cache
def _cascade() -> Cascade:
    return Cascade(skimage.data.lbp_frontal_face_cascade_filename())
