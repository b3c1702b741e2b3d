"""What a pipeline was given and what it made of it, side by side in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

from PIL import Image

from .conditions import open_photo
from .pipeline import CoCosPipeline, CoCosPipelineOutput


def strip(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one height side by side."""
    joined = Image.new("RGB", (sum(picture.width for picture in pictures), pictures[0].height))
    left = 0
    for picture in pictures:
        joined.paste(picture, (left, 0))
        left += picture.width
    return joined


def call_strip(
    pipe: CoCosPipeline, condition: Any, exemplar: str | PathLike[str], out: CoCosPipelineOutput
) -> Image.Image:
    """Condition, exemplar, warped exemplar and result of a call, as high as the result.

    condition, exemplar: what the call was given, the exemplar as a file. out: what it returned,
    with PIL images.
    """
    result = out.images[0]
    shown = pipe.condition.preview(pipe.condition.encode(condition, result.height, result.width))
    look = open_photo(exemplar)
    look = look.resize((result.height * look.width // look.height, result.height))
    return strip([shown, look, out.warped_exemplars[0], result])
