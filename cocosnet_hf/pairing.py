"""A photo and what belongs to it: they show the same, so they agree in shape and in turning."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from PIL import Image

from .notes import Note
from .orientation import TURNED, TURNS, turned, turned_by

ROUNDING = 0.01
"""Share by which the aspects of two pictures of the same may differ, beside a pixel's rounding."""

UPRIGHT = Note(
    "upright",
    "A photo is turned by its orientation tag, and what belongs to it has no tag of its own: it "
    "was taken as drawn on the upright photo. Save both upright, without a tag, to be sure.",
)
LIKEWISE = Note(
    "likewise",
    "A photo is turned by its orientation tag, and what belongs to it has the shape of the photo "
    "as stored: it was turned likewise. Save both upright, without a tag, to be sure.",
)


class Framed(Protocol):
    """A picture, or what is known of one without its pixels."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), upright."""

    @property
    def info(self) -> Mapping[Any, Any]:
        """With the tag by which it was turned, see `turned_by`."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """Size and turning of a picture whose pixels are not read."""

    size: tuple[int, int]
    info: Mapping[Any, Any]

    @property
    def width(self) -> int:
        """Upright."""
        return self.size[0]

    @property
    def height(self) -> int:
        """Upright."""
        return self.size[1]

    @classmethod
    def of(cls, stored: tuple[int, int], tag: int) -> Frame:
        """Of a picture that is stored in this (width, height), with this orientation tag."""
        size = stored[::-1] if tag >= 5 else stored
        return cls(size, {TURNED: tag} if tag in TURNS else {})


def fits(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether one picture may be the other at another size: their aspects agree.

    Each is (width, height) or each (height, width). Sides may be rounded to the next pixel.
    """
    across, down = size[0] * other[1], size[1] * other[0]
    rounding = max(sum(size), sum(other))  # one pixel more or less on each side of the smaller
    return abs(across - down) <= max(rounding, ROUNDING * max(across, down))


def lying_on(
    picture: Image.Image, photo: Framed, what: str
) -> tuple[Image.Image, tuple[Note, ...]]:
    """A label map or drawing as it lies on its photo, and what was taken where that is not clear.

    photo: upright, as `open_image` and `open_photo` return it. A label map without an orientation
    tag of its own may have been drawn on the photo's pixels as they are stored: then it is turned
    as the photo was, if its shape shows it. Raises ValueError, naming the picture by `what`, for
    one of another shape than its photo.
    """
    tag = turned_by(photo)
    fitting = fits(picture.size, photo.size)
    if tag == 1 or turned_by(picture) != 1:
        if fitting:
            return picture, ()
    elif fitting:
        picture.info[TURNED] = tag  # settled, and not asked again
        shape_tells = tag >= 5 and not fits(photo.size[::-1], photo.size)
        return picture, () if shape_tells else (UPRIGHT,)
    elif tag >= 5 and fits(picture.size[::-1], photo.size):
        picture = turned(picture, tag)
        picture.info[TURNED] = tag
        return picture, (LIKEWISE,)
    raise misfit(picture.size, photo.size, what)


def misfit(size: tuple[int, int], photo: tuple[int, int], what: str) -> ValueError:
    """That a picture and its photo, (width, height) each, are of different shapes."""
    return ValueError(
        f"The {what} has {size[0]} x {size[1]} pixels (width x height) and its photo {photo[0]} x "
        f"{photo[1]}, which is another shape, so that they do not lie on each other. Check that "
        "they belong together and that neither is turned; cut or resize one as the other was."
    )
