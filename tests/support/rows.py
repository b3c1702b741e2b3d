"""Rows of data sets in memory, and what comes of them."""

import itertools
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cocosnet_hf.conditions import MaskCondition
from cocosnet_hf.conditions.joints import JOINTS
from cocosnet_hf.datasets import DataSettings, TrainingExamples, TrainingStream
from cocosnet_hf.synthetic import SCENE_CLASSES

SCENE = MaskCondition.from_names(SCENE_CLASSES)
COUNT = 12


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def take(stream: TrainingStream, count: int) -> list[dict[str, Tensor]]:
    return list(itertools.islice(iter(stream), count))


def exemplars_of(data: TrainingExamples, photos: TrainingExamples | None = None) -> list[int]:
    """Which of the photos (its own, if not given) each example has as exemplar, itself included.

    Needs data without augmentation.
    """
    photos = photos or data
    pool = [photos[index]["image"] for index in range(len(photos))]
    found = [data[index]["exemplar"] for index in range(len(data))]
    return [next(i for i, photo in enumerate(pool) if torch.equal(photo, seen)) for seen in found]


def always(settings: DataSettings, kind: str) -> DataSettings:
    """With the easy or the hard exemplar each time, and without augmentation."""
    hard = float(kind == "hard")
    return replace(settings, augment=False, real_probability=1.0, hard_probability=hard)


class ListRows(list):
    """Rows in memory, as a data set with these columns."""

    @property
    def column_names(self) -> list[str]:
        return list(self[0]) if self else []


def mask_rows(count: int = 6, side: int = 40) -> ListRows:
    """Photos that show their mask: class k is grey 20 k."""
    rows = ListRows()
    for number in range(count):
        labels = np.kron(
            np.random.default_rng(number).integers(0, 12, (5, 5)), np.ones((8, 8))
        ).astype(np.uint8)
        photo = Image.fromarray(labels * 20).convert("RGB")
        rows.append({"image": photo, "condition": Image.fromarray(labels), "id": f"row{number}"})
    assert side == labels.shape[0]
    return rows


MEMORY = DataSettings(condition_column="condition", image_size=32, load_size=40)


def coordinates(width: int = 160, height: int = 160) -> Image.Image:
    """A photo that is red by x and green by y, as shares of its sides."""
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    return Image.fromarray(np.rint(np.stack([x, y, 0 * x], -1) * 255).astype(np.uint8))


def coordinate_rows(**size: int) -> ListRows:
    photo = coordinates(**size)
    return ListRows([{"image": photo, "condition": Image.new("L", photo.size), "id": "one"}])


def joints_at(**points: tuple[float, float]) -> np.ndarray:
    joints = np.full((18, 3), np.nan)
    for name, (x, y) in points.items():
        joints[JOINTS.index(name)] = (x, y, 1)
    return joints
