"""Files and folders that are there whole or not at all, whoever kills the process that writes."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(target: Path, unfinished: Path | None = None) -> Iterator[Path]:
    """A free place for a file or folder, which becomes `target` once the block has ended.

    What was at `target` is replaced; if the block fails, it stays, and nothing is left of the new.
    unfinished: the place, on the same disk; a hidden one beside `target` if none is given. The
    folders of both are made.
    """
    place = unfinished or target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    for path in (place, target):
        path.parent.mkdir(parents=True, exist_ok=True)
    _remove(place)
    try:
        yield place
        if target.is_dir():  # which nothing can be renamed to
            shutil.rmtree(target)
        os.replace(place, target)
    finally:
        _remove(place)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file; text is written as UTF-8."""
    with whole(path) as unfinished:
        unfinished.write_bytes(content if isinstance(content, bytes) else content.encode())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
