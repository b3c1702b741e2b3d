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

from .person_reader import NotFoundInPhotoError, read_person
from .pictures import Picture, open_photo

FACE_SCALE = 1.75
"""Side of a crop by the side of the box that the detector finds."""

FACE_PLACE = (0.50, 0.55)
"""Where the middle of that box lies in the crop, as shares of it from the left and the top."""

_FACE_SIDE = 400
"""Longer side in pixels at which faces are looked for."""

_PERSON_SIDE = 512
"""Longer side in pixels at which the border of a person is looked for."""


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


def crop_to_person(photo: Picture) -> Image.Image:
    """The frame around the largest person, twice as high as wide, as the body models know people.

    Where it reaches beyond the photo, the photo's border goes on. Raises what `read_person` raises.
    """
    image = open_photo(photo)
    left, top, right, bottom = read_person(image).frame
    return _framed(np.asarray(image), left, top, round(right - left), round(bottom - top), None)


def cut_out(photo: Picture) -> Image.Image:
    """The largest person on white, in the frame of `crop_to_person`.

    Their border is that of the bundled network's mask, drawn to the nearest edge of the photo
    by `border_of`. Raises what `read_person` raises.
    """
    image = open_photo(photo)
    reading = read_person(image)
    share = border_of(image, reading.person)[..., None]
    left, top, right, bottom = reading.frame
    pixels = (np.asarray(image) * share + 255 * (1 - share)).round().astype(np.uint8)
    size = round(right - left), round(bottom - top)
    return _framed(pixels, left, top, *size, (255, 255, 255))


def border_of(image: Image.Image, person: np.ndarray) -> np.ndarray:
    """How much of each pixel is the person, (H, W) float32 in 0..1, from a rough (H, W) in 0..1.

    By GrabCut (Rother et al. 2004).
    """
    small, _ = _shrunk(image, _PERSON_SIDE)
    rough = cv2.resize(person, small.size, interpolation=cv2.INTER_AREA)
    reach = np.ones((max(small.height // 40, 3),) * 2, np.uint8)
    inner = cv2.erode((rough > 0.6).astype(np.uint8), reach)
    outer = cv2.dilate((rough > 0.4).astype(np.uint8), reach)
    labels = np.where(rough > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[inner > 0] = cv2.GC_FGD
    labels[outer == 0] = cv2.GC_BGD
    if inner.any() and not outer.all():
        ground, figure = np.zeros((1, 65)), np.zeros((1, 65))
        unused = (0, 0, 0, 0)  # the box, beside labels
        cv2.setRNGSeed(0)  # its clusters start at random
        cv2.grabCut(np.asarray(small), labels, unused, ground, figure, 3, cv2.GC_INIT_WITH_MASK)
    there = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.float32)
    share = cv2.GaussianBlur(there, (3, 3), 0)
    return cv2.resize(share, image.size, interpolation=cv2.INTER_LINEAR)


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
