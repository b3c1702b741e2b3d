"""The rows of a collection in lanes, which processes share, and in shards, which are written whole.

A shard has the same name and the same rows however many processes there are. Of a data set that is
read in any order each shard is a lane; of a stream each file is, and its shards follow each other.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..datasets import Rows, split_by_node
from .record import Record

if TYPE_CHECKING:
    from datasets import IterableDataset


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the collection: its number in the shard, its position in the set or in its file."""

    number: int
    position: int
    values: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Window:
    """Rows of a shard that are in memory together.

    ends: whether the shard ends with them; then is_last says whether the lane does too, and state
    is that of the stream.
    """

    shard: str
    rows: list[Row]
    ends: bool
    is_last: bool = False
    state: dict[str, Any] | None = None


class Shards:
    """A data set that is read in any order: a lane for each shard."""

    def __init__(self, rows: Rows, items: int, window: int, limit: int | None = None) -> None:
        self.rows = rows
        self.length = len(rows) if limit is None else min(limit, len(rows))
        self.items = items
        self.window = window

    @property
    def lanes(self) -> int:
        """Number of lanes."""
        return math.ceil(self.length / self.items)

    def is_finished(self, lane: int, record: Record) -> bool:
        """Whether nothing is left to do of a lane."""
        return record.find(f"{lane:06d}") is not None

    def windows(self, lane: int, record: Record) -> Iterator[Window]:
        """What is left to do of a lane."""
        if self.is_finished(lane, record):
            return
        shard = f"{lane:06d}"
        first, end = lane * self.items, min((lane + 1) * self.items, self.length)
        for start in range(first, end, self.window):
            indices = range(start, min(start + self.window, end))
            found = [Row(index - first, index, self.rows[index]) for index in indices]
            yield Window(shard, found, indices.stop == end, is_last=True)


class StreamedShards:
    """A stream: a lane for each of its files. It goes on where the last finished shard ended."""

    length = None

    def __init__(self, source: IterableDataset, items: int, window: int) -> None:
        self.source = source
        self.items = items
        self.window = window

    @property
    def lanes(self) -> int:
        """Number of lanes."""
        return self.source.num_shards

    def is_finished(self, lane: int, record: Record) -> bool:
        """Whether nothing is left to do of a lane."""
        chunk = 0
        while (entry := record.find(self._name(lane, chunk))) is not None:
            if entry.is_last:
                return True
            chunk += 1
        return False

    def windows(self, lane: int, record: Record) -> Iterator[Window]:
        """What is left to do of a lane."""
        source = split_by_node(copy.deepcopy(self.source), lane, self.lanes)
        chunk = 0
        while (entry := record.find(self._name(lane, chunk))) is not None:
            if entry.is_last:
                return
            source.load_state_dict(entry.state)
            chunk += 1
        rows = iter(source)
        while True:
            start, count, is_last = chunk * self.items, 0, False
            while count < self.items and not is_last:
                wanted = min(self.window, self.items - count)
                values = list(islice(rows, wanted))
                is_last = len(values) < wanted
                found = [Row(count + i, start + count + i, one) for i, one in enumerate(values)]
                count += len(values)
                ends = is_last or count == self.items
                state = source.state_dict() if ends and not is_last else None
                yield Window(self._name(lane, chunk), found, ends, is_last, state)
            if is_last:
                return
            chunk += 1

    @staticmethod
    def _name(lane: int, chunk: int) -> str:
        return f"{lane:05d}-{chunk:06d}"
