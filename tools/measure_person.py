"""How well people are read: the masks, joints and outlines of unseen ones, on white and in streets.

    python -m tools.measure_person FOLDER/test --classes FOLDER/classes.json --backgrounds PHOTOS

FOLDER: as for `tools.train_person`. Each person is read as they lie on white, and pasted somewhere
on a photo below --backgrounds that is as high as they are. Prints the figures of both, and of
the joints that are found in their masks.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from cocosnet_hf.person_reader import (
    PERSON_CLASSES,
    NotFoundInPhotoError,
    read_joints_of_mask,
    read_person,
)
from cocosnet_hf.photos import border_of
from tools.train_person import SURE, label_table

NEAR = 0.1
"""Of the figure's height: a joint within it is found."""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--classes", type=Path, required=True)
    parser.add_argument("--backgrounds", type=Path, nargs="+", required=True)
    args = parser.parse_args()
    table = label_table(json.loads(args.classes.read_text()))
    rows = [json.loads(line) for line in (args.folder / "metadata.jsonl").open()]
    grounds = sorted(path for folder in args.backgrounds for path in folder.rglob("*.jpg"))
    rng = np.random.default_rng(0)
    for place in ("on white", "in streets"):
        scores, confusion = [], np.zeros((len(PERSON_CLASSES),) * 2, int)
        near, missed, seconds = [], 0, []
        for row in rows:
            photo = np.asarray(Image.open(args.folder / row["file_name"]).convert("RGB"))
            labels = table[np.asarray(Image.open(args.folder / row["label_file_name"]))]
            joints = np.array(row["keypoints"])
            if place == "in streets":
                ground = Image.open(grounds[rng.integers(len(grounds))]).convert("RGB")
                photo, labels, joints = pasted(photo, labels, joints, ground, rng)
            start = time.perf_counter()
            try:
                found = read_person(Image.fromarray(photo))
            except NotFoundInPhotoError:
                missed += 1
                continue
            share = border_of(Image.fromarray(photo), found.person)
            seconds.append(time.perf_counter() - start)
            there, seen = labels > 0, share > 0.5
            scores.append((there & seen).sum() / (there | seen).sum())
            confusion += np.bincount(
                labels.ravel().astype(int) * len(PERSON_CLASSES) + found.labels.ravel(),
                minlength=confusion.size,
            ).reshape(confusion.shape)
            near += joints_near(found.joints, joints, labels)
        both = np.diag(confusion)
        each = both / (confusion.sum(0) + confusion.sum(1) - both)
        low, middle, high = np.quantile(scores, [0.05, 0.5, 0.95])
        print(
            f"{place}: {len(scores)} people, {missed} not found; outline IoU {middle:.3f} "
            f"({low:.3f} to {high:.3f}); classes mIoU {each.mean():.3f}, pixels "
            f"{both.sum() / confusion.sum():.3f}; PCK@{NEAR} {np.mean(near):.3f}; "
            f"{np.median(seconds):.2f} s"
        )
        print("  " + ", ".join(f"{n} {v:.2f}" for n, v in zip(PERSON_CLASSES, each, strict=True)))
    found_share, missed = share_of_joints_in_masks(rows, args.folder, table)
    print(f"as masks: {missed} not found; PCK@{NEAR} {found_share:.3f}")


def share_of_joints_in_masks(
    rows: list[dict], folder: Path, table: np.ndarray
) -> tuple[float, int]:
    """Of the joints of people who are seen as masks, those found; and how many people are not."""
    near, missed = [], 0
    for row in rows:
        labels = table[np.asarray(Image.open(folder / row["label_file_name"]))]
        joints = np.array(row["keypoints"])
        try:
            found = read_joints_of_mask(labels)
        except NotFoundInPhotoError:
            missed += 1
            continue
        near += joints_near(found, joints, labels)
    return float(np.mean(near)), missed


def joints_near(found: np.ndarray, joints: np.ndarray, labels: np.ndarray) -> list[bool]:
    """Whether each joint that is known was found, see `NEAR`."""
    known = joints[:, 2] > SURE
    height = np.ptp(np.flatnonzero((labels > 0).any(1)))
    away = np.hypot(*(found[known, :2] - joints[known, :2]).T)
    return (away < NEAR * height).tolist()


def pasted(
    photo: np.ndarray,
    labels: np.ndarray,
    joints: np.ndarray,
    ground: Image.Image,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A person at a random place of a photo that is as high and twice as wide as theirs."""
    height, width = labels.shape
    wide = np.asarray(ground.resize((2 * width, height), Image.Resampling.BICUBIC)).copy()
    left = int(rng.integers(width + 1))
    share = cv2.GaussianBlur((labels > 0).astype(np.float32), (3, 3), 0.6)[..., None]
    piece = wide[:, left : left + width]
    wide[:, left : left + width] = (photo * share + piece * (1 - share)).round()
    there = np.zeros((height, 2 * width), labels.dtype)
    there[:, left : left + width] = labels
    return wide, there, joints + (left, 0, 0)


if __name__ == "__main__":
    main()
