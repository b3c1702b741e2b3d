"""The folder of a run: what lies where, and what it is written by."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from ..pictures import to_image
from ..whole_files import whole, write_whole
from .picture_sets import PictureFiles, to_float

if TYPE_CHECKING:
    from pandas import DataFrame

FORMATS = {"png": "lossless", "jpg": "JPEG, quality 75, 4:2:0"}
"""File formats that every picture is saved in and scored from; the format alone moves an FID."""


EARLIER_PROVENANCE = "made.json"


class RunFolder:
    """The files of a run.

    provenance.json: what made it. pictures/<method>/<format>/: one file for each item.
    scores/<method>/: method.json, what made its pictures, a parquet file for each chunk of items,
    and the set's distances.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self, provenance: dict[str, Any], writes: bool) -> None:
        """Note what makes the run; writes: whether this process does.

        A run that ended before its first scores is replaced. Raises ValueError, naming what
        differs, if the folder holds another one that was made otherwise, or by an earlier version.
        """
        if (self.path / EARLIER_PROVENANCE).is_file():
            raise ValueError(
                f"{self.path} holds an evaluation of an earlier version. Choose another "
                "output folder."
            )
        path = self.path / "provenance.json"
        if path.is_file() and not any(self.path.glob("scores/*/*.parquet")):
            if writes:
                for method in self.path.glob("scores/*/method.json"):
                    shutil.rmtree(method.parent)
                    shutil.rmtree(self.path / "pictures" / method.parent.name, ignore_errors=True)
                write_whole(path, json.dumps(provenance, indent=1))
            return
        if differing := keep_content(path, provenance, writes):
            raise ValueError(
                f"{self.path} holds another evaluation: {differing}. Choose another output folder."
            )

    def keep_method(self, name: str, made_by: str, writes: bool) -> None:
        """Note what makes a method's pictures; writes: whether this process does.

        Raises ValueError, naming what differs, if the folder holds scores of another one.
        """
        path = self.scores_folder(name) / "method.json"
        if differing := keep_content(path, {"name": name, "made_by": made_by}, writes):
            raise ValueError(
                f"{self.path} holds scores of another '{name}': {differing}. Give it another name, "
                f"or remove {path.parent} to score it again."
            )

    def picture_file(self, method: str, stem: str, kind: str) -> Path:
        """Where a method's picture of an item lies."""
        return self.path / "pictures" / slug(method) / kind / f"{stem}.{kind}"

    def scores_folder(self, method: str) -> Path:
        """Where everything but a method's pictures lies."""
        return self.path / "scores" / slug(method)

    def scores_file(self, method: str, chunk: range) -> Path:
        """Where the scores of a chunk of items lie."""
        return self.scores_folder(method) / f"{chunk.start:06d}.parquet"

    def levels_file(self, method: str, kind: str) -> Path:
        """Where the sliced Wasserstein distances of a method's pictures lie."""
        return self.scores_folder(method) / f"swd-{kind}.json"

    def chunks(self, method: str) -> Iterator[DataFrame]:
        """A method's scores, one table for each chunk of items: a row for each item and format."""
        import pandas

        paths = sorted(self.scores_folder(method).glob("*.parquet"))
        return (pandas.read_parquet(path) for path in paths)

    def scores(self, method: str, items: int) -> DataFrame:
        """All of a method's scores in one table, without those of classes, which are many.

        Raises ValueError unless there is exactly one row for each item and format.
        """
        import pandas

        parts = [chunk.drop(columns="classes") for chunk in self.chunks(method)]
        rows = pandas.concat(parts, ignore_index=True)
        if len(rows) != items * len(FORMATS) or rows.duplicated(["index", "format"]).any():
            raise ValueError(
                f"{self.scores_folder(method)} must hold one score for each of {items} items and "
                f"each format, got {len(rows)}; remove what does not belong there."
            )
        return rows.sort_values(["format", "index"], ignore_index=True)

    def pictures(self, method: str, kind: str, items: int) -> PictureFiles:
        """All saved pictures of a method in the order of the items. Raises ValueError for others"""
        files = PictureFiles.of_folder(self.picture_file(method, "", kind).parent)
        if len(files) != items:
            raise ValueError(
                f"{files.paths[0].parent} must hold {items} pictures, one for each item, got "
                f"{len(files)}; remove what does not belong there."
            )
        return files

    def save_pictures(
        self, method: str, stems: Sequence[str], pictures: Tensor
    ) -> dict[str, Tensor]:
        """Write (B, 3, H, W) in 0..1 in every format; what the files hold, by format."""
        saved = {}
        for kind in FORMATS:
            paths = [self.picture_file(method, stem, kind) for stem in stems]
            paths[0].parent.mkdir(parents=True, exist_ok=True)
            for path, picture in zip(paths, pictures, strict=True):
                save_picture(to_image(picture, low=0), path)
            saved[kind] = torch.stack([to_float(one) for one in PictureFiles(paths)])
        return saved


def keep_content(path: Path, content: dict[str, Any], writes: bool) -> str:
    """Write a JSON file where there is none; in words, how one that is there differs.

    writes: whether this process may.
    """
    if path.is_file():
        now = json.loads(json.dumps(content))
        return "; ".join(differences(json.loads(path.read_text()), now))
    if writes:
        write_whole(path, json.dumps(content, indent=1))
    return ""


def differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """In words, what differs between two values of JSON."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in {**now, **before}:
            inner = f"{name}.{key}" if name else key
            yield from differences(before.get(key), now.get(key), inner)
    elif before != now:
        yield f"{name} was {before}, is {now}"


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as parquet; one without a column has no value there."""
    import pandas

    with whole(path) as unfinished:
        pandas.DataFrame(rows).to_parquet(unfinished)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Save as PNG, or as JPEG with the settings that `FORMATS` names."""
    if path.suffix == ".png":
        picture.save(path)
    else:
        picture.save(path, quality=75, subsampling="4:2:0")


def slug(name: str) -> str:
    """A name as part of a file's."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
