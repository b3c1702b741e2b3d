"""Opening pipelines: the small trained ones that ship with the package, and all others."""

from __future__ import annotations

from pathlib import Path

import torch

from .image_translation import ImageTranslationPipeline
from .pipeline import CoCosPipeline
from .saved_files import INDEX_FILE, only_variant, read_json
from .systems import saved_class
from .transfer import files_of

ASSETS = Path(__file__).parent / "assets"

READERS = {
    "pose-to-body": ("person-reader",),
    "mask-to-image": ("mask-reader", "person-reader"),
    "mask-to-landscape": ("landscape-reader",),
    "edge-to-face": ("face-reader",),
}
"""The networks that read photos and layouts for a pipeline, by the folders of their weights."""


def bundled_names() -> list[str]:
    """Names that `bundled` knows."""
    return sorted(path.parent.name for path in ASSETS.glob("*/model_index.json"))


def locate(name: str, variant: str | None = None) -> tuple[str | Path, str | None]:
    """Source and variant from which `from_pretrained` opens what a user named.

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


def open_model(
    name: str, variant: str | None = None, dtype: torch.dtype = torch.float32
) -> ImageTranslationPipeline:
    """A pipeline of any system that a user named, as it was saved; see `locate`.

    dtype: the precision it computes in. Raises what `saved_class` raises, and `from_pretrained` of
    that class.
    """
    source, variant = locate(name, variant)
    return saved_class(source).from_pretrained(source, variant=variant, dtype=dtype)


def bundled(name: str, dtype: torch.dtype = torch.float32) -> CoCosPipeline:
    """Open a pipeline that ships with this package, folded and ready to paint.

    name: one of `bundled_names()`. dtype: the precision it computes in; the files are float16.
    `ASSETS / name / "README.md"` is its card: on what and how it was trained, under which terms it
    may be used, what it is worth. Raises ValueError for another name.
    """
    if name not in bundled_names():
        raise ValueError(
            f"no bundled pipeline is called {name!r}; there are {', '.join(bundled_names())}. A "
            f"folder or a Hub id is opened with cocosnet_hf.open_model."
        )
    source, variant = locate(name)
    return CoCosPipeline.from_pretrained(source, variant=variant, dtype=dtype).fold()
