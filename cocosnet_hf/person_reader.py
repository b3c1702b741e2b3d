"""Reading a person in a photo or a mask with networks that ship, without a download."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from .conditions.layouts import JOINTS
from .conditions.sides import mirrored_order
from .models.network import channels_last
from .models.person import PersonNetwork
from .pictures import Picture, open_photo

PERSON = "person"
"""What names this network where else a transformers model is named."""

PERSON_CLASSES = (
    "background",
    "skin",
    "hair",
    "headwear",
    "eyewear",
    "top",
    "outerwear",
    "dress",
    "legwear_long",
    "skirt_shorts",
    "footwear",
    "bag",
    "accessory",
)
"""What it tells apart: the classes of the bundled `mask-to-image`."""

MASK_COLORS = np.array(
    [
        (255, 255, 255),
        (230, 180, 150),
        (90, 50, 20),
        (250, 220, 0),
        (0, 0, 0),
        (220, 20, 60),
        (0, 90, 200),
        (150, 0, 200),
        (0, 150, 70),
        (255, 130, 0),
        (70, 70, 90),
        (0, 200, 220),
        (255, 105, 180),
    ],
    np.uint8,
)
"""The colours of `PERSON_CLASSES` in which its sister has seen masks, (13, 3)."""

PHOTOS = "person-reader"
"""The folder of its weights."""

MASKS = "mask-reader"
"""The folder of those that went on with masks, whose joints they find; the garments of photos they
know less well since."""

MARGIN = 1.04
"""Height of the frame around a person by the person's; the frame is half as wide as high."""

LEAST_SHARE = 0.04
"""Of the first frame's pixels that somebody must fill."""

SEEN, LEAST_JOINTS = 0.3, 10
"""The score above which a joint is seen, and how many somebody shows; landscapes mostly fewer."""

NOBODY_IN_MASK = "The mask shows no single person from head to feet."

_SIDE = 1024
"""Longer side in pixels beyond which a photo is looked at smaller."""

_SURE = 10.0
"""The logit of background beyond the frame, and less that of all else."""

_PLAIN, _STEPS = 0.75, 4
"""Share of a photo's border that has one colour, where people stand on plain ground; and by how
many steps of 0..255 that colour varies."""

_GAP, _AROUND, _CLEAR = 0.02, 3, 40
"""Share of the photo that a gap takes at most; how far around it is looked, in pixels, and by how
many steps it differs from what is there."""

_Frame: TypeAlias = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels, half as wide as high."""


class NotFoundInPhotoError(ValueError):
    """A photo in which no face or no person is found; the message says what helps."""


@dataclasses.dataclass(frozen=True, eq=False)
class PersonReading:
    """What is seen of one person.

    labels: (H, W) uint8 as high and wide as the photo, of `PERSON_CLASSES`. person: (H, W) float32,
    how sure it is that the person is there. joints: (18, 3) x and y in pixels of the photo and a
    score in 0..1. frame: (left, top, right, bottom) in pixels, half as wide as high, which may
    reach beyond the photo.
    """

    labels: np.ndarray
    person: np.ndarray
    joints: np.ndarray
    frame: _Frame


def read_person(photo: Picture) -> PersonReading:
    """Find the largest person in a photo, what each pixel wears and where the joints are.

    Looked at twice: in frames side by side as high as the photo, then in a frame around the person.
    Raises NotFoundInPhotoError where nobody is seen.
    """
    image = open_photo(photo)
    scale = min(1.0, _SIDE / max(image.size))
    small = image if scale == 1 else image.resize([max(round(s * scale), 1) for s in image.size])
    pixels = np.asarray(small)
    frames = _first_frames(*small.size)
    people = [_largest(classes) for classes, _ in _looked(pixels, frames)]
    index = int(np.argmax([found.sum() for found in people]))
    if people[index].mean() < LEAST_SHARE:
        raise _nobody_in(image)
    frame = _around(people[index], frames[index])
    ((classes, places),) = _looked(pixels, [frame])
    logits = _laid_back(classes, frame, small.size)
    # Between an arm and the hip plain ground would be read as a coat, and shown as one.
    logits[0][torch.from_numpy(_plain_gaps(pixels))] += 10 * _SURE
    person = 1 - logits.softmax(0)[0].numpy()
    labels: np.ndarray = logits.argmax(0).numpy().astype(np.uint8)
    joints = _joints(places, frame)
    if (joints[:, 2] > SEEN).sum() < LEAST_JOINTS:
        raise _nobody_in(image)
    if scale < 1:
        labels = cv2.resize(labels, image.size, interpolation=cv2.INTER_NEAREST)
        person = cv2.resize(person, image.size, interpolation=cv2.INTER_LINEAR)
        joints[:, :2] /= scale
    left, top, right, bottom = (side / scale for side in frame)
    return PersonReading(labels, person, joints, (left, top, right, bottom))


def read_joints_of_mask(labels: np.ndarray) -> np.ndarray:
    """The joints of the person whose mask this is, as of `PersonReading`.

    labels: (H, W), classes of `PERSON_CLASSES`. Raises NotFoundInPhotoError where too little of it
    is a person, or too few joints are seen.
    """
    there = labels > 0
    scale = min(1.0, _SIDE / max(labels.shape))
    size = [max(round(side * scale), 1) for side in labels.shape[::-1]]
    if scale < 1:
        labels = cv2.resize(labels.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        there = labels > 0
    if there.mean() < LEAST_SHARE / 4:
        raise NotFoundInPhotoError(NOBODY_IN_MASK)
    height, width = labels.shape
    frame = _around(there, (0.0, 0.0, float(width), float(height)))
    ((_, places),) = _looked(MASK_COLORS[labels], [frame], MASKS)
    joints = _joints(places, frame)
    if (joints[:, 2] > SEEN).sum() < LEAST_JOINTS:
        raise NotFoundInPhotoError(NOBODY_IN_MASK)
    joints[:, :2] /= scale
    return joints


def _nobody_in(image: Image.Image) -> NotFoundInPhotoError:
    # Made where it is raised: kept in a variable there, it would keep all that was computed.
    return NotFoundInPhotoError(
        f"No person is seen in the photo of {image.width} x {image.height} pixels: take one that "
        "shows a single person from head to feet, who fills most of its height."
    )


@functools.cache
def _network(weights: str) -> PersonNetwork:
    folder = Path(__file__).parent / "assets" / weights
    network = PersonNetwork.from_pretrained(folder, variant="fp16", dtype=torch.float32)
    return network.eval().to(memory_format=torch.channels_last)


def _first_frames(width: int, height: int) -> list[_Frame]:
    """Frames half as wide as high that cover a photo: one, or several side by side."""
    if width <= 0.7 * height:
        high = max(height, 2 * width)
        top = (height - high) / 2
        middle = width / 2
        return [(middle - high / 4, top, middle + high / 4, top + high)]
    count = int(np.ceil((width - height / 2) / (height / 4))) + 1
    lefts = np.linspace(0, width - height / 2, count)
    return [(float(left), 0.0, float(left) + height / 2, float(height)) for left in lefts]


@torch.inference_mode()
def _looked(
    pixels: np.ndarray, frames: list[_Frame], weights: str = PHOTOS
) -> list[tuple[Tensor, Tensor]]:
    """Logits of the classes (K, h, w) and joints (J, h, w) in each frame, also seen mirrored.

    Beyond a photo its border goes on, beyond a mask is the background.
    """
    network = _network(weights)
    beyond = cv2.BORDER_REPLICATE if weights == PHOTOS else cv2.BORDER_CONSTANT
    height, width = PersonNetwork.size
    cut = []
    for left, top, _, bottom in frames:
        scale = height / (bottom - top)
        # Centres of pixels are half a pixel from their corners.
        across, down = (0.5 - left) * scale - 0.5, (0.5 - top) * scale - 0.5
        move = np.array([[scale, 0, across], [0, scale, down]])
        # Much smaller by interpolation alone, it would be jagged.
        source = cv2.GaussianBlur(pixels, (0, 0), 0.35 / scale) if scale < 0.6 else pixels
        cut.append(
            cv2.warpAffine(
                source, move, (width, height), borderMode=beyond, borderValue=(255, 255, 255)
            )
        )
    images = torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2).float() / 127.5 - 1
    found = network(channels_last(torch.cat([images, images.flip(3)])))
    (classes, mirrored_classes), (joints, mirrored_joints) = (each.chunk(2) for each in found)
    classes = (classes + mirrored_classes.flip(3)) / 2
    joints = (joints + mirrored_joints.flip(3)[:, mirrored_order(JOINTS)]) / 2
    return list(zip(classes, joints, strict=True))


def _largest(classes: Tensor) -> np.ndarray:
    """Where the largest connected person is, (h, w) bool."""
    there = (classes.softmax(0)[0] < 0.5).numpy().astype(np.uint8)
    _, parts, figures, _ = cv2.connectedComponentsWithStats(there)
    if len(figures) == 1:
        return there > 0
    return parts == 1 + figures[1:, cv2.CC_STAT_AREA].argmax()


def _around(there: np.ndarray, frame: _Frame) -> _Frame:
    """The frame around somebody in a frame."""
    left, top, right, bottom = frame
    scale = (bottom - top) / there.shape[0]
    down, across = (np.flatnonzero(there.any(axis)) for axis in (1, 0))
    low, high = top + down[0] * scale, top + (down[-1] + 1) * scale
    first, last = left + across[0] * scale, left + (across[-1] + 1) * scale
    tall = max(high - low, 2 * (last - first)) * MARGIN
    x, y = (first + last) / 2, (low + high) / 2
    return x - tall / 4, y - tall / 2, x + tall / 4, y + tall / 2


def _plain_gaps(pixels: np.ndarray) -> np.ndarray:
    """Where plain ground is seen through a gap of the person in a photo (H, W, 3), (H, W) bool.

    Small parts within that have the one colour which nearly all of the photo's border has, and
    differ clearly from what is around them: white cloth on white ground is no gap.
    """
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).astype(int)
    color = np.median(border, axis=0)
    away = np.abs(pixels - color).max(2)
    plain = (away <= _STEPS).astype(np.uint8)
    if (np.abs(border - color).max(1) <= _STEPS).mean() < _PLAIN:
        return np.zeros(plain.shape, bool)
    # Without the highlights of clothes.
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    plain = cv2.morphologyEx(plain, cv2.MORPH_OPEN, disc)
    count, parts, figures, _ = cv2.connectedComponentsWithStats(plain)
    distance, nearest = cv2.distanceTransformWithLabels(
        1 - plain, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_nearest = np.zeros(nearest.max() + 1, int)
    of_nearest[nearest[plain > 0]] = parts[plain > 0]
    ring = (distance > 1) & (distance <= _AROUND)
    around = of_nearest[nearest[ring]]
    many = np.bincount(around, minlength=count)
    contrast = np.bincount(around, away[ring], minlength=count) / np.maximum(many, 1)
    is_gap = (figures[:, cv2.CC_STAT_AREA] <= _GAP * plain.size) & (contrast > _CLEAR)
    is_gap[[0, *np.unique(np.concatenate([parts[[0, -1]].ravel(), parts[:, [0, -1]].ravel()]))]] = 0
    found: np.ndarray = is_gap[parts]
    return found


def _laid_back(classes: Tensor, frame: _Frame, size: tuple[int, int]) -> Tensor:
    """Logits of a frame as they lie on the photo, (K, H, W); beyond it is the background."""
    left, top, _, bottom = frame
    scale = classes.shape[1] / (bottom - top)
    move = np.array(
        [
            [scale, 0, (0.5 - left) * scale - 0.25],
            [0, scale, (0.5 - top) * scale - 0.25],
        ]
    )
    planes = [
        cv2.warpAffine(
            plane.numpy(),
            move,
            size,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderValue=_SURE if number == 0 else -_SURE,
        )
        for number, plane in enumerate(classes)
    ]
    return torch.from_numpy(np.stack(planes))


def _joints(logits: Tensor, frame: _Frame) -> np.ndarray:
    """Where each joint is, (18, 3): the middle of the hill around its likeliest place, in pixels.

    The score is the hill's share of all places and of "nowhere".
    """
    count, height, width = logits.shape
    shares = F.pad(logits.flatten(1), (0, 1)).softmax(1)[:, :-1].view(count, height, width)
    found = np.empty((count, 3))
    left, top, _, bottom = frame
    stride = (bottom - top) / height
    for joint, plane in enumerate(shares.numpy()):
        y, x = np.unravel_index(plane.argmax(), plane.shape)
        rows = np.arange(max(y - 2, 0), min(y + 3, height))
        columns = np.arange(max(x - 2, 0), min(x + 3, width))
        hill = plane[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        total = hill.sum()
        place = (hill.sum(0) @ columns / total, hill.sum(1) @ rows / total)
        found[joint] = left + (place[0] + 0.5) * stride, top + (place[1] + 0.5) * stride, total
    return found
