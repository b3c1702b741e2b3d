"""Opening pipelines: the small trained ones that ship with the package, and all others."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch

from .image_translation import ImageTranslationPipeline
from .pipeline import CoCosPipeline
from .systems import saved_class
from .transfer import INDEX_FILE

ASSETS = Path(__file__).parent / "assets"

VARIANT = re.compile(r"diffusion_pytorch_model\.([^.-]+)[.-]")
"""Weights of a variant, ....fp16.safetensors or ....fp16-00001-of-00002.safetensors."""


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
    index = Path(name, INDEX_FILE)
    recorded = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
    networks = [key for key, value in recorded.items() if isinstance(value, list)]
    found = {
        file.name for network in networks for file in Path(name, network).glob("*.safetensors")
    }
    variants = {match[1] for file in found if (match := VARIANT.match(file))}
    plain = any(VARIANT.match(file) is None for file in found)
    return name, None if plain or len(variants) != 1 else variants.pop()


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
