"""What was found, written as metadata.jsonl for each split, or as a data set of the Hub."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datasets.sources import import_datasets
from ..pictures import frame_of
from .faces import merged
from .found import Found, Item, LayoutError

if TYPE_CHECKING:
    from datasets import DatasetDict

LABEL_COLUMN, KEYPOINT_COLUMN = "label", "keypoints"
PARTS_FOLDER = "merged"


def with_validation(splits: Mapping[str, Sequence[Item]], share: float = 0.1) -> dict[str, list]:
    """Splits of which one is called validation: that which is there, test, or the last of train.

    Raises LayoutError for fewer than two photos to train on and hold out.
    """
    whole = {name: list(items) for name, items in splits.items() if items}
    train = whole.pop("train", [])
    held_out = whole.get("validation") or whole.pop("test", None)
    if held_out is None and len(train) > 1:
        count = max(1, round(share * len(train)))
        train, held_out = train[:-count], train[-count:]
    if not train or not held_out:
        raise LayoutError(
            f"Training needs at least two photos, one of them held out; found {len(train)} to "
            f"train on and {len(held_out or ())} held out."
        )
    return {"train": train, "validation": held_out} | {
        name: items for name, items in whole.items() if name != "validation"
    }


def write_metadata(found: Found, output: Path) -> None:
    """`<split>/metadata.jsonl` in output, whose paths lead to the files where they lie.

    Parts are merged to files in output. Raises OSError for a disk that cannot be written.
    """
    for split, items in found.splits.items():
        folder = output / split
        folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(_row(item, folder), ensure_ascii=False) for item in items]
        (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def leave_out(output: Path, split: str, photos: set[str]) -> None:
    """Take the rows of these photos, by their whole paths, from a split's metadata."""
    path = output / split / "metadata.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [
        line for line in lines if str(path.parent / json.loads(line)["file_name"]) not in photos
    ]
    path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def hub_data_set(output: Path) -> DatasetDict:
    """The written splits as a data set whose pictures are inside of it, for `push_to_hub`."""
    datasets = import_datasets()
    splits = {}
    for path in sorted(output.glob("*/metadata.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        names = list(rows[0]) if rows else []
        columns: dict[str, list[Any]] = {}
        for name in names:
            values = [row[name] for row in rows]
            if name == "file_name" or name.endswith("_file_name"):
                as_name = name.removesuffix("_file_name") if name != "file_name" else "image"
                columns[as_name] = [str(path.parent / value) for value in values]
            else:
                columns[name] = values
        split = datasets.Dataset.from_dict(columns)
        for name in ("image", LABEL_COLUMN):
            if name in columns:
                split = split.cast_column(name, datasets.Image())
        splits[path.parent.name] = split
    return datasets.DatasetDict(splits)


def size_of(photo: Path) -> tuple[int, int] | None:
    """(width, height) of a photo, upright; None for a file that is none."""
    try:
        return frame_of({"path": str(photo), "bytes": None}, f"photo '{photo}'").size
    except ValueError:
        return None


def _row(item: Item, folder: Path) -> dict[str, str]:
    """The line of an item in the metadata of a folder."""
    row = {"file_name": _leading(item.photo, folder)}
    label = item.label
    if item.parts:
        label = folder / PARTS_FOLDER / f"{item.photo.stem}.png"
        label.parent.mkdir(exist_ok=True)
        merged(item.parts).save(label)
    if label is not None:
        row[f"{LABEL_COLUMN}_file_name"] = _leading(label, folder)
    if item.keypoints is not None:
        row[KEYPOINT_COLUMN] = item.keypoints
    return row


def _leading(path: Path, folder: Path) -> str:
    """The way from a folder to a file; its whole path where there is none, as between drives."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:
        return str(path.resolve())
