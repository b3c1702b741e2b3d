"""The map-style training set, and batches of it that any step can be resumed from."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Sampler
from tqdm.auto import tqdm

from ..conditions import Condition
from ..retrieval import ExemplarIndex, cache_key
from .asked import DomainRows
from .composing import TrainingExample, compose
from .reading import BrokenCount, BrokenExample, Example, Reader, TooManyBroken, file_name
from .settings import DataSettings
from .sources import Rows, iterate

logger = logging.getLogger(__name__)

Key = tuple[int, int]
"""(epoch, index) of an example."""


class TrainingExamples(Dataset[TrainingExample]):
    """Training examples of a data set that is read in any order.

    Example i of epoch e under a seed is a pure function of (seed, e, i): `examples[e, i]` is the
    same in every worker, process and resumed run, and `examples[i]` is that of epoch 0. A broken
    example, also one with labels of no class, is replaced by the next one that can be used.

    rows: from `open_source`. pool: the rows exemplars are taken from, if not `rows` themselves (the
    training rows, for validation); with retrieve or exemplar_list only. Raises ValueError for
    unusable lists and columns.
    """

    def __init__(
        self,
        rows: Rows,
        condition: Condition,
        settings: DataSettings,
        seed: int = 0,
        pool: Rows | None = None,
    ) -> None:
        if len(rows) == 0:
            raise ValueError(
                f"The split '{settings.split}' of '{settings.source}' is empty; check the folder, "
                "or name another split."
            )
        self.rows = rows
        self.pool = rows if pool is None else pool
        self.condition = condition
        self.settings = settings
        self.seed = seed
        self.reader = Reader(settings, condition)
        self.broken = BrokenCount(settings.max_broken_share, len(rows))
        self._easy, self._hard = self._choices()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | Key) -> TrainingExample:
        """Example (epoch, index); an int means epoch 0. Raises IndexError, RuntimeError where too
        many examples are broken."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if not 0 <= index < len(self):
            raise IndexError(f"Example {index} of {len(self)}.")
        rng = np.random.default_rng([self.seed, epoch, index])
        for step in range(len(self)):
            position = (index + step) % len(self)
            self.broken.count()
            try:
                row = self._row(position, rng)
                target = self.reader.read(row, position)
                exemplar = self._real_exemplar(row, position, rng.random(), rng)
                return compose(target, exemplar, self.condition, self.settings, rng)
            except BrokenExample as error:
                self.broken.report(error)
        raise TooManyBroken(f"None of the {len(self)} examples can be used.")

    def _row(self, position: int, rng: np.random.Generator) -> Any:
        if isinstance(self.rows, DomainRows):  # of which a part is drawn
            return self.rows.drawn(position, rng)
        return self.rows[position]

    def _real_exemplar(
        self, row: Any, position: int, draw: float, rng: np.random.Generator
    ) -> Example | None:
        """The exemplar that the uniform `draw` stands for (official networks, 9).

        None is the photo itself. A broken exemplar is replaced by the photo itself.
        """
        settings = self.settings
        if draw >= settings.real_probability:
            return None
        try:
            if settings.exemplar_column is not None:
                self.broken.count()
                return self.reader.read_exemplar(row, position)
            choices = self._hard if draw < settings.hard_probability else self._easy
            choices = choices[position]
            choices = choices[choices >= 0]
            if len(choices) == 0:
                return None
            chosen = int(rng.choice(choices))
            if self.pool is self.rows and chosen == position:
                return None
            self.broken.count()
            return self.reader.read(self.pool[chosen], chosen)
        except BrokenExample as error:
            self.broken.report(error)
            return None

    def _choices(self) -> tuple[np.ndarray, np.ndarray]:
        """Places in the pool for the easy (N, e) and the hard (N, 1) exemplar; -1 for none."""
        settings, nothing = self.settings, np.full((len(self.rows), 1), -1)
        if settings.exemplar_list is not None:
            return read_exemplar_list(
                settings.exemplar_list_path,
                row_names(self.rows, settings),
                row_names(self.pool, settings),
            )
        if not settings.retrieve:
            return nothing, nothing
        index = build_index(self.pool, self.reader, settings)
        if self.pool is self.rows:
            indices = index.neighbours(max(settings.easy_candidates, settings.hard_rank))
        else:
            queries = build_index(self.rows, self.reader, settings)
            count = max(settings.easy_candidates, settings.hard_rank)
            indices, _ = index.search(queries.descriptors, count)
            indices[~queries.usable] = -1
        # In a small set the last one there is takes the place of the rank that is not.
        there = (indices >= 0).sum(1)
        last = np.minimum(settings.hard_rank, np.maximum(there, 1)) - 1
        return indices[:, : settings.easy_candidates], indices[np.arange(len(indices)), last][
            :, None
        ]


class EndlessBatches(Sampler[list[Key]]):
    """Batches of (epoch, index) without an end, for `DataLoader(batch_sampler=...)`.

    Every epoch is a new permutation from (seed, epoch); epochs follow each other without a gap.
    Batch t of all processes together is a fixed part of this one sequence, so a run resumes exactly
    with first_batch = batches already used, and W processes of batch B see what one of W * B sees.

    length: examples per epoch. batch_size: per process. Raises ValueError for numbers below 1 and a
    rank outside the world.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        first_batch: int = 0,
    ) -> None:
        if length < 1 or batch_size < 1 or first_batch < 0 or not 0 <= rank < world_size:
            raise ValueError(
                "Batches need length >= 1, batch_size >= 1, first_batch >= 0 and 0 <= rank < "
                f"world_size, got {length}, {batch_size}, {first_batch}, {rank} of {world_size}."
            )
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.first_batch = first_batch

    def __iter__(self) -> Iterator[list[Key]]:
        batch = self.first_batch
        epoch, order = -1, np.empty(0, np.int64)
        while True:
            start = (batch * self.world_size + self.rank) * self.batch_size
            keys = []
            for number in range(start, start + self.batch_size):
                if number // self.length != epoch:
                    epoch = number // self.length
                    order = self._order(epoch)
                keys.append((epoch, int(order[number % self.length])))
            yield keys
            batch += 1

    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(self.length)


def build_index(rows: Rows, reader: Reader, settings: DataSettings) -> ExemplarIndex:
    """The exemplar index of a data set; from the disk where it was built for the same data before.

    Stored beside the data's cache. A broken picture keeps its place and is never found.
    """

    def sources() -> Iterator[Any]:
        # Shown on a terminal only.
        shown = tqdm(iterate(rows), "exemplar index", len(rows), unit="photo", disable=None)
        for position, row in enumerate(shown):
            try:
                yield reader.read_layout(row, position)
            except BrokenExample as error:
                logger.warning("Not in the exemplar index: %s", error)
                yield None

    def build() -> ExemplarIndex:
        return ExemplarIndex.build(sources(), reader.layout, names())

    def names() -> list[str]:
        return [reader.name(row, position) for position, row in enumerate(iterate(rows))]

    fingerprint = getattr(rows, "_fingerprint", None)
    if fingerprint is None:
        return build()
    columns = f"{settings.image_column} {settings.condition_column} {settings.labels_column}"
    groups = settings.label_groups or ""
    person = f" {settings.person_column}" if settings.person_column else ""
    key = cache_key(f"{fingerprint} {columns}{groups}{person}", reader.layout)
    return ExemplarIndex.cached(key, build, reader.layout.descriptor, settings.cache_dir)


def row_names(rows: Rows, settings: DataSettings) -> list[set[str]]:
    """Per row everything a list may call it: its id, and every tail of its path."""
    image, identity = settings.image_column, settings.id_column
    if hasattr(rows, "select_columns"):  # what is not needed is not even read
        rows = rows.select_columns(
            [name for name in (image, identity) if name in rows.column_names]
        )
    return [
        name_tails(file_name(row[image]))
        | ({str(row[identity])} if row.get(identity) is not None else set())
        for row in iterate(rows)
    ]


def name_tails(path: str | None) -> set[str]:
    """Every tail of a path, with and without its suffix: a/b.jpg -> a/b.jpg, b.jpg, a/b, b."""
    parts = [] if path is None else path.replace("\\", "/").split("/")
    tails = {"/".join(parts[start:]) for start in range(len(parts))}
    return tails | {tail[: tail.rindex(".")] for tail in tails if "." in tail.split("/")[-1]}


def read_exemplar_list(
    path: str | Path, names: list[set[str]], pool: list[set[str]]
) -> tuple[np.ndarray, np.ndarray]:
    """Places of the first (easy) and last (hard) reference of each image, (N, 1) each, -1: none.

    The file has lines `image, ref1, ref2, ...` (official networks, 9). names, pool: what the images
    and references may be called; a name that stands for several is an error, as is an unknown one.
    """
    if not Path(path).is_file():
        raise ValueError(f"There is no exemplar list '{path}'.")
    images, references = _indices(names), _indices(pool)
    easy = np.full((len(names), 1), -1)
    hard = np.full((len(names), 1), -1)

    def index_of(indices: dict[str, int], name: str, line: int) -> int:
        found = indices.get(name.lstrip("./"))
        if found is None or found < 0:
            why = "is the name of several examples" if found else "names no example"
            raise ValueError(
                f"Line {line} of '{path}': '{name}' {why} of the data set. A list names files by "
                "the end of their path, or examples by their id."
            )
        return found

    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"The exemplar list '{path}' is no text in UTF-8: {error}.") from error
    for number, line in enumerate(text.splitlines(), start=1):
        entries = [entry.strip() for entry in line.split(",") if entry.strip()]
        if not entries:
            continue
        if len(entries) < 2:
            raise ValueError(f"Line {number} of '{path}' must be `image, ref1, ...`, got {line!r}.")
        image = index_of(images, entries[0], number)
        easy[image] = index_of(references, entries[1], number)
        hard[image] = index_of(references, entries[-1], number)
    return easy, hard


def _indices(names: list[set[str]]) -> dict[str, int]:
    """Name -> position, -1 where several rows have it."""
    indices: dict[str, int] = {}
    for position, tails in enumerate(names):
        for tail in tails:
            indices[tail] = -1 if tail in indices else position
    return indices
