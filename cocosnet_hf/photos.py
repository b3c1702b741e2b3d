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

from .person_reader import read_person
from .pictures import Picture, open_photo

FACE_SCALE = 1.75
"""Side of a crop by the side of the box that the detector finds."""

FACE_PLACE = (0.50, 0.55)
"""Where the middle of that box lies in the crop, as shares of it from the left and the top."""

_FACE_SIDE = 400
"""Longer side in pixels at which faces are looked for."""

_PERSON_SIDE = 512
"""Height in pixels at which the border of a person is looked for."""


class FaceBox(NamedTuple):
    """A square in pixels of the photo."""

    left: float
    top: float
    side: float


class NoFaceFoundError(ValueError):
    """A photo in which no face is seen; the message says what helps."""


def find_face(photo: Picture) -> FaceBox:
    """The largest face that looks at the camera.

    Raises NoFaceFoundError where there is none.
    """
    image = open_photo(photo)
    scale = min(1.0, _FACE_SIDE / max(image.size))
    grey = image.convert("L").resize([max(round(side * scale), 1) for side in image.size])
    short = min(grey.size)
    found = _cascade().detect_multi_scale(
        img=np.asarray(grey),
        scale_factor=1.1,
        step_ratio=1,
        min_size=(max(short // 8, 24),) * 2,
        max_size=(short, short),
    )
    if not found:
        raise NoFaceFoundError(
            f"No face is seen in the photo of {image.width} x {image.height} pixels: take one that "
            "shows a face from the front, upright and not too small, or cut it out by hand."
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
    return _framed(np.asarray(image), x, y, round(crop), round(crop))


def crop_to_person(photo: Picture) -> Image.Image:
    """The frame around the largest person, twice as high as wide, as the body models know people.

    Where it reaches beyond the photo, the photo's border goes on. Raises what `read_person` raises.
    """
    image = open_photo(photo)
    left, top, right, bottom = read_person(image).frame
    return _framed(np.asarray(image), left, top, round(right - left), round(bottom - top))


def cut_out(photo: Picture) -> Image.Image:
    """The largest person on white, in the frame of `crop_to_person`.

    Their border is that of the bundled network's mask, drawn to the nearest edge of the photo by
    GrabCut (Rother et al. 2004). Raises what `read_person` raises.
    """
    image = open_photo(photo)
    reading = read_person(image)
    share = _border(np.asarray(image), reading.person)
    left, top, right, bottom = reading.frame
    pixels = np.asarray(image) * share[..., None] + 255 * (1 - share[..., None])
    size = round(right - left), round(bottom - top)
    return _framed(pixels.round().astype(np.uint8), left, top, *size, ground=(255, 255, 255))


def _border(pixels: np.ndarray, person: np.ndarray) -> np.ndarray:
    """How much of each pixel is the person, (H, W) float32 in 0..1, from a rough (H, W) in 0..1."""
    height, width = person.shape
    scale = min(1.0, _PERSON_SIDE / height)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    rough = cv2.resize(person, size, interpolation=cv2.INTER_AREA)
    reach = np.ones((max(size[1] // 40, 3),) * 2, np.uint8)
    inner = cv2.erode((rough > 0.6).astype(np.uint8), reach)
    outer = cv2.dilate((rough > 0.4).astype(np.uint8), reach)
    labels = np.where(rough > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[inner > 0] = cv2.GC_FGD
    labels[outer == 0] = cv2.GC_BGD
    if inner.any() and not outer.all():
        cv2.setRNGSeed(0)  # GrabCut's clusters start at random
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(small, labels, None, *models, 3, cv2.GC_INIT_WITH_MASK)
    there = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    there = cv2.GaussianBlur(there, (3, 3), 0)
    return cv2.resize(there, (width, height), interpolation=cv2.INTER_LINEAR)


def _framed(
    pixels: np.ndarray,
    left: float,
    top: float,
    width: int,
    height: int,
    ground: tuple[int, int, int] | None = None,
) -> Image.Image:
    """A piece of a photo; beyond it is the ground, or without one the photo's border goes on."""
    x, y = round(left), round(top)
    rows, columns = pixels.shape[:2]
    before = max(-y, 0), max(-x, 0)
    after = max(y + height - rows, 0), max(x + width - columns, 0)
    wide = cv2.copyMakeBorder(
        pixels,
        before[0],
        after[0],
        before[1],
        after[1],
        cv2.BORDER_REPLICATE if ground is None else cv2.BORDER_CONSTANT,
        value=ground,
    )
    x, y = x + before[1], y + before[0]
    return Image.fromarray(wide[y : y + height, x : x + width])


@functools.cache
def _cascade() -> Cascade:
    return Cascade(skimage.data.lbp_frontal_face_cascade_filename())
