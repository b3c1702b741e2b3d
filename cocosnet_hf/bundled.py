"""The small trained pipelines that ship with the package."""

from __future__ import annotations

from pathlib import Path

import torch

from .pipeline import CoCosPipeline

ASSETS = Path(__file__).parent / "assets"


def bundled_names() -> list[str]:
    """Names that `bundled` knows."""
    return sorted(path.parent.name for path in ASSETS.glob("*/model_index.json"))


def locate(name: str) -> tuple[str | Path, str | None]:
    """Source and variant from which `CoCosPipeline.from_pretrained` opens what a user named.

    name: one of `bundled_names()`, a folder or a Hub id; a bundled name wins over a folder.
    """
    return (ASSETS / name, "fp16") if name in bundled_names() else (name, None)


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
