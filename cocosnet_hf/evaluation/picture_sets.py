"""Sets of pictures that metrics compare: tensors, or files that are read when they are needed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from torch import Tensor

from ..pictures import open_photo, to_pixels

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


class PictureFiles(Sequence[Tensor]):
    """Picture files as (3, H, W) uint8 tensors, each read when it is asked for.

    Transparency is laid on white, grey and palette pictures become RGB. paths: all of one size;
    another size raises ValueError when that picture is read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self._size: tuple[int, int] | None = None

    @classmethod
    def of_folder(cls, folder: str | os.PathLike[str]) -> PictureFiles:
        """The pictures directly in a folder, by name. Raises ValueError if there are none."""
        folder = Path(folder)
        if not folder.is_dir():
            raise ValueError(f"There is no folder '{folder}'.")
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise ValueError(f"'{folder}' holds no picture; known are {sorted(SUFFIXES)}.")
        return cls(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]  # no slices
        path = self.paths[index]
        photo = open_photo(path, "picture")
        self._size = self._size or photo.size
        if photo.size != self._size:
            raise ValueError(
                f"All pictures of a set must have one size, but {path} has {photo.size} and others "
                f"{self._size}; resize them with one named filter first."
            )
        return to_pixels(photo)


Pictures: TypeAlias = "Tensor | Sequence[Tensor] | str | os.PathLike[str]"
"""A set: (N, 3, H, W) or N of (3, H, W), floating in 0..1 or uint8, or a folder's path."""


Opened: TypeAlias = "Tensor | Sequence[Tensor]"


def open_pictures(pictures: Pictures) -> Opened:
    """A set that can be counted and indexed. Raises ValueError for an empty or unreadable one."""
    if isinstance(pictures, (str, os.PathLike)):
        return PictureFiles.of_folder(pictures)
    if len(pictures) == 0:
        raise ValueError("A set of pictures must not be empty.")
    if pictures[0].ndim != 3 or pictures[0].shape[0] != 3:
        raise ValueError(f"Each picture must be (3, H, W), got {tuple(pictures[0].shape)}.")
    return pictures


def open_pair(pictures: Pictures, targets: Pictures) -> tuple[Opened, Opened]:
    """Two sets to be compared. Raises ValueError unless they agree in number and size.

    Distances between sets are biased by their numbers, so unequal ones are never compared.
    """
    first, second = open_pictures(pictures), open_pictures(targets)
    if len(first) != len(second):
        raise ValueError(
            f"Both sets must hold equally many pictures, got {len(first)} and {len(second)}; leave "
            "out those that have no partner."
        )
    if first[0].shape != second[0].shape:
        raise ValueError(
            f"The pictures of both sets must have one size, got {tuple(first[0].shape[1:])} and "
            f"{tuple(second[0].shape[1:])}; resize them with one named filter first."
        )
    return first, second


def to_float(pictures: Tensor) -> Tensor:
    """Pictures as float32 in 0..1, from uint8 or floating ones."""
    return pictures.float() if pictures.is_floating_point() else pictures.float() / 255
