"""What files and functions hold, so that the scores of others are not taken for theirs."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterable
from pathlib import Path

BLOCK = 1 << 20
"""Bytes of a file that are read at once."""


def fingerprint(source: str) -> str | None:
    """Of the content of a file, of all files of a folder, or of a function's module.

    source: a path, or "package.module:function". None for anything else, such as a Hub id. What a
    function reads and imports is not seen. Raises ImportError for a module that is not there.
    """
    path = Path(source)
    if path.is_file():
        return files_fingerprint([path], path.parent)
    if path.is_dir():
        return files_fingerprint((file for file in path.rglob("*") if file.is_file()), path)
    module, colon, _ = source.partition(":")
    file = getattr(importlib.import_module(module), "__file__", None) if colon else None
    return None if file is None else files_fingerprint([Path(file)], Path(file).parent)


def files_fingerprint(paths: Iterable[Path], folder: Path) -> str:
    """Of the places in a folder and the contents of files in any order: 16 digits of SHA-256."""
    whole = hashlib.sha256()
    for path in sorted(paths):
        content = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                content.update(block)
        whole.update(f"{path.relative_to(folder).as_posix()} {content.hexdigest()}\n".encode())
    return whole.hexdigest()[:16]
