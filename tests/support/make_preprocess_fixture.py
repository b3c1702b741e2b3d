"""Make tests/fixtures/preprocess.npz: small edge and pose inputs with their expected outputs.

The outputs follow official networks, 8.3 and 8.4, written down a second time. Layout as
in the reference file `golden_preprocess.npz`. The photos have the size of the output: versions of
Pillow round a resized one differently. Run: python -m tests.support.make_preprocess_fixture
"""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from PIL import Image
from skimage.feature import canny

from tests.support.paths import FIXTURES

FIXTURE = FIXTURES / "preprocess.npz"
PARTS, PART_SIDE, HAIR = 13, 128, 12
LIMBS = (
    "2-3 2-6 3-4 4-5 6-7 7-8 2-9 9-10 10-11 2-12 12-13 13-14 2-1 1-15 15-17 1-16 16-18"
).split()
STANDING = np.array(
    "50,14 50,26 38,27 32,42 30,56 62,27 68,42 71,56 42,58 41,76 40,93 58,58 59,76 60,93 "
    "47,11 53,11 43,13 57,13".replace(",", " ").split(),
    dtype=float,
).reshape(18, 2)


def resized(plane: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(plane).resize(size[::-1], how))


def truncated_distance(lines: np.ndarray) -> np.ndarray:
    distance = cv2.distanceTransform((~lines).astype(np.uint8), cv2.DIST_L1, 3)
    return np.clip(distance / 3, 0, 255).astype(np.uint8)


def edges(
    photo: np.ndarray, parts: np.ndarray, present: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    outlines = np.zeros(size, bool)
    around = np.ones(size, bool)
    planes = np.full((PARTS + 2, *size), 255, np.uint8)
    for number in np.flatnonzero(present):
        part = resized(parts[number].astype(np.uint8) * 255, size, Image.Resampling.NEAREST) > 0
        padded = np.pad(part, 1, mode="edge")
        neighbours = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
        outline = np.logical_or.reduce([part != other for other in neighbours])
        planes[1 + number] = truncated_distance(outline)
        outlines |= outline
        around[part] = number == HAIR
    grey = np.asarray(Image.fromarray(photo).convert("L"))
    planes[0] = 255 * (outlines | (canny(grey) & around))
    planes[-1] = 255 * outlines
    return planes


def pose(joints: np.ndarray, source: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    hues = [colorsys.hsv_to_rgb(step / 18, 1, 1) for step in range(18)]
    colors = [[round(255 * part) for part in reversed(hue)] for hue in hues]
    canvas = np.zeros((*source, 3), np.uint8)
    for color, (x, y) in zip(colors, joints, strict=True):
        if np.isfinite(x):
            cv2.circle(canvas, (int(x), int(y)), 4, color, thickness=-1)
    distances = []
    for color, name in zip(colors, LIMBS, strict=False):
        first, second = (joints[int(number) - 1] for number in name.split("-"))
        shape = np.zeros(source, np.uint8)
        if np.isfinite(first).all() and np.isfinite(second).all():
            middle, (across, down) = (first + second) / 2, first - second
            axes = (int(np.hypot(across, down) / 2), 4)
            angle = int(np.degrees(np.arctan2(down, across)))
            center = (int(middle[0]), int(middle[1]))
            polygon = cv2.ellipse2Poly(center, axes, angle, 0, 360, 1)
            painted = canvas.copy()
            cv2.fillConvexPoly(painted, polygon, color)
            cv2.fillConvexPoly(shape, polygon, 1)
            canvas = cv2.addWeighted(canvas, 0.4, painted, 0.6, 0)
        distance = truncated_distance(shape > 0)
        distances.append(resized(distance, size, Image.Resampling.BILINEAR))
    figure = [
        resized(np.ascontiguousarray(canvas[:, :, i]), size, Image.Resampling.NEAREST)
        for i in range(3)
    ]
    return np.stack(figure + distances)


def main() -> None:
    draw = np.random.default_rng(0)
    arrays = {}
    for name, missing, size in (("edge_in0", (), (64, 64)), ("edge_in1", (5, 9, 12), (48, 80))):
        noise = draw.integers(0, 256, (12, 10, 3)).astype(np.uint8)
        photo = np.asarray(Image.fromarray(noise).resize(size[::-1], Image.Resampling.BICUBIC))
        present = np.ones(PARTS, np.uint8)
        present[list(missing)] = 0
        rows, columns = np.mgrid[:PART_SIDE, :PART_SIDE]
        middle, radius = draw.uniform(30, 98, (2, PARTS)), draw.uniform(6, 40, (2, PARTS))
        parts = np.stack(
            [
                ((rows - y) / b) ** 2 + ((columns - x) / a) ** 2 < 1
                for (y, x), (b, a) in zip(middle.T, radius.T, strict=True)
            ]
        )
        arrays[f"{name}_src_image"] = photo
        arrays[f"{name}_src_parts_packed"] = np.packbits(parts)
        arrays[f"{name}_src_parts_present"] = present
        arrays[f"{name}_label_u8"] = edges(photo, parts, present, size)
    for name, missing, source, size in (
        ("pose_in0", (), (100, 100), (100, 100)),
        ("pose_in1", (0, 7, 11), (160, 120), (64, 64)),
        ("pose_in2", (1,), (90, 200), (96, 64)),
    ):
        joints = STANDING + draw.normal(0, 4, STANDING.shape)
        joints = joints.clip(6, 94) * (np.array(source[::-1]) / 100)
        found = np.setdiff1d(np.arange(18), missing)
        subset = np.full(20, -1.0)
        subset[found] = np.arange(len(found))
        scores = np.full((len(found), 1), 0.9)
        arrays[f"{name}_candidate"] = np.hstack([joints[found], scores, found[:, None]])
        arrays[f"{name}_subset"] = subset
        arrays[f"{name}_source_hw"] = np.array(source)
        joints[list(missing)] = np.nan
        arrays[f"{name}_label_u8"] = pose(joints, source, size)
    np.savez_compressed(FIXTURE, **arrays)


if __name__ == "__main__":
    main()
