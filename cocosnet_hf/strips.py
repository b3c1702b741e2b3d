"""What a pipeline was given and what it made of it, side by side in one picture."""

from __future__ import annotations

from os import PathLike
from typing import Any

from PIL import Image

from .pictures import grid, open_photo
from .pipeline import CoCosPipeline, CoCosPipelineOutput


def call_strip(
    pipe: CoCosPipeline,
    condition: Any,
    exemplar: str | PathLike[str] | Image.Image,
    out: CoCosPipelineOutput,
) -> Image.Image:
    """Condition, exemplar, warped exemplar and result of a call, as high as the result.

    condition, exemplar: what the call was given. out: what it returned, with PIL images.
    """
    result = out.images[0]
    shown = pipe.condition.preview(pipe.condition.encode(condition, result.height, result.width))
    look = open_photo(exemplar, "exemplar")
    look = look.resize((result.height * look.width // look.height, result.height))
    return grid([[shown, look, out.warped_exemplars[0], result]])
