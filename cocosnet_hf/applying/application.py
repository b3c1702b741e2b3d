"""A pipeline, a collection and its exemplars: the parts of the work, for any process to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from .. import __version__
from ..datasets import BrokenCount, Reader, open_source
from ..evaluation.opening import open_pipeline
from .exemplars import ColumnExemplars, Exemplars, RetrievedExemplars
from .lanes import Shards, StreamedShards
from .outputs import Painted, open_output
from .painting import Painter
from .record import Entry, Record
from .settings import ApplySettings

WINDOW = 64
"""Rows in memory together, at least; with large batches eight of them."""

SAID_BY_PLACE = ("source", "config_name", "split", "streaming")
"""What the record says of a data set, beside its columns."""


class Application:
    """Everything that one process needs.

    share: a name of the process, for what only it writes. Raises ValueError for data, columns and
    pipelines that cannot be used.
    """

    def __init__(self, settings: ApplySettings, device: torch.device, share: str) -> None:
        self.settings, self.share = settings, share
        dtype = getattr(torch, settings.dtype)
        self.pipe, self.weights = open_pipeline(settings.pipeline, settings.variant, dtype)
        self.pipe.to(device)
        condition = self.pipe.condition
        self.reader = Reader(settings.data, condition)
        self.record = Record(settings.work_folder)
        self.source: Any = open_source(settings.data, condition)
        window = max(WINDOW, 8 * settings.batch_size)
        if settings.data.streaming:
            self.work: Shards | StreamedShards = StreamedShards(
                self.source, settings.shard_items, window
            )
        else:
            self.work = Shards(self.source, settings.shard_items, window, settings.limit)
        self.exemplars: Exemplars
        if settings.exemplars is None:
            self.exemplars = ColumnExemplars(self.reader)
        else:
            self.exemplars = RetrievedExemplars(
                settings.exemplars,
                self.reader,
                self.record.folder,
                settings.retrieves_from_itself,
            )
        self.broken = BrokenCount(settings.data.max_broken_share, self.work.length)

    @property
    def lanes(self) -> int:
        """Number of lanes, each of which one process paints."""
        return self.work.lanes

    @property
    def parts(self) -> int:
        """Number of parts in which the exemplars are described; 0 for those of a column."""
        return self.exemplars.store.parts if isinstance(self.exemplars, RetrievedExemplars) else 0

    @property
    def lanes_left(self) -> list[int]:
        """Those that are not painted to their ends."""
        return [one for one in range(self.lanes) if not self.work.is_finished(one, self.record)]

    @property
    def parts_left(self) -> list[int]:
        """Those that are not described yet."""
        if not isinstance(self.exemplars, RetrievedExemplars):
            return []
        store = self.exemplars.store
        return [number for number in range(store.parts) if not store.has(number)]

    def describe(self, number: int) -> None:
        """Describe part `number` of the exemplars, unless that was done."""
        if isinstance(self.exemplars, RetrievedExemplars):
            self.exemplars.describe(number)

    def finish_index(self) -> None:
        """Make what all parts together are searched by, unless that was done."""
        if isinstance(self.exemplars, RetrievedExemplars):
            self.exemplars.store.build()

    def require_index(self) -> None:
        """Raise ValueError unless this process sees what all have described."""
        if isinstance(self.exemplars, RetrievedExemplars):
            self.exemplars.store.require_whole()

    def paint(self, lanes: Iterator[int] | range, advanced: Callable[[int], Any]) -> list[Entry]:
        """Paint what is left of these lanes; the shards that were finished now.

        advanced: is told of every few rows. Raises RuntimeError where too many rows are broken.
        """
        output = open_output(self.settings, self.record, self.share)
        finished: list[Entry] = []
        items: list[Painted] = []
        broken: list[dict[str, Any]] = []
        with ThreadPoolExecutor(self.settings.threads) as pool:
            painter = Painter(
                self.pipe, self.reader, self.exemplars, self.settings, self.broken, pool
            )
            windows = (one for lane in lanes for one in self.work.windows(lane, self.record))
            for window, found in painter.windows(windows):
                painted, without = painter.paint(window, found)
                items += painted
                broken += without
                advanced(len(window.rows))
                if not window.ends:
                    continue
                if items:
                    painter.clock.timed("writing", output.write, window.shard, items)
                entry = Entry(
                    shard=window.shard,
                    items=len(items),
                    broken=broken,
                    is_last=window.is_last,
                    state=window.state,
                    seconds=painter.clock.taken(),
                )
                self.record.add(entry)
                finished.append(entry)
                items, broken = [], []
        output.finish()
        return finished

    def provenance(self) -> dict[str, Any]:
        """What makes the pictures: a run goes on only where all of it is the same."""
        settings = self.settings
        how = dataclasses.asdict(settings)
        left_out = ("data", "exemplars", "output", "work", "threads", "prepared", "private")
        fingerprint = getattr(self.source, "_fingerprint", None) if self.work.length else None
        exemplars: dict[str, Any] | str = f"the column '{settings.data.exemplar_column}'"
        if settings.exemplars is not None and isinstance(self.exemplars, RetrievedExemplars):
            exemplars = _described(settings.exemplars) | {"content": self.exemplars.fingerprint}
        return {
            **{name: value for name, value in how.items() if name not in left_out},
            "format": settings.form,
            "weights": self.weights,
            "condition": self.pipe.condition.to_config(),
            "data": _described(settings.data) | {"content": fingerprint},
            "exemplars": exemplars,
            "versions": {"cocosnet_hf": __version__, "torch": torch.__version__},
        }


def _described(data: Any) -> dict[str, Any]:
    return {
        name: value
        for name, value in dataclasses.asdict(data).items()
        if name in SAID_BY_PLACE or name.endswith("_column") or name.startswith("label_")
    }
