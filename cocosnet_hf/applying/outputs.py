"""Where painted pictures go: every form writes a shard whole, under the same name each time."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..datasets.sources import import_datasets
from ..transfer import commit, create_repository
from .record import Record
from .settings import ApplySettings

SHARDS_PER_COMMIT = 32
"""Files that are sent to the Hub together, which allows some hundred commits an hour."""


@dataclasses.dataclass(frozen=True)
class Painted:
    """A picture as the bytes of a file, with what it was made of.

    number: in its shard. name, position: of the row, the latter in the data set or in its file of a
    stream. exemplar: its name; exemplar_position: its place among those that it was retrieved from;
    score: how alike the two are, 1 for equal layouts; None for exemplars of a column.
    """

    number: int
    name: str
    position: int
    picture: bytes
    width: int
    height: int
    exemplar: str
    exemplar_position: int | None
    score: float | None

    @property
    def provenance(self) -> dict[str, Any]:
        """All but the picture and its number."""
        values = dataclasses.asdict(self)
        return {key: value for key, value in values.items() if key not in ("picture", "number")}


class Output(ABC):
    """A place for shards, each of which is there whole or not at all."""

    def __init__(self, settings: ApplySettings, record: Record) -> None:
        self.settings, self.record = settings, record

    @abstractmethod
    def write(self, shard: str, items: Sequence[Painted]) -> None:
        """Write a shard of at least one item; an earlier one is replaced."""

    def finish(self) -> None:  # noqa: B027 (most have nothing to do)
        """What remains to be done once this process has written all of its shards."""


class FolderOutput(Output):
    """SHARD/000000.png ... and SHARD/metadata.jsonl, as `load_dataset("imagefolder")` reads it."""

    def write(self, shard: str, items: Sequence[Painted]) -> None:
        """A folder that appears complete."""
        with self.record.whole(Path(self.settings.output, shard)) as folder:
            folder.mkdir()
            lines = []
            for item in items:
                # No name of a row: `datasets` takes words such as test in it for a split's name.
                file_name = f"{item.number:06d}.{self.settings.picture}"
                (folder / file_name).write_bytes(item.picture)
                lines.append(json.dumps({"file_name": file_name} | item.provenance) + "\n")
            (folder / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")


class ParquetOutput(Output):
    """One parquet file for each shard, with a column of pictures as `datasets` knows it."""

    def write(self, shard: str, items: Sequence[Painted]) -> None:
        """A file that appears complete."""
        with self.record.whole(self.settings.file_of(shard)) as file:
            write_parquet(file, items, self.settings.picture)


class WebDatasetOutput(Output):
    """One tar for each shard: KEY.png beside KEY.json with the provenance."""

    def write(self, shard: str, items: Sequence[Painted]) -> None:
        """A file that appears complete."""
        with (
            self.record.whole(self.settings.file_of(shard)) as file,
            tarfile.open(file, "w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for item in items:
                provenance = json.dumps(item.provenance).encode()
                parts = {self.settings.picture: item.picture, "json": provenance}
                for suffix, content in parts.items():
                    member = tarfile.TarInfo(f"{shard}-{item.number:06d}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


class HubOutput(Output):
    """Parquet files of a Hub data set, sent some at a time and then removed here.

    A commit holds all of its files or none. One that was made before this process could remove its
    files is made again with the same files, under the same names.
    """

    def __init__(self, settings: ApplySettings, record: Record, share: str) -> None:
        super().__init__(settings, record)
        self.folder = record.folder / "unsent" / share
        self.folder.mkdir(parents=True, exist_ok=True)

    def write(self, shard: str, items: Sequence[Painted]) -> None:
        """A file that waits to be sent with others."""
        with self.record.whole(self.folder / f"{shard}.parquet") as file:
            write_parquet(file, items, self.settings.picture)
        finished = self._finished()
        if len(finished) >= SHARDS_PER_COMMIT:
            self._send(finished)

    def finish(self) -> None:
        """Send what waits."""
        if finished := self._finished():
            self._send(finished)

    def _finished(self) -> list[Path]:
        """The files whose entries are written: any other is made again."""
        return [path for path in sorted(self.folder.iterdir()) if self.record.find(path.stem)]

    def _send(self, files: list[Path]) -> None:
        commit(
            {f"data/{path.name}": path for path in files},
            self.settings.output,
            f"Add shards {files[0].stem} to {files[-1].stem}",
            repo_type="dataset",
        )
        for path in files:
            path.unlink(missing_ok=True)


def write_parquet(path: Path, items: Sequence[Painted], suffix: str) -> None:
    """Pictures and provenance as a parquet file that `load_dataset` shows as pictures."""
    datasets = import_datasets()
    number, text = datasets.Value("int64"), datasets.Value("string")
    features = {
        "image": datasets.Image(),
        "name": text,
        "position": number,
        "width": number,
        "height": number,
        "exemplar": text,
        "exemplar_position": number,
        "score": datasets.Value("float64"),
    }
    rows = [
        {"image": {"bytes": item.picture, "path": f"{item.number:06d}.{suffix}"}} | item.provenance
        for item in items
    ]
    table = datasets.Dataset.from_list(rows, features=datasets.Features(features))
    table.to_parquet(str(path))


def open_output(settings: ApplySettings, record: Record, share: str) -> Output:
    """The place that the settings name. share: a name for what this process writes."""
    if settings.form == "hub":
        return HubOutput(settings, record, share)
    forms: dict[str, Callable[[ApplySettings, Record], Output]] = {
        "folder": FolderOutput,
        "parquet": ParquetOutput,
        "webdataset": WebDatasetOutput,
    }
    return forms[settings.form](settings, record)


def finish_output(settings: ApplySettings, record: Record) -> None:
    """Send what processes of earlier runs left, once all of this one have finished."""
    if settings.form == "hub":
        for folder in sorted((record.folder / "unsent").iterdir()):
            HubOutput(settings, record, folder.name).finish()


def prepare_output(settings: ApplySettings) -> None:
    """Make the Hub data set, so that a wrong name or token is told before anything is painted."""
    if settings.form == "hub":
        create_repository(settings.output, repo_type="dataset", private=settings.private or None)
