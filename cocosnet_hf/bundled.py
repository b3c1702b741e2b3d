"""The small trained pipelines that ship with the package."""

from __future__ import annotations

from pathlib import Path

import torch

from .pipeline import CoCosPipeline
from .saved_files import INDEX_FILE, only_variant, read_json
from .transfer import files_of

ASSETS = Path(__file__).parent / "assets"


def bundled_names() -> list[str]:
    """Names that `bundled` knows."""
    return sorted(path.parent.name for path in ASSETS.glob("*/model_index.json"))


def locate(name: str, variant: str | None = None) -> tuple[str | Path, str | None]:
    """Source and variant from which `CoCosPipeline.from_pretrained` opens what a user named.

    name: one of `bundled_names()`, a folder or a Hub id; a bundled name wins over a folder.
    variant: which is wanted, such as fp16; by default that of a folder that holds only one.
    """
    if name in bundled_names():
        return ASSETS / name, "fp16"
    if variant is not None:
        return name, variant
    if not Path(name, INDEX_FILE).is_file():
        return name, None
    recorded = read_json(Path(name, INDEX_FILE), name)
    networks = [key for key, value in recorded.items() if isinstance(value, list)]
    return name, only_variant(files_of(name), networks)


def open_model(name: str, variant: str | None = None) -> CoCosPipeline:
    """A pipeline that a user named, folded; see `locate`."""
    source, variant = locate(name, variant)
    return CoCosPipeline.from_pretrained(source, variant=variant).fold()


def bundled(name: str, dtype: torch.dtype = torch.float32) -> CoCosPipeline:
    """Open a pipeline that ships with this package, folded and ready to paint.

    name: one of `bundled_names()`. dtype: the precision it computes in; the files are float16.
    `ASSETS / name / "README.md"` is its card: on what and how it was trained, under which terms it
    may be used, what it is worth. Raises ValueError for another name.
    """
    if name not in bundled_names():
        raise ValueError(
            f"no bundled pipeline is called {name!r}; there are {', '.join(bundled_names())}. A "
            f"folder or a Hub id is opened with CoCosPipeline.from_pretrained."
        )
    source, variant = locate(name)
    return CoCosPipeline.from_pretrained(source, variant=variant, dtype=dtype).fold()
