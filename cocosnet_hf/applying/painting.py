"""Rows of a window -> pictures: read, given an exemplar, painted in batches, encoded."""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from itertools import groupby
from typing import Any, TypeVar

from PIL import Image

from ..conditions import Source
from ..datasets import BrokenCount, BrokenExample, Reader
from ..image_translation import ImageTranslationPipeline
from ..pipeline import CoCosPipeline
from .exemplars import Chosen, Exemplars, Preparation, Ready
from .lanes import Row, Window
from .outputs import Painted
from .settings import PICTURES, ApplySettings

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Item:
    """A row that has been read: its opened condition, the size of its picture, its query."""

    row: Row
    name: str
    condition: Source
    size: tuple[int, int]
    query: Any


@dataclasses.dataclass(frozen=True)
class Work:
    """An item with its exemplar."""

    item: Item
    chosen: Chosen
    ready: Ready


@dataclasses.dataclass
class Stopwatch:
    """Seconds by stage; `reading` is what painting waits for."""

    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    def timed(self, stage: str, function: Callable[..., T], *arguments: Any) -> T:
        """What the function returns."""
        start = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            taken = time.perf_counter() - start
            self.seconds[stage] = self.seconds.get(stage, 0.0) + taken

    def taken(self) -> dict[str, float]:
        """Hand over what was counted, and begin anew."""
        found, self.seconds = self.seconds, {}
        return {stage: round(value, 4) for stage, value in found.items()}


class Painter:
    """Paints the rows of a collection.

    What is painted in one batch depends on the rows of the window alone, so that a window that is
    painted again gives the same pictures to the bit.
    """

    def __init__(
        self,
        pipe: ImageTranslationPipeline,
        reader: Reader,
        exemplars: Exemplars,
        settings: ApplySettings,
        broken: BrokenCount,
        pool: Executor,
    ) -> None:
        self.pipe, self.reader, self.exemplars = pipe, reader, exemplars
        self.settings, self.broken, self.pool = settings, broken, pool
        self.clock = Stopwatch()
        self._preparation = Preparation(pipe, exemplars, settings.prepared, settings.scale or 1)

    # Reading ------------------------------------------------------------------------------------

    def windows(
        self, windows: Iterable[Window]
    ) -> Iterator[tuple[Window, list[Item | BrokenExample]]]:
        """Windows with their rows read, the next one while one is painted."""
        waiting = None
        left = iter(windows)
        while (window := self.clock.timed("reading", next, left, None)) is not None:
            reading = [self.pool.submit(self._read, row) for row in window.rows]
            if waiting is not None:
                yield waiting[0], self._results(waiting[1])
            waiting = window, reading
        if waiting is not None:
            yield waiting[0], self._results(waiting[1])

    def _results(self, futures: Sequence[Any]) -> list[Item | BrokenExample]:
        return self.clock.timed("reading", lambda: [future.result() for future in futures])

    def _read(self, row: Row) -> Item | BrokenExample:
        try:
            example = self.reader.read(row.values, row.position)
            source = example.image if example.condition is None else example.condition
            opened = self.pipe.condition.open(source)
            settings = self.settings
            size = self.pipe.size_for(opened.size, height=settings.height, width=settings.width)
            query = self.exemplars.query(row.values, row.position, example)
            return Item(row, example.name, opened, size, query)
        except BrokenExample as error:
            return error
        except (ValueError, OSError) as error:
            return BrokenExample(f"{self.reader.name(row.values, row.position)}: {error}")

    # Painting -----------------------------------------------------------------------------------

    def paint(
        self, window: Window, found: Sequence[Item | BrokenExample]
    ) -> tuple[list[Painted], list[dict[str, Any]]]:
        """Pictures in the order of the rows, and the rows without, each with the reason.

        Raises RuntimeError where too many rows are broken.
        """
        broken: list[dict[str, Any]] = []
        items = []
        for row, one in zip(window.rows, found, strict=True):
            self.broken.count()
            if isinstance(one, BrokenExample):
                self._note(broken, row, one)
            else:
                items.append(one)
        if not items:
            return [], broken
        positions = [item.row.position for item in items]
        queries = [item.query for item in items]
        chosen = self.clock.timed("retrieval", self.exemplars.choose, queries, positions)
        pairs = sorted(zip(items, chosen, strict=True), key=_batched_by)
        painted: list[Painted] = []
        for _, group in groupby(pairs, key=lambda pair: pair[0].size):
            for batch in _batches(list(group), self._batch_size):
                made = self.clock.timed("painting", self._batch, batch, broken)
                painted += self.clock.timed("encoding", self._encoded, made)
        return sorted(painted, key=lambda one: one.number), broken

    @property
    def _batch_size(self) -> int:
        # Other systems take exemplars of one size only.
        return self.settings.batch_size if isinstance(self.pipe, CoCosPipeline) else 1

    def _note(self, broken: list[dict[str, Any]], row: Row, error: BrokenExample) -> None:
        name = self.reader.name(row.values, row.position)
        broken.append({"name": name, "position": row.position, "why": str(error)})
        self.broken.report(error)

    def _batch(
        self, pairs: Sequence[tuple[Item, Chosen]], broken: list[dict[str, Any]]
    ) -> list[tuple[Work, Image.Image]]:
        works = []
        for item, chosen in pairs:
            try:
                works.append(Work(item, chosen, self._preparation.ready(chosen)))
            except (BrokenExample, ValueError, OSError) as error:
                reason = BrokenExample(f"The exemplar of '{item.name}' is of no use: {error}")
                self._note(broken, item.row, reason)
        return self._together(works, broken) if works else []

    def _together(
        self, works: Sequence[Work], broken: list[dict[str, Any]]
    ) -> list[tuple[Work, Image.Image]]:
        """Paint at once; where a condition is refused, one by one, to name it."""
        try:
            return list(zip(works, self._call(works), strict=True))
        except ValueError as error:
            if len(works) > 1:
                return [made for work in works for made in self._together([work], broken)]
            item = works[0].item
            self._note(broken, item.row, BrokenExample(f"'{item.name}' is refused: {error}"))
            return []

    def _call(self, works: Sequence[Work]) -> list[Image.Image]:
        settings = self.settings
        conditions = [work.item.condition for work in works]
        options: Mapping[str, Any] = {
            name: value
            for name in ("height", "width", "scale", "strength")
            if (value := getattr(settings, name)) is not None
        }
        if not isinstance(self.pipe, CoCosPipeline):
            return self.pipe(conditions, [works[0].ready.example.image], **options).images
        prepared = [work.ready.prepared for work in works]
        if all(one is prepared[0] for one in prepared):
            prepared = prepared[:1]
        return self.pipe(conditions, prepared, **options).images

    def _encoded(self, made: Sequence[tuple[Work, Image.Image]]) -> list[Painted]:
        return list(self.pool.map(self._picture, *zip(*made, strict=True))) if made else []

    def _picture(self, work: Work, picture: Image.Image) -> Painted:
        item, buffer = work.item, io.BytesIO()
        picture.save(buffer, PICTURES[self.settings.picture], quality=95)
        return Painted(
            number=item.row.number,
            name=item.name,
            position=item.row.position,
            picture=buffer.getvalue(),
            width=picture.width,
            height=picture.height,
            exemplar=work.ready.name,
            exemplar_position=work.chosen.index,
            score=work.chosen.score,
        )


def _batched_by(pair: tuple[Item, Chosen]) -> tuple[Any, ...]:
    """By size, then by exemplar, so that one that is prepared serves several; then as they came."""
    item, chosen = pair
    return item.size, -1 if chosen.index is None else chosen.index, item.row.number


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
