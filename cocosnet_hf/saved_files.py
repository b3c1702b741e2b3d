"""The files of a saved pipeline: which hold weights, and what its index may say."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

LIBRARY = "cocosnet_hf"
INDEX_FILE = "model_index.json"
STEM = "diffusion_pytorch_model"

WEIGHTS = re.compile(
    rf"(.*){STEM}(?:\.([\w-]+?))?(?:-\d+-of-\d+)?\.safetensors|"
    rf"(.*){STEM}\.safetensors\.index(?:\.([\w-]+))?\.json"
)
"""A file with weights, or the index of its pieces; groups: folder and variant of either."""


def weights_of(names: Iterable[str], component: str) -> dict[str, list[str]]:
    """The files that hold a component's weights, by variant; "" is the one without a name."""
    held: dict[str, list[str]] = {}
    for name in names:
        if (group := _group(name)) is not None and group[0] == f"{component}/":
            held.setdefault(group[1], []).append(name)
    return held


def only_variant(names: Collection[str], components: Iterable[str]) -> str | None:
    """The variant in which all weights of a pipeline are, if there is no other form of them.

    names: paths in its folder or repository. components: its networks.
    """
    found = {variant for component in components for variant in weights_of(names, component)}
    return next(iter(found)) or None if len(found) == 1 else None


def superseded(there: Iterable[str], new: Collection[str]) -> list[str]:
    """The weights in a folder or repository of which `new` brings another form."""
    groups = {group for name in new if (group := _group(name)) is not None}
    return [name for name in there if name not in new and _group(name) in groups]


def _group(name: str) -> tuple[str, str] | None:
    """Folder and variant of a file that holds weights or the index of their pieces."""
    match = WEIGHTS.fullmatch(name)
    if match is None:
        return None
    folder, variant, index_folder, index_variant = match.groups()
    return folder or index_folder or "", variant or index_variant or ""


def read_json(path: str | Path, source: str) -> dict[str, Any]:
    """A JSON object of the saved pipeline or network `source`.

    Raises ValueError for anything else in the file, FileNotFoundError where it is not there.
    """
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # no JSON, no UTF-8, or brackets without end
        value = None
    if not isinstance(value, dict):
        raise ValueError(
            f"{source} is refused because its {path.name} is no JSON object; expected one as "
            f"save_pretrained writes it: save or fetch it again."
        )
    return value


def require_known_index(index: Mapping[str, Any], source: str) -> None:
    """Raise ValueError if opening what an index names would import a module.

    diffusers takes every list for a component, and up to version 0.41 imports the module that it
    names. Networks may be of this package, and of modules that are imported already.
    """
    if not isinstance(index.get("_class_name"), str):
        raise _foreign("_class_name", index.get("_class_name"), source)
    for name, entry in index.items():
        if name.startswith("_") or not isinstance(entry, list):
            continue
        if len(entry) != 2 or not all(isinstance(part, str) for part in entry):
            raise _foreign(name, entry, source)
        module, kind = entry
        if module not in sys.modules:
            raise ValueError(
                f"{source} is refused because its {INDEX_FILE} says {entry} for {name}, and no "
                f"module is imported because a folder names it: import {module} first if it is "
                f"yours, or pass {name}= to from_pretrained."
            )
        found = getattr(sys.modules[module], kind, None)
        if not isinstance(found, type) or not _is_network(found):
            raise _foreign(name, entry, source)


def _is_network(kind: type) -> bool:
    """Whether a class is a `Network`, which this module must not import."""
    return any(
        base.__name__ == "Network" and base.__module__ == f"{LIBRARY}.models.network"
        for base in kind.__mro__
    )


def _foreign(name: str, entry: Any, source: str) -> ValueError:
    return ValueError(
        f"{source} is refused because its {INDEX_FILE} says {entry} for {name}; expected a "
        f"pipeline whose networks are those of {LIBRARY}: any other would be code that this "
        f"package does not know."
    )
