"""One random cut, flip and warp for a photo and everything that lies on it."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..conditions import Condition, MaskCondition, PartEdgeCondition, Pose
from ..conditions.edge import FACE_PARTS, fit_lines, is_line_array
from ..conditions.pose import JOINTS
from .settings import DataSettings

NEAREST, BICUBIC = Image.Resampling.NEAREST, Image.Resampling.BICUBIC


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Resize to `load` (width, height), cut a square `side` at `corner` (x, y), flip, displace.

    displacement: (side, side, 2) of x, y in pixels to the place a position is filled from, or None.
    """

    load: tuple[int, int]
    corner: tuple[int, int]
    side: int
    flipped: bool = False
    swap_sides: bool = False
    displacement: np.ndarray | None = None

    @classmethod
    def draw(
        cls,
        size: tuple[int, int],
        settings: DataSettings,
        rng: np.random.Generator,
        warp: float = 0.0,
    ) -> Geometry:
        """A random one for a photo of this (width, height); the middle cut if augment is off."""
        side, load = settings.image_size, (settings.load_size, settings.load_size)
        if settings.keep_aspect:
            scale = settings.load_size / min(size)
            load = (max(side, round(size[0] * scale)), max(side, round(size[1] * scale)))
        room = (load[0] - side, load[1] - side)
        if not settings.augment:
            return cls(load, (room[0] // 2, room[1] // 2), side)
        corner = (int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1)))
        flipped = bool(rng.random() < settings.flip)
        displacement = smooth_displacement(side, warp, rng) if warp > 0 else None
        return cls(load, corner, side, flipped, settings.swap_sides, displacement)

    def picture(self, image: Image.Image, resample: Image.Resampling = BICUBIC) -> Image.Image:
        """A picture through this geometry; label maps need resample NEAREST and keep their mode."""
        left, top = self.corner
        if image.size != self.load:
            image = image.resize(self.load, resample)
        image = image.crop((left, top, left + self.side, top + self.side))
        if self.flipped:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.displacement is None:
            return image
        place = np.indices((self.side, self.side), np.float32)[::-1].transpose(1, 2, 0)
        place = (place + self.displacement).clip(0, self.side - 1).astype(np.float32)
        pixels = np.asarray(image)
        if resample != NEAREST:
            return Image.fromarray(cv2.remap(pixels, place, None, cv2.INTER_LINEAR))
        columns, rows = np.rint(place).astype(np.intp).transpose(2, 0, 1)
        return Image.fromarray(pixels[rows, columns])

    def pose(self, pose: Pose) -> Pose:
        """The joints' new places, on a canvas of the cut's size in the pose's own pixels.

        So the stick figure, drawn with a fixed width, grows and shrinks with the photo, unless the
        condition has a draw_height.
        """
        height, width = pose.size
        scale = np.array([self.load[0] / width, self.load[1] / height])
        joints = np.array(pose.joints)
        points = (joints[:, :2] + 0.5) * scale - 0.5 - np.array(self.corner)
        if self.flipped:
            points[:, 0] = self.side - 1 - points[:, 0]
        if self.displacement is not None:
            points = self._displaced(points)
        joints[:, :2] = (points + 0.5) / scale - 0.5
        if self.flipped and self.swap_sides:
            joints = joints[mirrored_order(JOINTS)]
        return Pose(joints, (round(self.side / scale[1]), round(self.side / scale[0])))

    def source(self, source: Any, photo: Image.Image, moved_photo: Image.Image) -> Any:
        """A condition's source through this geometry; where it is the photo, the moved photo."""
        if source is photo:
            return moved_photo
        if isinstance(source, Pose):
            return self.pose(source)
        if is_line_array(source):
            lines = fit_lines(source, *self.load[::-1])  # keeps thin ones
            return np.array(self.picture(Image.fromarray(lines.astype(np.uint8)), NEAREST)) > 0
        if isinstance(source, Mapping):
            return {key: self.source(value, photo, moved_photo) for key, value in source.items()}
        return self.picture(source, NEAREST)

    def classes(self, labels: Tensor, condition: MaskCondition) -> Tensor:
        """Exchange left and right classes of a label map (H, W) int64 after a flip."""
        if not (self.flipped and self.swap_sides):
            return labels
        return torch.tensor(mirrored_order(condition.classes))[labels]

    def encoded(self, encoded: Tensor, condition: Condition) -> Tensor:
        """Exchange left and right channels of an encoded condition (K, H, W) after a flip."""
        if not (self.flipped and self.swap_sides and isinstance(condition, PartEdgeCondition)):
            return encoded
        parts = [1 + index for index in mirrored_order(FACE_PARTS)]
        return encoded[[0, *parts, len(FACE_PARTS) + 1]]

    def _displaced(self, points: np.ndarray) -> np.ndarray:
        """Where points (N, 2) end up: q with q + displacement(q) = p, by fixed-point iteration."""
        found = points
        for _ in range(5):
            nearest = np.nan_to_num(found).round().clip(0, self.side - 1).astype(np.intp)
            found = points - self.displacement[nearest[:, 1], nearest[:, 0]]
        return found


def smooth_displacement(side: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """(side, side, 2) float32 pixels: a random 4 x 4 grid of shifts up to strength * side."""
    shifts = rng.uniform(-strength, strength, (4, 4, 2)).astype(np.float32) * side
    return cv2.resize(shifts, (side, side), interpolation=cv2.INTER_CUBIC)


def mirrored_order(names: Sequence[str]) -> list[int]:
    """For every name the index of its mirror image: "l_eye" for "r_eye"; itself if there is none.

    Sides are the words l, r, left and right, at any place, set off by a space, "_" or "-".
    """
    other = {"l": "r", "r": "l", "left": "right", "right": "left"}

    def mirrored(name: str) -> str:
        words = re.split(r"([ _-])", name)
        return "".join(other.get(word.lower(), word.lower()) for word in words)

    index = {name.lower(): position for position, name in enumerate(names)}
    return [index.get(mirrored(name), position) for position, name in enumerate(names)]


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
