"""One row of a data set -> a named photo with its condition; broken pictures are counted."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import get_worker_info

from ..conditions import Condition, MaskCondition, Source
from ..conditions.meaning import ClassCode, index_map
from ..notes import Note
from ..orientation import TURNED, turned_by
from ..pairing import Framed, lying_on
from ..pictures import frame_of, open_photo, open_stored, to_numbers
from .asked import SOURCE_DOMAIN
from .settings import DataSettings

logger = logging.getLogger(__name__)

MAX_WORKERS = 256
"""Loader workers per process that a `BrokenCount` tells apart."""


class BrokenExample(ValueError):
    """A picture, pose or label map that cannot be used; the message names the example."""


class TooManyBroken(RuntimeError):
    """More broken examples than the settings allow."""


@dataclasses.dataclass(frozen=True)
class Example:
    """One photo with what belongs to it, all as read.

    condition: its source; None where it is made from the photo. labels: an index map, if asked for.
    instances: a plane of their numbers, if asked for. source_domain: number of that which the
    condition's picture is of, where rows say it.
    """

    name: str
    image: Image.Image
    condition: Source | None
    labels: Image.Image | None = None
    instances: Image.Image | None = None
    source_domain: int | None = None


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
        """Log and count a broken example; raise TooManyBroken where they are too many."""
        logger.warning("Skipped a broken example: %s", error)
        self._counts[self._row(), 1] += 1
        if self.broken > self.max_share * max(self.read, self.reference):
            raise TooManyBroken(
                f"{self.broken} of {self.read} examples could not be used, more than "
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
        if groups and not (condition.labelled or settings.labels_column is not None):
            raise ValueError(
                "'label_groups' groups the values of label maps, of which there are none: set "
                "labels_column and label_classes, or leave it out."
            )
        if groups and condition.labelled:
            condition.accept_label_groups(groups)
        self._class_of_value = {
            value: label for label, group in enumerate(groups) for value in group
        }
        self._said: set[str] = set()
        for column in (settings.person_column, settings.exemplar_person_column):
            if column is not None and condition.of_several(None, 0) is None:
                raise ValueError(
                    f"The column '{column}' says which person of the keypoints is meant, but a "
                    f"'{condition.type}' condition is made from none: leave it out."
                )

    def read(self, row: Mapping[str, Any], position: int) -> Example:
        """The row's photo, condition and labels. Raises BrokenExample naming it."""
        columns = self.settings
        example = self._read(
            self.name(row, position),
            row[columns.image_column],
            _value(row, columns.condition_column),
            _value(row, columns.labels_column),
            _value(row, columns.person_column),
            needs_condition=columns.condition_column is not None,
        )
        if SOURCE_DOMAIN in row:
            example = dataclasses.replace(example, source_domain=row[SOURCE_DOMAIN])
        if columns.instances_column is None:
            return example
        numbers = _instance_map(row[columns.instances_column], example.image, example.name)
        return dataclasses.replace(example, instances=numbers)

    def read_exemplar(self, row: Mapping[str, Any], position: int) -> Example | None:
        """The row's own exemplar; None where the column is null. Raises BrokenExample."""
        columns = self.settings
        photo = _value(row, columns.exemplar_column)
        if photo is None:
            return None
        return self._read(
            f"exemplar of {self.name(row, position)}",
            photo,
            _value(row, columns.exemplar_condition_column),
            _value(row, columns.exemplar_labels_column),
            _value(row, columns.exemplar_person_column),
            needs_condition=columns.exemplar_condition_column is not None,
        )

    @functools.cached_property
    def _code(self) -> ClassCode:
        """The numbers of label maps that are no condition, or that are grouped."""
        classes = range(self.settings.label_classes or self.condition.channels)
        return ClassCode(classes, np.empty((0, 3), np.uint8), self._class_of_value)

    @functools.cached_property
    def layout(self) -> Condition:
        """The condition by which exemplars are retrieved: masks of the labels, where there are."""
        classes = self.settings.label_classes
        if classes is None or self.condition.labelled:
            return self.condition
        return MaskCondition(classes=tuple(map(str, range(classes))))

    def read_layout(self, row: Mapping[str, Any], position: int) -> Any:
        """Only what the exemplar index compares: a mask, label map or pose, else the photo."""
        if self.layout.labelled:
            columns = self.settings
            column = columns.condition_column
            if not self.condition.labelled:
                column = columns.labels_column
            name = self.name(row, position)
            try:
                photo = frame_of(row[columns.image_column], f"photo of {name}")
            except ValueError as error:
                raise BrokenExample(str(error)) from error
            value = _value(row, column)
            if self.condition.labelled:
                return self._condition(value, None, photo, name)
            return self._label_map(value, photo, f"mask of {name}")
        return self.layout_of(self.read(row, position))

    def layout_of(self, example: Example) -> Any:
        """What `read_layout` gives, of an example that has been read."""
        if self.layout is not self.condition:
            return example.labels
        return self.condition.compared(example.condition, example.image)

    def name(self, row: Mapping[str, Any], position: int) -> str:
        """The row's id, else its file name or key, else its number."""
        if row.get(self.settings.id_column) is not None:
            return str(row[self.settings.id_column])
        return file_name(row[self.settings.image_column]) or row.get("__key__") or f"row {position}"

    def _read(
        self,
        name: str,
        photo: Any,
        condition: Any,
        labels: Any,
        person: Any,
        needs_condition: bool,
    ) -> Example:
        what = f"photo of {name}"
        try:
            image = open_photo(open_stored(photo, what), what)
        except ValueError as error:
            raise BrokenExample(str(error)) from error
        source = None
        if needs_condition:
            source = self._condition(condition, person, image, name)
        return Example(name, image, source, self._labels(labels, image, name))

    def _condition(self, value: Any, person: Any, photo: Any, name: str) -> Source:
        """The source in the condition column. Raises BrokenExample."""
        if value is None:
            raise BrokenExample(f"'{name}' has no condition.")
        if self._class_of_value and self.condition.labelled:
            value = self._label_map(value, photo, f"condition of {name}")
        if person is not None:
            value = self.condition.of_several(value, person)
        try:
            source = self.condition.from_row(value, photo, name)
        except (ValueError, OSError) as error:
            raise BrokenExample(str(error)) from error
        self._say(source.notes, name)
        return source

    def _say(self, notes: Iterable[Note], name: str) -> None:
        """Log the first note of each kind: what holds for one row holds for many."""
        for note in notes:
            if note.kind not in self._said:
                self._said.add(note.kind)
                logger.warning("'%s': %s (Said once; other rows are read alike.)", name, note.text)

    def _labels(self, value: Any, photo: Image.Image, name: str) -> Image.Image | None:
        if self.settings.labels_column is None:
            return None
        return self._label_map(value, photo, f"label map of {name}")

    def _label_map(self, value: Any, photo: Framed, what: str) -> Image.Image:
        """A picture that lies on its photo, its values brought to classes.

        photo: of which only size and turning count. Raises BrokenExample.
        """
        try:
            picture, notes = lying_on(open_stored(value, what), photo, what)
        except ValueError as error:
            raise BrokenExample(str(error)) from error
        picture, more = index_map(picture, self._code)
        self._say((*notes, *more), what)
        if not self._class_of_value:
            return picture
        pixels = np.array(picture)
        values, position = np.unique(pixels, return_inverse=True)
        strange = sorted(set(values.tolist()) - self._class_of_value.keys())
        if pixels.ndim != 2 or strange:
            raise BrokenExample(
                f"The {what} must be one channel of the values in label_groups, got "
                f"{pixels.shape} with {strange[:5]} outside of them; add these to a group."
            )
        classes = np.array([self._class_of_value[number] for number in values.tolist()], np.int32)
        grouped = Image.fromarray(classes[position.reshape(pixels.shape)])
        grouped.info[TURNED] = turned_by(photo)  # it lies on the photo as it is
        return grouped


def _instance_map(value: Any, photo: Image.Image, name: str) -> Image.Image:
    """The numbers of instances as one plane that lies on the photo. Raises BrokenExample."""
    what = f"instance map of {name}"
    if value is None:
        raise BrokenExample(
            f"'{name}' has no instance map, and 'instances_column' says that photos have one: add "
            "it, or leave the column out, and every class counts as one instance."
        )
    try:
        picture, _ = lying_on(open_stored(value, what), photo, what)
    except ValueError as error:
        raise BrokenExample(str(error)) from error
    numbers = Image.fromarray(to_numbers(picture))
    numbers.info[TURNED] = turned_by(photo)
    return numbers


def file_name(value: Any) -> str | None:
    """The path of a picture in a row, if it has one."""
    if isinstance(value, Mapping):
        return value.get("path")
    return os.fspath(value) if isinstance(value, (str, os.PathLike)) else None


def _value(row: Mapping[str, Any], column: str | None) -> Any:
    return None if column is None else row[column]
