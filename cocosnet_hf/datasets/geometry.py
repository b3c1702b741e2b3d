"""One random cut, flip and distortion for a photo and everything that lies on it."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..conditions.joints import JOINTS, Pose
from ..conditions.sides import mirrored_order
from .settings import DataSettings

NEAREST, BICUBIC = Image.Resampling.NEAREST, Image.Resampling.BICUBIC

MOST_STEPS = 60
"""After which a place that the inverse of a displacement has not found is given up, as at folds."""

SETTLED = 0.05
"""Pixels that are near enough to it."""


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Resize to `load`, cut at `corner`, flip, displace; all are (x, y) or (width, height).

    size: of the result. cut: what is cut and enlarged to it, by default as large as it.
    displacement: (H, W, 2) of x, y in pixels to the place a position is filled from, or None.
    """

    load: tuple[int, int]
    corner: tuple[int, int]
    size: tuple[int, int]
    flipped: bool = False
    swap_sides: bool = False
    displacement: np.ndarray | None = None
    cut: tuple[int, int] | None = None

    @classmethod
    def draw(
        cls,
        size: tuple[int, int],
        settings: DataSettings,
        rng: np.random.Generator,
        elastic: float = 0.0,
        zoom: float = 0.0,
    ) -> Geometry:
        """A random one for a photo of this (width, height); the middle cut if augment is off.

        elastic, zoom: of a self exemplar, see `DataSettings`.
        """
        cut = (settings.width, settings.image_size)
        spare = settings.load_size - settings.image_size
        # A square, or for landscapes what they are cut from.
        load = (max(settings.load_size, settings.width + spare), settings.load_size)
        if settings.keep_aspect:
            scale = max((side + spare) / given for side, given in zip(cut, size, strict=True))
            sides = zip(cut, size, strict=True)
            width, height = (max(least, round(side * scale)) for least, side in sides)
            load = (width, height)
        room = [side - wanted for side, wanted in zip(load, cut, strict=True)]
        if not settings.augment:
            return cls(load, (room[0] // 2, room[1] // 2), cut)
        margin = 0
        if settings.image_width is not None:  # around the middle
            margin = max(0, room[0] - spare) // 2
            room[0] = min(room[0], spare)
        corner = (margin + int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1)))
        flipped = bool(rng.random() < settings.flip)
        displacement = smooth_displacement(cut, elastic, rng) if elastic > 0 else None
        part = None
        if zoom > 0:
            share = rng.uniform(1 - zoom, 1)
            wide, high = (max(2, round(side * share)) for side in cut)
            part = (wide, high)
            left, top = (
                edge + int(rng.integers(side - smaller + 1))
                for edge, side, smaller in zip(corner, cut, part, strict=True)
            )
            corner = (left, top)
        return cls(load, corner, cut, flipped, settings.swap_sides, displacement, part)

    def picture(self, image: Image.Image, resample: Image.Resampling = BICUBIC) -> Image.Image:
        """A picture through this geometry; label maps need resample NEAREST and keep their mode."""
        (left, top), (width, height) = self.corner, self.cut or self.size
        if image.size != self.load:
            image = image.resize(self.load, resample)
        image = image.crop((left, top, left + width, top + height))
        width, height = self.size
        if image.size != self.size:
            image = image.resize(self.size, resample)
        if self.flipped:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.displacement is None:
            return image
        place = np.indices((height, width), np.float32)[::-1].transpose(1, 2, 0)
        place = (place + self.displacement).clip(0, (width - 1, height - 1)).astype(np.float32)
        pixels = np.asarray(image)
        if resample != NEAREST:
            return Image.fromarray(_looked_up(pixels, place))
        columns, rows = np.rint(place).astype(np.intp).transpose(2, 0, 1)
        return Image.fromarray(pixels[rows, columns])

    def pose(self, pose: Pose) -> Pose:
        """The joints' new places, on a canvas of the cut's size in the pose's own pixels.

        So the stick figure, drawn with a fixed width, grows and shrinks with the photo, unless the
        condition has a draw_height.
        """
        joints = self.joints(pose)
        scale = self.enlargement * np.array(self.load) / pose.size[::-1]
        joints[:, :2] = (joints[:, :2] + 0.5) / scale - 0.5
        width, height = (round(side) for side in self.size / scale)
        return Pose(joints, (height, width))

    def joints(self, pose: Pose) -> np.ndarray:
        """The joints' new places in pixels of the result, beside their scores: (18, 3)."""
        joints = np.array(pose.joints)
        joints[:, :2] = self.placed((joints[:, :2] + 0.5) / np.array(pose.size[::-1]))
        if self.exchanges_sides:
            joints = joints[mirrored_order(JOINTS)]
        return joints

    def placed(self, shares: np.ndarray) -> np.ndarray:
        """Where points (..., 2) of the photo, as shares of its width and height, end up: pixels."""
        points = (shares * np.array(self.load) - np.array(self.corner)) * self.enlargement - 0.5
        if self.flipped:
            points[..., 0] = self.size[0] - 1 - points[..., 0]
        return points if self.displacement is None else self._displaced(points)

    def origin(self, points: np.ndarray) -> np.ndarray:
        """The inverse of `placed`: from pixels (..., 2) to shares of the photo."""
        points = self.filled_from(points)
        if self.flipped:
            points[..., 0] = self.size[0] - 1 - points[..., 0]
        return ((points + 0.5) / self.enlargement + np.array(self.corner)) / np.array(self.load)

    def filled_from(self, points: np.ndarray) -> np.ndarray:
        """The pixels (..., 2) before the displacement that fill those after it."""
        if self.displacement is None:
            return np.array(points)
        return points + _displacement_at(self.displacement, points)

    @property
    def exchanges_sides(self) -> bool:
        """Whether what is left becomes right in names too: of joints, classes and parts."""
        return self.flipped and self.swap_sides

    @property
    def enlargement(self) -> np.ndarray:
        """Of what is cut, along (x, y)."""
        return np.array(self.size) / np.array(self.cut or self.size)

    def _displaced(self, points: np.ndarray) -> np.ndarray:
        """Where points (..., 2) end up: q with q + displacement(q) = p, by iteration."""
        found = points
        for _ in range(MOST_STEPS):
            # Half steps also settle where the displacement changes as fast as the place.
            error = points - self.filled_from(found)
            found = found + 0.5 * error
            if not (np.abs(error) > SETTLED).any():
                break
        return found


def _displacement_at(displacement: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The displacement at points (N, 2) or (h, w, 2) between the pixels; outside, the edge's.

    OpenCV takes the place to 1/32 of a pixel.
    """
    places = np.nan_to_num(points).astype(np.float32).reshape(len(points), -1, 2)
    return _looked_up(displacement, places, cv2.BORDER_REPLICATE).reshape(points.shape)


def _looked_up(
    values: np.ndarray, places: np.ndarray, border: int = cv2.BORDER_CONSTANT
) -> np.ndarray:
    """values (H, W[, C]) at places (h, w, 2) float32 of x, y."""
    # OpenCV's stubs do not know that one map may hold both coordinates.
    return cv2.remap(  # type: ignore[call-overload]
        values, places, None, cv2.INTER_LINEAR, borderMode=border
    )


def smooth_displacement(
    size: tuple[int, int], strength: float, rng: np.random.Generator
) -> np.ndarray:
    """(H, W, 2) float32 pixels: a random 4 x 4 grid of shifts up to strength * height.

    size: (width, height).
    """
    shifts = rng.uniform(-strength, strength, (4, 4, 2)).astype(np.float32) * size[1]
    return cv2.resize(shifts, size, interpolation=cv2.INTER_CUBIC)


def color_change(strength: float, rng: np.random.Generator) -> Tensor:
    """A random (3, 4) affine map of RGB in [-1, 1]: hue, saturation, contrast and brightness."""
    angle = rng.uniform(-1, 1) * strength * math.pi / 2
    saturation, contrast = rng.uniform(1 - 0.6 * strength, 1 + 0.4 * strength, 2)
    shift = rng.uniform(-0.3, 0.3) * strength
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    turn = saturation * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    middle = np.eye(3)
    middle[1:, 1:] = turn
    matrix = contrast * np.linalg.inv(to_yiq) @ middle @ to_yiq
    return torch.from_numpy(np.concatenate([matrix, np.full((3, 1), shift)], axis=1)).float()


def change_color(image: Tensor, change: Tensor) -> Tensor:
    """Apply `color_change` to (3, H, W) in [-1, 1]."""
    changed = torch.einsum("ij,jhw->ihw", change[:, :3], image) + change[:, 3, None, None]
    return changed.clamp(-1, 1)
