"""Pictures of files, read whole, and compared."""

from os import PathLike
from typing import IO

import numpy as np
from PIL import Image


def whole_picture(path: str | PathLike[str] | IO[bytes]) -> Image.Image:
    """As `Image.open`, but the file does not stay open."""
    with Image.open(path) as picture:
        picture.load()
    return picture


def assert_same_but_for_rounding(picture: Image.Image, other: Image.Image) -> None:
    """Loaded weights may lie otherwise in memory than made ones and be summed in another order."""
    np.testing.assert_allclose(np.asarray(picture, int), np.asarray(other, int), rtol=0, atol=1)
