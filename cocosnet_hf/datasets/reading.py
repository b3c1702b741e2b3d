"""One row of a data set -> a named photo with its condition; broken pictures are counted."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch.utils.data import get_worker_info

from ..conditions import (
    Condition,
    MaskCondition,
    PartEdgeCondition,
    Pose,
    PoseCondition,
    open_image,
    open_photo,
)
from ..conditions.edge import read_drawing
from ..conditions.pose import read_pose
from .settings import DataSettings
from .sources import import_datasets

logger = logging.getLogger(__name__)

MAX_WORKERS = 256
"""Loader workers per process that a `BrokenCount` tells apart."""


class BrokenExample(Exception):
    """A picture or pose that cannot be read; the message names the example."""


@dataclasses.dataclass(frozen=True)
class Example:
    """One photo with what belongs to it, all as read.

    condition: a source that the condition's `encode` accepts. labels: an index map, if asked for.
    """

    name: str
    image: Image.Image
    condition: Any
    labels: Image.Image | None = None


class BrokenCount:
    """Examples read and broken, counted over all loader workers of this process.

    max_share: the largest share of broken ones before `report` raises. A share needs a number to
    refer to: of fewer than 200 reads as many may be broken as of 200, or of all `length` examples.
    """

    def __init__(self, max_share: float, length: int | None = None) -> None:
        self.max_share = max_share
        self.reference = 200 if length is None else min(200, length)
        self._counts = torch.zeros(MAX_WORKERS + 1, 2, dtype=torch.long).share_memory_()

    @property
    def read(self) -> int:
        """Examples tried so far."""
        return int(self._counts[:, 0].sum())

    @property
    def broken(self) -> int:
        """Examples that could not be read so far."""
        return int(self._counts[:, 1].sum())

    def count(self) -> None:
        """Count one example tried."""
        self._counts[self._row(), 0] += 1

    def report(self, error: BrokenExample) -> None:
        """Log and count a broken example; raise RuntimeError where there are too many."""
        logger.warning("Skipped a broken example: %s", error)
        self._counts[self._row(), 1] += 1
        if self.broken > self.max_share * max(self.read, self.reference):
            raise RuntimeError(
                f"{self.broken} of {self.read} examples could not be read, more than "
                f"max_broken_share={self.max_share:g} allows; the last: {error} Repair or remove "
                "the files, or raise max_broken_share."
            ) from error

    def _row(self) -> int:
        worker = get_worker_info()
        return 0 if worker is None else 1 + worker.id % MAX_WORKERS


class Reader:
    """Reads rows by their columns, see `DataSettings`, for one condition."""

    def __init__(self, settings: DataSettings, condition: Condition) -> None:
        self.settings = settings
        self.condition = condition
        groups = settings.label_groups
        has_maps = isinstance(condition, MaskCondition) or settings.labels_column is not None
        if groups and not has_maps:
            raise ValueError(
                "'label_groups' groups the values of label maps, of which there are none: set "
                "labels_column and label_classes, or leave it out."
            )
        if groups and isinstance(condition, MaskCondition) and condition.values:
            raise ValueError(
                "'label_groups' and the condition's 'values' would both map the values of the "
                "masks; use one of them."
            )
        if groups and isinstance(condition, MaskCondition) and len(groups) != condition.channels:
            raise ValueError(
                f"'label_groups' must hold one list of values for each of the {condition.channels} "
                f"classes of the condition, got {len(groups)}."
            )
        self._class_of_value = {
            value: label for label, group in enumerate(groups) for value in group
        }

    def read(self, row: Mapping[str, Any], position: int) -> Example:
        """The row's photo, condition and labels. Raises BrokenExample naming it."""
        columns = self.settings
        return self._read(
            self.name(row, position),
            row[columns.image_column],
            _value(row, columns.condition_column),
            _value(row, columns.labels_column),
            needs_condition=columns.condition_column is not None,
        )

    def read_exemplar(self, row: Mapping[str, Any], position: int) -> Example | None:
        """The row's own exemplar; None where the column is null. Raises BrokenExample."""
        columns = self.settings
        photo = row[columns.exemplar_column]
        if photo is None:
            return None
        return self._read(
            f"exemplar of {self.name(row, position)}",
            photo,
            _value(row, columns.exemplar_condition_column),
            _value(row, columns.exemplar_labels_column),
            needs_condition=columns.exemplar_condition_column is not None,
        )

    @functools.cached_property
    def layout(self) -> Condition:
        """The condition by which exemplars are retrieved: masks of the labels, where there are."""
        classes = self.settings.label_classes
        if classes is None or isinstance(self.condition, MaskCondition):
            return self.condition
        return MaskCondition(classes=tuple(map(str, range(classes))))

    def read_layout(self, row: Mapping[str, Any], position: int) -> Any:
        """Only what the exemplar index compares: a mask, label map or pose, else the photo."""
        if isinstance(self.layout, MaskCondition):
            masks = isinstance(self.condition, MaskCondition)
            column = self.settings.condition_column if masks else self.settings.labels_column
            return self._label_map(_value(row, column), f"mask of {self.name(row, position)}")
        return self.layout_of(self.read(row, position))

    def layout_of(self, example: Example) -> Any:
        """What `read_layout` gives, of an example that has been read."""
        if isinstance(self.condition, MaskCondition):
            return example.condition
        if isinstance(self.layout, MaskCondition):
            return example.labels
        return example.condition if isinstance(example.condition, Pose) else example.image

    def name(self, row: Mapping[str, Any], position: int) -> str:
        """The row's id, else its file name or key, else its number."""
        if row.get(self.settings.id_column) is not None:
            return str(row[self.settings.id_column])
        return file_name(row[self.settings.image_column]) or row.get("__key__") or f"row {position}"

    def _read(
        self, name: str, photo: Any, condition: Any, labels: Any, needs_condition: bool
    ) -> Example:
        what = f"photo of {name}"
        try:
            image = open_photo(_picture(photo, what), what)
        except ValueError as error:
            raise BrokenExample(str(error)) from error
        if not needs_condition:
            return Example(name, image, image, self._labels(labels, name))
        if condition is None:
            raise BrokenExample(f"'{name}' has no condition.")
        if isinstance(self.condition, PoseCondition):
            source: Any = self._pose(condition, image, name)
        elif isinstance(self.condition, MaskCondition):
            source = self._label_map(condition, f"condition of {name}")
            source = self.condition.in_its_colors(source)  # a cut may lack what tells it
        else:
            source = _picture(condition, f"condition of {name}")
            if isinstance(self.condition, PartEdgeCondition):
                source = {"photo": image, "parts": source}
            else:  # read here: a random cut may have no line, or more ink than paper
                source = {"edges": _drawn_lines(source, name)}
        return Example(name, image, source, self._labels(labels, name))

    def _labels(self, value: Any, name: str) -> Image.Image | None:
        if self.settings.labels_column is None:
            return None
        return self._label_map(value, f"label map of {name}")

    def _label_map(self, value: Any, what: str) -> Image.Image:
        """A picture of the row, its values brought to classes. Raises BrokenExample, ValueError."""
        picture = _picture(value, what)
        if not self._class_of_value:
            return picture
        pixels = np.array(picture)
        values, position = np.unique(pixels, return_inverse=True)
        strange = sorted(set(values.tolist()) - self._class_of_value.keys())
        if pixels.ndim != 2 or strange:
            raise ValueError(
                f"The {what} must be one channel of the values in label_groups, got "
                f"{pixels.shape} with {strange[:5]} outside of them; add these to a group."
            )
        classes = np.array([self._class_of_value[number] for number in values.tolist()], np.int32)
        return Image.fromarray(classes[position.reshape(pixels.shape)])

    def _pose(self, value: Any, image: Image.Image, name: str) -> Pose:
        """Keypoints as rows of numbers, OpenPose JSON (text, path, dict) or a `Pose`."""
        size = (image.height, image.width)
        try:
            if isinstance(value, (str, bytes)) and not os.path.exists(value):
                value = json.loads(value)
            if isinstance(value, Mapping) and "people" in value:
                value = {"openpose": value, "size": size}
            elif isinstance(value, Mapping):
                value = {key: item for key, item in value.items() if key in ("keypoints", "size")}
                value.setdefault("size", size)
            elif isinstance(value, (list, tuple, np.ndarray)):
                value = {"keypoints": value, "size": size}
            pose = read_pose(value)
        except ValueError as error:
            raise BrokenExample(f"The pose of '{name}' cannot be read: {error}") from error
        if not (pose.joints[:, 2] > self.condition.min_score).any():
            raise BrokenExample(
                f"No joint of '{name}' has a score above min_score={self.condition.min_score}."
            )
        return pose


def file_name(value: Any) -> str | None:
    """The path of a picture in a row, if it has one."""
    if isinstance(value, Mapping):
        return value.get("path")
    return os.fspath(value) if isinstance(value, (str, os.PathLike)) else None


def _value(row: Mapping[str, Any], column: str | None) -> Any:
    return None if column is None else row[column]


def _drawn_lines(drawing: Image.Image, name: str) -> np.ndarray:
    """The strokes of a row's drawing, (H, W) bool. Raises BrokenExample."""
    try:
        return read_drawing(drawing)
    except ValueError as error:
        raise BrokenExample(f"The condition of {name} cannot be used: {error}") from error


def _picture(value: Any, what: str) -> Image.Image:
    """A picture of a row in its own mode, upright. Raises BrokenExample."""
    if value is None:
        raise BrokenExample(f"There is no {what}.")
    try:
        if isinstance(value, Mapping):
            value = _stored_picture(value)
        return open_image(value, what)
    except (ValueError, OSError, UnidentifiedImageError, SyntaxError) as error:
        message = str(error)
        if what not in message:
            message = f"The {what} cannot be read: {message}."
        raise BrokenExample(message) from error


def _stored_picture(value: Mapping[str, Any]) -> Any:
    """What `datasets` stores for a picture: {"bytes": ..., "path": ...}, either may be None."""
    if value.get("bytes") is not None:
        return Image.open(io.BytesIO(value["bytes"]))
    if os.path.exists(value["path"]) or "://" not in value["path"]:
        return value["path"]
    return import_datasets().Image().decode_example(dict(value))
