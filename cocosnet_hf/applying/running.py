"""The run: processes of accelerate share parts of the index, then lanes; what came of it."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Iterable
from typing import Any

from accelerate.utils import gather_object
from tqdm.auto import tqdm

from ..evaluation.protocol import shared_state
from ..whole_files import write_whole
from .application import Application
from .outputs import finish_output, prepare_output
from .record import Entry, Record
from .settings import ApplySettings

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Summary:
    """What came of a run. items, broken: of all runs into this output; painted: of this one.

    seconds: of this run, with the index. workers: processes. stages: their seconds together.
    """

    items: int
    shards: int
    broken: list[dict[str, Any]]
    painted: int
    seconds: float
    workers: int
    stages: dict[str, float]

    def __str__(self) -> str:
        rate = self.painted / self.seconds if self.seconds else 0.0
        working = sum(self.stages.values())
        parts = ", ".join(
            f"{name} {taken / working:.0%}" for name, taken in self.stages.items() if working
        )
        lines = [
            f"{self.items} pictures in {self.shards} shards; {len(self.broken)} rows could not be "
            "painted",
            f"now {self.painted} in {self.seconds:.1f} s by {self.workers} "
            f"process{'es' * (self.workers > 1)}: {rate:.2f} pictures a second"
            + (f"; their time: {parts}" if parts else ""),
        ]
        lines += [f"  {one['name']}: {one['why']}" for one in self.broken[:10]]
        if len(self.broken) > 10:
            lines.append(f"  ... and {len(self.broken) - 10} more, see summary.json")
        return "\n".join(lines)


def apply(settings: ApplySettings) -> Summary | None:
    """Paint a collection, or what is left of it; None in all processes but the first.

    Processes of `accelerate launch` share the work; they must see one work folder. Raises
    ValueError for data, exemplars and outputs that cannot be used, and for a work folder that
    records another run; RuntimeError where too many rows are broken.
    """
    state = shared_state()
    start = time.perf_counter()
    with state.main_process_first():  # the others then find the data on the disk
        if state.is_main_process:
            prepare_output(settings)
        application = Application(settings, state.device, f"{state.process_index:05d}")
        application.record.keep(application.provenance(), state.is_main_process)
    rank, world = state.process_index, state.num_processes
    if state.is_main_process and application.lanes < world:
        logger.warning(
            "The work has %s shares and there are %s processes, of which the others have nothing "
            "to do: use smaller shards, or for a stream more files.",
            application.lanes,
            world,
        )
    parts = range(rank, application.parts, world)
    for number in tqdm(parts, desc="index", disable=not state.is_local_main_process or not parts):
        application.describe(number)
    state.wait_for_everyone()
    if state.is_main_process:
        application.finish_index()
    state.wait_for_everyone()
    application.require_index()
    length = application.work.length
    mine = None if length is None else length // world
    with tqdm(desc="pictures", total=mine, disable=not state.is_local_main_process) as bar:
        finished = application.paint(range(rank, application.lanes, world), bar.update)
    finished = gather_object(finished)
    if not state.is_main_process:
        return None
    finish_output(settings, application.record)
    return summarize(application.record, finished, time.perf_counter() - start, world)


def summarize(record: Record, finished: Iterable[Entry], seconds: float, workers: int) -> Summary:
    """What came of a run, also written as summary.json beside the record."""
    entries, now = list(record.entries()), list(finished)
    stages: dict[str, float] = {}
    for entry in now:
        for stage, taken in entry.seconds.items():
            stages[stage] = stages.get(stage, 0.0) + taken
    summary = Summary(
        items=sum(entry.items for entry in entries),
        shards=sum(entry.items > 0 for entry in entries),
        broken=[one | {"shard": entry.shard} for entry in entries for one in entry.broken],
        painted=sum(entry.items for entry in now),
        seconds=seconds,
        workers=workers,
        stages=stages,
    )
    write_whole(record.folder / "summary.json", json.dumps(dataclasses.asdict(summary), indent=1))
    return summary
