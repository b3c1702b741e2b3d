"""What a pipeline is applied to, with which exemplars, and where the pictures go."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from ..datasets import DataSettings

FORMATS = ("folder", "parquet", "webdataset", "hub")

PICTURES = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}
"""File formats of the pictures, as Pillow names them."""

REPOSITORY = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
"""What a Hub data set is called: user/repo."""

MARK = "{shard}"
"""Stands for the name of a shard in the name of a file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ApplySettings:
    """One run over a collection.

    pipeline, variant: as `evaluate` takes them. data: the conditions. exemplars: the photos that
    exemplars are retrieved from; None where each row has its own in data.exemplar_column.
    output: a folder, x.parquet, x.tar (x-{shard}.tar says where the shard's name stands) or a Hub
    data set user/repo. format: one of `FORMATS`, where the name does not say it.
    work: folder with the record of what is done; default: beside the output.
    limit: only the first rows (not of a stream). shard_items: rows whose pictures are written
    together. batch_size: pictures painted at once. prepared: exemplars kept prepared.
    threads: for reading and for encoding pictures.
    height, width, scale, strength: as in a call of the pipeline.
    """

    pipeline: str
    data: DataSettings
    exemplars: DataSettings | None
    output: str
    format: str | None = None
    variant: str | None = None
    work: str | None = None
    limit: int | None = None
    shard_items: int = 512
    batch_size: int = 8
    prepared: int = 64
    threads: int = 4
    height: int | None = None
    width: int | None = None
    scale: float | None = None
    strength: float | None = None
    picture: str = "png"
    dtype: str = "float32"
    private: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for settings that do not go together."""
        for name in ("shard_items", "batch_size", "prepared", "threads", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"'{name}' must be at least 1, got {value}.")
        if self.picture not in PICTURES:
            raise ValueError(f"'picture' must be one of {list(PICTURES)}, got {self.picture!r}.")
        if self.format is not None and self.format not in FORMATS:
            raise ValueError(f"'format' must be one of {list(FORMATS)}, got {self.format!r}.")
        if self.exemplars is None and self.data.exemplar_column is None:
            raise ValueError(
                "Exemplars of a column need 'exemplar_column', the column with the exemplars; "
                "or name a source that they are retrieved from."
            )
        if self.exemplars is not None and self.data.exemplar_column is not None:
            raise ValueError(
                f"Exemplars come from one place: the column '{self.data.exemplar_column}' or "
                f"'{self.exemplars.source}'; leave one out."
            )
        if self.data.streaming and self.limit is not None:
            raise ValueError("'limit' counts rows, which a stream does not; leave one of them out.")
        if self.data.streaming and self.retrieves_from_itself:
            raise ValueError(
                "A stream does not know which of the exemplars a row itself is; leave streaming "
                "out, or retrieve from another split."
            )
        if self.form == "hub" and not REPOSITORY.fullmatch(self.output):
            raise ValueError(f"A Hub data set is called user/repo, got '{self.output}'.")

    @property
    def retrieves_from_itself(self) -> bool:
        """Whether the exemplars are the very rows that are painted; then none is its own."""
        other = self.exemplars
        own = (self.data.source, self.data.config_name, self.data.split)
        return other is not None and own == (other.source, other.config_name, other.split)

    @property
    def form(self) -> str:
        """The format: what was said, or what the output's name says.

        user/repo is a Hub data set unless there is a folder `user` here; ./user/repo never is.
        """
        if self.format is not None:
            return self.format
        suffixes = {".parquet": "parquet", ".tar": "webdataset"}
        if (found := suffixes.get(Path(self.output).suffix)) is not None:
            return found
        is_repository = REPOSITORY.fullmatch(self.output) is not None
        return "hub" if is_repository and not Path(self.output).parent.is_dir() else "folder"

    @property
    def work_folder(self) -> Path:
        """Where the record of what is done lies: beside the output, as everything unfinished."""
        if self.work is not None:
            return Path(self.work)
        if self.form == "folder":
            return Path(self.output) / ".apply"
        name = self.output.replace("/", "--") if self.form == "hub" else Path(self.output).name
        place = Path() if self.form == "hub" else Path(self.output).parent
        return place / f"{name.replace(MARK, 'shard')}.apply"

    def file_of(self, shard: str) -> Path:
        """The file of a shard: x-{shard}.tar, or x.tar with the shard's name before the suffix."""
        path = Path(self.output)
        if MARK in path.name:
            return path.with_name(path.name.replace(MARK, shard))
        suffix = {"parquet": ".parquet", "webdataset": ".tar"}[self.form]
        if path.suffix != suffix:  # a folder for them
            return path / f"{shard}{suffix}"
        return path.with_name(f"{path.stem}-{shard}{suffix}")
