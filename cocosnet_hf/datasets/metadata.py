"""Folders whose metadata.jsonl or metadata.csv say what belongs to what, wherever it lies.

`datasets` reads such folders too, but refuses pictures outside of the metadata's own folder, takes
the file of a keypoints column for a picture and overlooks metadata above the folders of the splits.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .settings import DataSettings

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

NAMES = ("metadata.jsonl", "metadata.csv")

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""Words in the names of folders that say which split their pictures are of, as in `datasets`."""

NO_PICTURES = (".json", ".txt")
"""Suffixes of files that a column may name beside pictures: keypoints."""

CHECKED_LINES = 10_000
"""Lines of a metadata.jsonl that are looked at before it is opened; more would take seconds."""

PICTURE_COLUMNS = (
    "image_column",
    "condition_column",
    "labels_column",
    "instances_column",
    "exemplar_column",
    "exemplar_condition_column",
    "exemplar_labels_column",
)
"""Settings that name columns whose text is the path of a file."""


def metadata_files(folder: Path) -> list[Path]:
    """The files of a folder, and of those in it, that say what belongs to its pictures."""
    if not folder.is_dir():
        return []
    return sorted(path for name in NAMES for path in folder.rglob(name))


def split_of(path: Path) -> str | None:
    """The split that the names of folders tell, such as train of images/training/a.jpg."""
    for part in path.parts[:-1]:
        words = re.split(r"[^a-z]+", part.lower())
        for split, known in SPLITS.items():
            if any(word in words for word in known):
                return split
    return None


def open_metadata(settings: DataSettings, files: Sequence[Path]) -> dict[str, Dataset]:
    """Every split of a folder with these metadata; pictures undecoded, with their whole paths.

    `file_name` becomes the column image, `X_file_name` the column X: a picture, or for a file of
    keypoints its path. Other columns of text that the settings name as pictures are paths too.
    Paths start at the metadata's own folder, and may go up or be absolute; in a plain column that
    does not fit, at `settings.source` and at last at the working directory. The split is told by
    the names of folders: of the metadata's, else of the photo's, else it is train.

    Raises ValueError, naming file and line, for metadata that cannot be read.
    """
    import datasets
    import pyarrow as pa

    root = Path(settings.source)
    tables: dict[str, list[pa.Table]] = {}
    digest = hashlib.sha256(str(root.resolve()).encode())
    for path in files:
        digest.update(path.read_bytes())
        table = _read(path)
        if not len(table):
            continue
        names = table.column_names
        own = split_of(path.relative_to(root))
        splits = [own] * len(table)
        if own is None and "file_name" in names:
            listed = table.column("file_name").to_pylist()
            splits = [split_of(Path(name)) if isinstance(name, str) else None for name in listed]
        resolved = _resolved(table, path.parent, settings)
        for split in dict.fromkeys(splits):
            chosen = resolved.filter(pa.array([one == split for one in splits]))
            tables.setdefault(split or "train", []).append(chosen)
    opened = {}
    for split, parts in tables.items():
        try:
            table = pa.concat_tables(parts, promote_options="permissive")
        except pa.ArrowException as error:
            raise ValueError(
                f"The metadata of the split '{split}' of '{root}' do not agree: {error}. Give "
                "every metadata file the same columns."
            ) from error
        _digest_files(table, digest)
        settled = [settings.image_column, settings.condition_column, settings.labels_column]
        digest.update(f"{split} {settled}".encode())
        opened[split] = datasets.Dataset(
            table, split=datasets.NamedSplit(split), fingerprint=digest.hexdigest()[:16]
        )
        for name in table.column_names:
            if _is_picture(table.schema.field(name).type):
                opened[split] = opened[split].cast_column(name, datasets.Image(decode=False))
    return opened


def _digest_files(table: pa.Table, digest: Any) -> None:
    """Take in which files there are and when they changed: what is kept of them then is stale."""
    for name in table.column_names:
        if not _is_picture(table.schema.field(name).type):
            continue
        for path in table.column(name).combine_chunks().field("path").to_pylist():
            try:
                found = os.stat(path or "")
                digest.update(f"{path} {found.st_mtime_ns} {found.st_size}".encode())
            except OSError:  # said when it is read
                digest.update(str(path).encode())


def _read(path: Path) -> pa.Table:
    """The rows of a metadata file. Raises ValueError for what is no table of files."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.json

    if path.suffix == ".jsonl":
        _require_rows(path, CHECKED_LINES)  # pyarrow ends the process at some that are none
    try:
        if path.suffix == ".csv":
            table = pyarrow.csv.read_csv(path)
        else:
            # A line may be as long as all: keypoints of a crowd.
            size = max(1 << 20, path.stat().st_size + 1)
            options = pyarrow.json.ReadOptions(block_size=min(size, 1 << 30))
            table = pyarrow.json.read_json(path, options)
    except pa.ArrowException as error:
        if path.suffix == ".jsonl":
            _require_rows(path)
        raise ValueError(f"'{path}' cannot be read: {error}") from error
    if len(table) and not any(
        name == "file_name" or name.endswith("_file_name") for name in table.column_names
    ):
        raise ValueError(
            f"'{path}' has the columns {table.column_names} and no 'file_name', the photo's file, "
            'such as {"file_name": "images/01.jpg", "label_file_name": "masks/01.png"}.'
        )
    return table


def _require_rows(path: Path, most: int | None = None) -> None:
    """Raise ValueError, naming the line, for a metadata.jsonl that holds anything but rows.

    most: how many of its lines are looked at, by default all.
    """
    count = 0
    with path.open("rb") as file:
        for number, line in enumerate(itertools.islice(file, most), start=1):
            if not line.strip():
                continue
            count += 1
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):  # no JSON, no UTF-8, brackets without end
                row = None
            if not isinstance(row, dict):
                raise ValueError(
                    f"'{path}' cannot be read: line {number} is no JSON object such as "
                    '{"file_name": "01.jpg"}.'
                )
    if not count:
        raise ValueError(f"'{path}' is empty; write a line for each picture, or remove it.")


def _resolved(table: pa.Table, folder: Path, settings: DataSettings) -> pa.Table:
    """The columns under their names in the data set, each path whole."""
    plain = {getattr(settings, name) for name in PICTURE_COLUMNS} - {None}
    columns: dict[str, pa.Array] = {}
    for name in table.column_names:
        values, as_name = table.column(name), name
        if name == "file_name":
            as_name = "image"
        elif name.endswith("_file_name"):
            as_name = name.removesuffix("_file_name")
        if as_name != name:
            columns[as_name] = _paths(values.to_pylist(), folder)
        elif name in plain and _is_text(values.type):
            listed = values.to_pylist()
            base = _base_of(listed, folder, Path(settings.source))
            columns[name] = values if base is None else _paths(listed, base)
        else:
            columns[name] = values.combine_chunks()
    import pyarrow as pa

    return pa.table(columns)


def _paths(values: list[Any], folder: Path) -> pa.Array:
    """Paths as undecoded pictures, or as text where they are no pictures; null stays null."""
    import pyarrow as pa

    paths = [None if value in (None, "") else str(folder / str(value)) for value in values]
    first = next((path for path in paths if path is not None), "")
    if first.lower().endswith(NO_PICTURES):
        return pa.array(paths, pa.string())
    absent = pa.array([path is None for path in paths])
    return pa.StructArray.from_arrays(
        [pa.nulls(len(paths), pa.binary()), pa.array(paths, pa.string())],
        names=["bytes", "path"],
        mask=absent,
    )


def _base_of(values: list[Any], folder: Path, root: Path) -> Path | None:
    """From where the paths of a plain column start; None for text that is no path, as JSON."""
    first = next((value for value in values if value), "")
    if not first or first.lstrip()[:1] in ("{", "["):
        return None
    bases = [base for base in (folder, root, Path()) if (base / first).is_file()]
    return bases[0] if bases else folder


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_picture(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if not pa.types.is_struct(kind):
        return False
    return {kind.field(index).name for index in range(kind.num_fields)} == {"bytes", "path"}
