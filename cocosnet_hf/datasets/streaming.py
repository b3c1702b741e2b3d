"""The training set as a stream, which can be resumed where it stopped."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from ..conditions import Condition
from ..retrieval import ExemplarIndex, normalized
from .composing import TrainingExample, compose
from .reading import BrokenCount, BrokenExample, Example, Reader
from .settings import DataSettings
from .sources import check_columns, split_by_node

if TYPE_CHECKING:
    import datasets


class _Past(NamedTuple):
    """One example in the buffer: where its row began in the stream, the row, its descriptor."""

    state: dict[str, Any] | None
    position: int
    row: Mapping[str, Any]
    descriptor: np.ndarray


class TrainingStream(IterableDataset[TrainingExample]):
    """Training examples of a streamed data set, pass after pass without an end.

    Exemplars: the photo itself, its exemplar_column, or with retrieve the nearest among the last
    `exemplar_buffer` examples that this worker read.

    source: from `open_source` with streaming. rank, world_size: this process among all; each reads
    its share (`split_by_node`). For a `StatefulDataLoader` with at most `source.num_shards` workers
    and not for `accelerator.prepare`. `state_dict` and `load_state_dict` resume exactly, the
    exemplar buffer included, unless shuffle_buffer is above 1: then the examples that were in the
    shuffle buffer are skipped until the next pass.
    """

    def __init__(
        self,
        source: datasets.IterableDataset,
        condition: Condition,
        settings: DataSettings,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        check_columns(source.column_names, settings, condition)
        if settings.shuffle_buffer > 0:
            source = source.shuffle(seed=seed, buffer_size=settings.shuffle_buffer)
        self.source = split_by_node(source, rank, world_size) if world_size > 1 else source
        self.condition = condition
        self.settings = settings
        self.seed = seed
        self.rank = rank
        self.reader = Reader(settings, condition)
        self.broken = BrokenCount(settings.max_broken_share)
        self._epoch = 0
        self._position = 0
        self._buffer: deque[_Past] = deque(maxlen=settings.exemplar_buffer)
        self._live: Any = None  # the source, from the first iteration on
        self._resumed: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands: right after the example that was yielded last."""
        if self._resumed is not None:
            return self._resumed
        oldest = self._buffer[0] if self._buffer else None
        return {
            "epoch": self._epoch,
            "position": self._position,
            "source": None if self._live is None else self._live.state_dict(),
            "buffer_position": None if oldest is None else oldest.position,
            "buffer_source": None if oldest is None else oldest.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue at `state` with the next iteration."""
        self._resumed = state

    def __iter__(self) -> Iterator[TrainingExample]:
        """Raises ValueError for a share of the stream that is empty, RuntimeError where too many
        examples are broken."""
        start = self._restore()
        while True:
            from_start, readable = self._position == 0, 0
            for row, before in self._rows(start):
                example = self._compose(row, before)
                if example is not None:
                    readable += 1
                    yield example
            if from_start and readable == 0:
                raise ValueError(self._nothing_to_read())
            self._epoch, self._position, start = self._epoch + 1, 0, None
            self._buffer.clear()
            self._live.set_epoch(self._epoch)

    def _restore(self) -> dict[str, Any] | None:
        """Begin anew, or fill the buffer for the loaded state; where the source has to go on."""
        state, self._resumed = self._resumed, None
        self._buffer.clear()
        # Workers share the epoch of one source, but each gets to its next pass in its own time.
        self._live = copy.deepcopy(self.source)
        self._epoch, self._position = (0, 0) if state is None else (state["epoch"], 0)
        self._live.set_epoch(self._epoch)
        if state is None:
            return None
        if state["buffer_position"] is not None:
            self._position = state["buffer_position"]
            for row, before in self._rows(state["buffer_source"]):
                try:
                    self._remember(row, before, self.reader.read(row, self._position))
                except BrokenExample:
                    pass
                self._position += 1
                if self._position == state["position"]:
                    break
        self._position = state["position"]
        return state["source"]

    def _rows(
        self, start: dict[str, Any] | None
    ) -> Iterator[tuple[Mapping[str, Any], dict[str, Any] | None]]:
        """The rows of this pass from a state of the source on, each with the state before it."""
        self._live.load_state_dict(start)
        before = start
        for row in self._live:
            after = self._live.state_dict() if self.settings.retrieve else None
            yield row, before
            before = after

    def _compose(
        self, row: Mapping[str, Any], before: dict[str, Any] | None
    ) -> TrainingExample | None:
        """The training example of one row; None for a broken one."""
        worker = get_worker_info()
        rng = np.random.default_rng(
            [self.seed, self._epoch, self.rank, 0 if worker is None else worker.id, self._position]
        )
        self.broken.count()
        try:
            target = self.reader.read(row, self._position)
            exemplar = self._real_exemplar(row, target, rng)
            self._remember(row, before, target)
            return compose(target, exemplar, self.condition, self.settings, rng)
        except BrokenExample as error:
            self.broken.report(error)
            return None
        finally:
            self._position += 1

    def _real_exemplar(
        self, row: Mapping[str, Any], target: Example, rng: np.random.Generator
    ) -> Example | None:
        """The exemplar by one uniform draw, as in `TrainingExamples`; None: the photo itself."""
        settings, draw = self.settings, rng.random()
        if draw >= settings.real_probability:
            return None
        try:
            if settings.exemplar_column is not None:
                self.broken.count()
                return self.reader.read_exemplar(row, self._position)
            if not self._buffer:
                return None
            descriptors = np.stack([past.descriptor for past in self._buffer])
            index = ExemplarIndex(descriptors, [""] * len(descriptors), self._descriptor)
            hard = draw < settings.hard_probability
            rank = settings.hard_rank if hard else 1 + rng.integers(settings.easy_candidates)
            found = index.nearest(self._descriptor(target), k=int(rank))
            if not found:  # the buffer holds nothing but photos without any structure
                return None
            chosen = self._buffer[found[-1].index]
            return self.reader.read(chosen.row, chosen.position)
        except BrokenExample as error:
            self.broken.report(error)
            return None

    def _remember(
        self, row: Mapping[str, Any], before: dict[str, Any] | None, example: Example
    ) -> None:
        if self.settings.retrieve:
            descriptor = self._descriptor(example)
            self._buffer.append(_Past(before, self._position, row, descriptor))

    def _descriptor(self, example: Example) -> np.ndarray:
        """What the nearest example is found by: the mask, label map, pose or photo."""
        return normalized(self.reader.layout.descriptor(self.reader.layout_of(example)))

    def _nothing_to_read(self) -> str:
        worker = get_worker_info()
        share = f"{self.broken.broken} of {self.broken.read} examples were broken"
        if self._position == 0:
            share = (
                f"the split '{self.settings.split}' is empty, or its {self.source.num_shards} "
                f"shards are too few for {1 if worker is None else worker.num_workers} loader "
                "workers in each process; use fewer workers or more files"
            )
        return f"There is nothing to read in this share of '{self.settings.source}': {share}."
