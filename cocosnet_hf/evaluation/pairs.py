"""The test items, each with the exemplar that the protocol gives it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from ..conditions import Condition, Pose
from ..datasets import BrokenExample, DataSettings, Example, Geometry, Reader, Rows, open_source
from ..datasets.composing import cut
from ..datasets.settings import ExemplarSettings, shares_rows
from ..datasets.training import build_index, read_exemplar_list, row_names
from ..pictures import to_pixels
from ..retrieval import ExemplarIndex
from .storage import slug

RETRIEVAL, RANDOM, COLUMN = "retrieval", "random", "column"


@dataclass(frozen=True)
class Sample:
    """A photo and what belongs to it, cut to the size of the evaluation.

    photo (3, H, W) uint8; condition (K, H, W) float32, encoded; labels (H, W) int64, for masks and
    where the data have a labels_column; pose: for a pose condition.
    """

    name: str
    photo: Tensor
    condition: Tensor
    labels: Tensor | None
    pose: Pose | None

    @property
    def source(self) -> Tensor | Pose:
        """What a pipeline is given: the pose, whose joints may guide it, or what is encoded."""
        return self.condition if self.pose is None else self.pose


@dataclass(frozen=True)
class Pair:
    """Test item `index`: the photo that a method should come to, and its exemplar."""

    index: int
    target: Sample
    exemplar: Sample

    @property
    def file_stem(self) -> str:
        """What files of this item are called: its number and its name."""
        return f"{self.index:06d}_{slug(self.target.name.rsplit('/', 1)[-1])}"


class EvaluationPairs:
    """The items of a split, each with one exemplar; `pairs[i]` is always the same.

    settings: the data; `split` is the tested part; the photo becomes a square of `image_size`, or
    with keep_aspect the middle of it, and of that the `image_width`. What they say about exemplars
    is not used, but columns are.
    exemplars: "retrieval", the nearest photo of `train_split` (`cocosnet_hf.retrieval`); "random",
    one of them, drawn by the seed; "column", the data's own; or the path of a list file with lines
    `image, exemplar, ...` that names photos of train_split.
    limit: only the first items. pool_limit: exemplars only from the first photos of train_split.

    Raises ValueError for data, lists and columns that cannot be used, and for an item without
    exemplar; when it is read, also for an item whose files are broken.

    fingerprint: tells the split from others and from itself after a change of its files.
    """

    def __init__(
        self,
        settings: DataSettings,
        condition: Condition,
        *,
        exemplars: str = RETRIEVAL,
        train_split: str = "train",
        seed: int = 0,
        limit: int | None = None,
        pool_limit: int | None = None,
    ) -> None:
        if exemplars == COLUMN and settings.exemplar_column is None:
            raise ValueError(
                "Exemplars of a column need 'exemplar_column', the column with the exemplars."
            )
        for name, value in (("limit", limit), ("pool_limit", pool_limit)):
            if value is not None and value < 1:
                raise ValueError(f"'{name}' must be at least 1, got {value}.")
        # The pairs choose the exemplars, whatever the training did.
        chosen_here = vars(ExemplarSettings())
        self.settings = dataclasses.replace(
            settings, streaming=False, **chosen_here
        ).for_validation()
        self.condition, self.exemplars, self.train_split = condition, exemplars, train_split
        if settings.split != train_split and shares_rows(settings.split, train_split):
            raise ValueError(
                f"'{settings.split}' and '{train_split}' share photos, which would be their own "
                "exemplars; cut both, such as train[860:] and train[:860]."
            )
        self.seed, self.pool_limit = seed, pool_limit
        self.reader = Reader(self.settings, condition)
        every = open_source(self.settings, condition, seed)
        self.rows, self.fingerprint = _first(every, limit), _fingerprint(every)
        self._exemplars = self._choose(every)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Pair:
        if not 0 <= index < len(self):
            raise IndexError(f"Item {index} of {len(self)}.")
        try:
            row = self.rows[index]
            target = self.reader.read(row, index)
            if self._exemplars is not None:
                return Pair(index, self._sample(target), self._pool_sample(self._exemplars[index]))
            exemplar = self.reader.read_exemplar(row, index)
        except BrokenExample as error:
            raise ValueError(f"An evaluation needs every item: {error}") from error
        if exemplar is None:
            raise ValueError(
                f"'{target.name}' has no exemplar in '{self.settings.exemplar_column}'; leave it "
                "out of the split, or choose exemplars by retrieval."
            )
        return Pair(index, self._sample(target), self._sample(exemplar))

    def nearest(self, index: int) -> Sample:
        """The photo of train_split whose layout is nearest to the item's."""
        return self._pool_sample(self._nearest[index])

    @property
    def retrieved_by(self) -> str:
        """What retrieval compares: the type of condition, masks where there are labels."""
        return self.reader.layout.type

    @property
    def pool_fingerprint(self) -> str:
        """Tells the photos that exemplars are taken from from others, and from changed ones."""
        return _fingerprint(self.pool)

    @cached_property
    def pool(self) -> Rows:
        """The photos that exemplars are taken from."""
        settings = dataclasses.replace(self.settings, split=self.train_split)
        return _first(open_source(settings, self.condition, self.seed), self.pool_limit)

    @cached_property
    def _nearest(self) -> np.ndarray:
        """Index in the pool of the nearest photo to each item, never the item itself."""
        queries = self._index(self.rows)
        indices, _ = self._index(self.pool).search(queries.descriptors, 2)
        own = np.arange(len(indices)) if self._pool_holds_items else np.full(len(indices), -1)
        first = np.where(indices[:, 0] == own, indices[:, -1], indices[:, 0])
        if not queries.usable.all() or (first < 0).any() or (first == own).any():
            raise ValueError(
                f"Some items have no nearest photo in '{self.train_split}': they are broken, or it "
                "holds no other photo."
            )
        return first

    @property
    def _pool_holds_items(self) -> bool:
        return self.train_split == self.settings.split

    def _choose(self, every: Rows) -> np.ndarray | None:
        """Index in the pool of each item's exemplar; None where the row has its own."""
        if self.exemplars == COLUMN:
            return None
        if self.exemplars == RETRIEVAL:
            return self._nearest
        if self.exemplars == RANDOM:
            return self._draw()
        names = [row_names(rows, self.settings) for rows in (every, self.pool)]
        indices, _ = read_exemplar_list(self.exemplars, *names)
        indices = indices[: len(self), 0]
        if (indices < 0).any():
            missing = self.reader.name(self.rows[int(np.argmin(indices))], int(np.argmin(indices)))
            raise ValueError(
                f"'{self.exemplars}' names no exemplar for {(indices < 0).sum()} of {len(self)} "
                f"items, such as '{missing}'; add a line `{missing}, exemplar` for each."
            )
        return indices

    def _draw(self) -> np.ndarray:
        """One index for each item, the same whatever the other items are."""
        choices = len(self.pool) - self._pool_holds_items
        if choices < 1:
            raise ValueError(f"'{self.train_split}' holds no other photo to draw exemplars from.")
        indices = np.array(
            [np.random.default_rng([self.seed, i]).integers(choices) for i in range(len(self))]
        )
        if self._pool_holds_items:
            indices += indices >= np.arange(len(self))
        return indices

    def _index(self, rows: Rows) -> ExemplarIndex:
        return build_index(rows, self.reader, self.settings)

    def _pool_sample(self, index: int) -> Sample:
        row: Any = self.pool[int(index)]
        try:
            return self._sample(self.reader.read(row, int(index)))
        except BrokenExample as error:
            raise ValueError(f"An exemplar cannot be read: {error}") from error

    def _sample(self, example: Example) -> Sample:
        # Without augmentation nothing is drawn.
        geometry = Geometry.draw(example.image.size, self.settings, np.random.default_rng(0))
        made = cut(example, geometry, self.condition, self.settings)
        return Sample(
            example.name,
            to_pixels(made.photo),
            self.condition.unpack(made.packed),
            made.labels,
            made.source.value if self.condition.has_joints else None,
        )


def _fingerprint(rows: Rows) -> str:
    """Of a data set, by its files' times; drawn pictures are told by their settings."""
    return getattr(rows, "_fingerprint", None) or repr(rows)


def _first(rows: Rows, count: int | None) -> Rows:
    if count is None or count >= len(rows):
        return rows
    if hasattr(rows, "select"):
        return rows.select(range(count))
    drawn: Any = rows
    return dataclasses.replace(drawn, length=count)
