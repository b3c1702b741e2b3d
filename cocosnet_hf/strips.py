"""What a pipeline was given and what it made of it, side by side in one picture."""

from __future__ import annotations

from os import PathLike
from typing import Any

from PIL import Image

from .image_translation import ImageTranslationOutput, ImageTranslationPipeline
from .pictures import grid, open_photo


def call_strip(
    pipe: ImageTranslationPipeline,
    condition: Any,
    exemplar: str | PathLike[str] | Image.Image,
    out: ImageTranslationOutput,
) -> Image.Image:
    """Condition, exemplar, warped exemplar where there is one, and result, as high as the result.

    condition, exemplar: what the call was given. out: what it returned, with PIL images.
    """
    result = out.images[0]
    shown = pipe.condition.preview(pipe.condition.encode(condition, result.height, result.width))
    look = open_photo(exemplar, "exemplar")
    look = look.resize((result.height * look.width // look.height, result.height))
    warped = [] if out.warped_exemplars is None else [out.warped_exemplars[0]]
    return grid([[shown, look, *warped, result]])
