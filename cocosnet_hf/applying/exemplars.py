"""Which exemplar each row gets: its own of a column, or the nearest of a collection."""

from __future__ import annotations

import dataclasses
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..datasets import BrokenExample, DataSettings, Example, Reader, open_source
from ..descriptor_store import DescriptorStore
from ..image_translation import ImageTranslationPipeline
from ..pipeline import CoCosPipeline
from ..prepared import PreparedExemplar
from ..retrieval import cache_key, normalized

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """An exemplar of a row: an index in the collection and a score, or the row's own example."""

    index: int | None = None
    score: float | None = None
    own: Example | None = None


class ColumnExemplars:
    """Each row's own, of its exemplar_column."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def query(self, row: Mapping[str, Any], position: int, example: Example) -> Chosen:
        """Read it. Raises BrokenExample where it cannot be, or where there is none."""
        found = self.reader.read_exemplar(row, position)
        if found is None:
            column = self.reader.settings.exemplar_column
            raise BrokenExample(f"'{example.name}' has no exemplar in the column '{column}'.")
        return Chosen(own=found)

    def choose(self, queries: Sequence[Any], positions: Sequence[int]) -> list[Chosen]:
        """The exemplars of rows that have been read, see `query`."""
        del positions
        return list(queries)


class RetrievedExemplars:
    """The nearest photo of a collection by its layout, whose descriptors lie in a folder.

    settings: of the collection. exclude_own: the collection is the very set that is painted, and no
    row is its own exemplar.
    """

    def __init__(
        self, settings: DataSettings, reader: Reader, folder: Path, exclude_own: bool
    ) -> None:
        self.rows: Any = open_source(settings, reader.condition)
        self.reader = Reader(settings, reader.condition)
        self.exclude_own = exclude_own
        key = cache_key(self.fingerprint, self.reader.layout)
        self.store = DescriptorStore(folder / f"exemplars-{key}", len(self.rows))
        self._queries = reader

    @property
    def fingerprint(self) -> str:
        """Tells the collection from others, and from itself after a change of its files."""
        return getattr(self.rows, "_fingerprint", None) or repr(self.rows)

    def describe(self, number: int) -> None:
        """Make part `number` of the descriptors, unless it is there."""
        if not self.store.has(number):
            indices = self.store.rows(number)
            self.store.write(number, [self._descriptor_of(index) for index in indices])

    def _descriptor_of(self, index: int) -> np.ndarray | None:
        try:
            return self._descriptor(self.reader, self.reader.read_layout(self.rows[index], index))
        except (BrokenExample, ValueError, OSError) as error:
            logger.warning("Not among the exemplars: %s", error)
            return None

    @staticmethod
    def _descriptor(reader: Reader, layout: Any) -> np.ndarray:
        return normalized(reader.layout.descriptor(layout))

    def query(self, row: Mapping[str, Any], position: int, example: Example) -> np.ndarray:
        """The descriptor that it is found by, (D,)."""
        del row, position
        return self._descriptor(self._queries, self._queries.layout_of(example))

    def choose(self, queries: Sequence[Any], positions: Sequence[int]) -> list[Chosen]:
        """The nearest of the collection to each descriptor. Raises ValueError if there is none."""
        indices, scores = self.store.search(np.stack(queries), 2 if self.exclude_own else 1)
        if self.exclude_own:
            own = indices[:, 0] == np.asarray(positions)
            indices[own, 0], scores[own, 0] = indices[own, 1], scores[own, 1]
        if (indices[:, 0] < 0).any():
            raise ValueError(
                "There is no exemplar to choose: the collection holds no other photo that can be "
                "read."
            )
        return [Chosen(int(p), float(s)) for p, s in zip(indices[:, 0], scores[:, 0], strict=True)]

    def read(self, index: int) -> Example:
        """The exemplar of this index. Raises BrokenExample."""
        return self.reader.read(self.rows[index], index)


Exemplars = ColumnExemplars | RetrievedExemplars


@dataclasses.dataclass(frozen=True)
class Ready:
    """An exemplar to paint from: its name; prepared, or for pipelines that prepare none, read."""

    name: str
    prepared: PreparedExemplar | None
    example: Example


class Preparation:
    """Makes exemplars ready once, and keeps the last `kept` of a collection.

    scale: how many times larger than learned the pictures are, which the exemplars shall serve.
    """

    def __init__(
        self, pipe: ImageTranslationPipeline, exemplars: Exemplars, kept: int, scale: float
    ) -> None:
        self.pipe, self.exemplars, self.kept, self.scale = pipe, exemplars, kept, scale
        self._kept: OrderedDict[int, Ready] = OrderedDict()

    def ready(self, chosen: Chosen) -> Ready:
        """Raises BrokenExample or ValueError for an exemplar that cannot be used."""
        if chosen.own is not None:
            return self._make(chosen.own, 0)
        if chosen.index is None or not isinstance(self.exemplars, RetrievedExemplars):
            raise ValueError(
                "An exemplar must be the row's own or have an index in a collection, got neither; "
                "take what `choose` of the exemplars returns."
            )
        if chosen.index not in self._kept:
            made = self._make(self.exemplars.read(chosen.index), chosen.index)
            self._kept[chosen.index] = made
            if len(self._kept) > self.kept:
                self._kept.popitem(last=False)
        self._kept.move_to_end(chosen.index)
        return self._kept[chosen.index]

    def _make(self, example: Example, seed: int) -> Ready:
        if not isinstance(self.pipe, CoCosPipeline):
            return Ready(example.name, None, example)
        image_size = None
        if self.scale > 1:
            stride = self.pipe.stride
            image_size = round(self.pipe.config.image_size * self.scale / stride) * stride
        own = example.condition if self.pipe.takes_exemplar_condition else None
        prepared = self.pipe.encode_exemplar(
            example.image,
            own,
            image_size=image_size,
            # One that draws noise draws the same for an exemplar, whatever was painted before.
            generator=torch.Generator().manual_seed(seed),
        )
        return Ready(example.name, prepared, example)
