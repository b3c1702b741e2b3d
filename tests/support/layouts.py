"""Published and common layouts of folders in miniature, as people have them on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 80


def photo(path: Path, size: tuple[int, int] = (SIDE, SIDE), seed: int = 0) -> Path:
    """A photo of soft shapes. size: (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng([seed, len(path.name)]).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def label_map(
    path: Path, values: Sequence[int], size: tuple[int, int] = (SIDE, SIDE), mode: str = "L"
) -> Path:
    """Columns of these values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    row = np.array(values)[np.arange(width) * len(values) // width]
    picture = Image.fromarray(np.tile(row, (height, 1)).astype(np.uint8))
    picture.convert(mode).save(path) if mode != "L" else picture.save(path)
    return path


def joints(seed: int = 0) -> np.ndarray:
    """A standing figure, (18, 3) in pixels, with a missing ear."""
    x = [40, 40, 32, 28, 27, 48, 52, 53, 35, 34, 34, 45, 46, 46, 38, 42, 36, 44]
    y = [12, 22, 23, 34, 44, 23, 34, 44, 44, 58, 72, 44, 58, 72, 10, 10, 11, 11]
    found = np.column_stack([x, y, np.full(18, 0.9)]).astype(float)
    found[:, :2] += np.random.default_rng(seed).uniform(-2, 2, (18, 2))
    found[-1] = 0
    return found


def openpose(path: Path, seed: int = 0) -> Path:
    """An OpenPose file of one person, of 18 joints."""
    path.parent.mkdir(parents=True, exist_ok=True)
    person = {"pose_keypoints_2d": joints(seed).round(2).flatten().tolist()}
    path.write_text(json.dumps({"version": 1.3, "people": [person]}))
    return path


def photos_alone(root: Path) -> None:
    for number in range(6):
        photo(root / f"{number}.jpg", seed=number)


def images_and_masks(root: Path, masks: str = "masks") -> None:
    for number in range(6):
        photo(root / f"images/{number}.jpg", seed=number)
        label_map(root / f"{masks}/{number}.png", [0, 1, 2, 255])
    (root / "classes.txt").write_text("ground\nhouse\ntree\n")


def images_and_gt_fine(root: Path) -> None:
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            photo(root / f"images/{split}/a_{number}.png", seed=number)
            label_map(root / f"gtFine/{split}/a_{number}_gtFine_labelIds.png", [0, 1, 2])


def cityscapes(root: Path) -> None:
    size = (2 * SIDE, SIDE)
    for split, count in (("train", 4), ("val", 2), ("test", 1)):
        for number in range(count):
            name = f"{split}/ulm/ulm_{number:06d}_000019"
            photo(root / f"leftImg8bit/{name}_leftImg8bit.png", size, number)
            label_map(root / f"gtFine/{name}_gtFine_labelIds.png", [0, 7, 11, 23, 26], size)
            label_map(root / f"gtFine/{name}_gtFine_instanceIds.png", [0, 7, 11], size)


def ade20k(root: Path) -> None:
    for split, count in (("training", 4), ("validation", 2)):
        for number in range(count):
            name = f"{split}/ADE_{split[:5]}_{number:08d}"
            photo(root / f"images/{name}.jpg", seed=number)
            label_map(root / f"annotations/{name}.png", [0, 1, 3, 150])
    (root / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tStuff\tName\n")


def coco_stuff(root: Path) -> None:
    for split, count in (("train2017", 4), ("val2017", 2)):
        for number in range(count):
            photo(root / f"{split}/{number:012d}.jpg", seed=number)
            label_map(root / f"stuffthingmaps/{split}/{number:012d}.png", [0, 105, 181, 255])


FACE = {
    "skin": (12, 12, 68, 72),
    "hair": (6, 0, 74, 24),
    "nose": (36, 36, 44, 48),
    "l_eye": (22, 30, 34, 36),
    "r_eye": (46, 30, 58, 36),
    "eye_g": (20, 28, 60, 34),
    "neck": (26, 70, 54, 80),
    "cloth": (10, 74, 70, 80),
}
"""Parts of a face in CelebAMask-HQ's names: left, top, right, bottom."""


def celebamask(root: Path) -> None:
    for number in range(6):
        photo(root / f"CelebAMask-HQ/CelebA-HQ-img/{number}.jpg", seed=number)
        for name, (left, top, right, bottom) in FACE.items():
            if name == "eye_g" and number % 2:
                continue
            part = np.zeros((SIDE, SIDE, 3), np.uint8)
            part[top:bottom, left:right] = 255
            path = root / f"CelebAMask-HQ/CelebAMask-HQ-mask-anno/0/{number:05d}_{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(part).save(path)


def deepfashion_openpose(root: Path) -> None:
    for number in range(6):
        name = f"WOMEN/Dresses/id_{number:08d}/02_1_front"
        photo(root / f"img/{name}.jpg", seed=number)
        openpose(root / f"openpose/{name}_keypoints.json", number)


def deepfashion_coco(root: Path) -> None:
    order = [0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10]  # OpenPose's by COCO's
    content: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
    for number in range(6):
        name = f"WOMEN/Dresses/id_{number:08d}/02_1_front.jpg"
        photo(root / f"img/{name}", seed=number)
        image = {"id": number, "file_name": f"img/{name}", "width": SIDE, "height": SIDE}
        content["images"].append(image)
        keypoints = joints(number)[order].round(2).flatten().tolist()
        content["annotations"].append(
            {"id": number, "image_id": number, "category_id": 1, "keypoints": keypoints}
        )
    (root / "person_keypoints.json").write_text(json.dumps(content))


def viton(root: Path) -> None:
    for split, count in (("train", 4), ("test", 2)):
        for number in range(count):
            name = f"{number:05d}_00"
            photo(root / f"{split}/image/{name}.jpg", seed=number)
            photo(root / f"{split}/cloth/{name}.jpg", seed=number)
            openpose(root / f"{split}/openpose_json/{name}_keypoints.json", number)
            label_map(root / f"{split}/image-parse-v3/{name}.png", [0, 2, 5, 13, 14])
            label_map(root / f"{split}/image-parse-agnostic-v3.2/{name}.png", [0, 2])


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "photos alone": photos_alone,
    "images and masks": images_and_masks,
    "images and gtFine": images_and_gt_fine,
    "Cityscapes": cityscapes,
    "ADE20K": ade20k,
    "COCO-Stuff": coco_stuff,
    "CelebAMask-HQ": celebamask,
    "DeepFashion, OpenPose": deepfashion_openpose,
    "DeepFashion, COCO": deepfashion_coco,
    "VITON": viton,
}
