"""Pictures as large as files may be, made smaller in little memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image

from cocosnet_hf.conditions.label_files import native
from cocosnet_hf.pictures import Refused

MAX_PIXELS = 25_000_000
"""Pictures with more are refused before they are decoded; most phones make 12 or 24 million."""

MAX_PIXELS_OF = {"WEBP": 13_000_000}
"""By Pillow's name of a format whose decoder holds all pixels four times: 16 bytes for each."""

STRIP = 1 << 20
"""Pixels that are made smaller at a time: with transparency each takes four times its bytes."""

GAP = 2
"""How many times too large a picture may stay before its pixels are weighed, as in Pillow."""


def require_few_pixels(image: Image.Image, what: str) -> None:
    """Raise ValueError for a picture, not yet decoded, that would take too much memory."""
    most = MAX_PIXELS_OF.get(image.format or "", MAX_PIXELS)
    if image.width * image.height > most:
        kind, remedy = "", "Make it smaller first"
        if most < MAX_PIXELS:
            kind, remedy = (
                f" of a {image.format} file",
                "Make it smaller, or save it as JPEG or PNG",
            )
        raise Refused(
            f"The {what} has {image.width} x {image.height} pixels; at most "
            f"{most // 10**6} million are read{kind}. {remedy}."
        )


def shrunk(
    picture: Image.Image, side: int, resample: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """A picture whose longer side has at most `side` pixels, as Pillow's thumbnails are; it may be
    the same object, changed, and is closed if not."""
    factor = max(picture.size) // (side * GAP)
    if picture.mode in ("RGBA", "LA") and factor > 1 and resample != Image.Resampling.NEAREST:
        picture = _in_strips(picture, factor)
    picture = native(picture)
    # Pillow reduces every mode but these by whole factors first.
    gap = None if picture.mode.startswith("I;16") else float(GAP)
    whole = picture.getextrema() if picture.mode[0] in "IF" else None
    picture.thumbnail((side, side), resample, gap)
    return picture if whole is None else _within(picture, *whole)


def _within(picture: Image.Image, low: Any, high: Any) -> Image.Image:
    """One plane of any numbers without what filters add beyond the lowest and the highest."""
    found = Image.fromarray(np.asarray(picture).clip(low, high))
    found.info = picture.info
    return found


def _in_strips(picture: Image.Image, factor: int) -> Image.Image:
    """`picture.reduce(factor)`, which weighs all pixels by their opacity at once."""
    width, height = picture.size
    small = Image.new(picture.mode, (math.ceil(width / factor), math.ceil(height / factor)))
    rows = factor * max(1, STRIP // (width * factor))
    for top in range(0, height, rows):
        strip = picture.crop((0, top, width, min(height, top + rows)))
        small.paste(strip.reduce(factor), (0, top // factor))
    small.info = picture.info
    picture.close()  # what is made of the small one needs not its memory beside it
    return small
