"""What is done of a run: one small file for each shard, written after the shard itself.

A process that is killed leaves a shard without its entry; it is painted again and replaces whatever
is there. So after any number of interruptions every row is there once.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ..evaluation.storage import keep_content
from ..whole_files import whole, write_whole


@dataclasses.dataclass(frozen=True)
class Entry:
    """A finished shard.

    items: pictures in it. broken: the rows without, each with name, position and reason. is_last:
    whether its lane ends with it. state: of the stream after it, from which reading goes on.
    seconds: of the process's time, by stage.
    """

    shard: str
    items: int
    broken: list[dict[str, Any]]
    is_last: bool
    state: dict[str, Any] | None
    seconds: dict[str, float]


class Record:
    """The folder with the settings of a run and the entries of its shards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unfinished = folder / "unfinished"
        self._entries = folder / "shards"

    def keep(self, provenance: dict[str, Any], writes: bool) -> None:
        """Note what makes the run. writes: whether this process does, and tidies up.

        Raises ValueError, naming what differs, if the folder records another run.
        """
        if differing := keep_content(self.folder / "run.json", provenance, writes):
            raise ValueError(
                f"{self.folder} records another run: {differing}. Choose another output, or remove "
                "both to begin anew."
            )
        if writes:
            shutil.rmtree(self.unfinished, ignore_errors=True)

    def whole(self, target: Path) -> AbstractContextManager[Path]:
        """A place for a shard that is moved to `target` when it is whole, tidied up by `keep`."""
        return whole(target, self.unfinished / target.name)

    def add(self, entry: Entry) -> None:
        """Note that a shard is there."""
        write_whole(self._file(entry.shard), json.dumps(dataclasses.asdict(entry), indent=1))

    def find(self, shard: str) -> Entry | None:
        """The entry of a shard; None unless it is finished."""
        path = self._file(shard)
        return Entry(**json.loads(path.read_text())) if path.is_file() else None

    def entries(self) -> Iterator[Entry]:
        """Of all shards, by name."""
        for path in sorted(self._entries.glob("*.json")):
            yield Entry(**json.loads(path.read_text()))

    def _file(self, shard: str) -> Path:
        return self._entries / f"{shard}.json"
