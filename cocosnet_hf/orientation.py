"""Turning a picture upright by its orientation tag, whatever else its metadata hold."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Protocol

from PIL import ExifTags, Image, ImageOps

ORIENTATION = int(ExifTags.Base.Orientation)

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What sets a picture upright, by its orientation tag (EXIF 2.3, tag 0x0112); 1 is upright."""

SAID_BY = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
"""Where Pillow's `info` holds the tag."""

TURNED = "turned"
"""In the `info` of a picture that `upright` returns: the tag by which it was turned."""


class WithInfo(Protocol):
    """A picture, or what is known of one."""

    @property
    def info(self) -> Mapping[Any, Any]:
        """As Pillow's pictures have it."""


def upright(image: Image.Image, own: bool = False) -> Image.Image:
    """A copy of a loaded picture, turned as its orientation tag says; damaged tags turn nothing.

    `turned_by` tells of the copy how it was stored. own: nobody else has the picture, so that one
    which says nothing of turning needs no copy.
    """
    tag, result = orientation(image), None
    if own and tag == 1 and not any(key in image.info for key in SAID_BY):
        return image
    if (_shows(image) or 1) == tag:
        try:
            result = ImageOps.exif_transpose(image)
        except Exception:  # it writes all other tags anew, which fails for some that it has read
            pass
    if result is None:
        result = turned(image.copy(), tag)
        for key in SAID_BY:  # what has been turned is not turned again
            result.info.pop(key, None)
    if tag in TURNS:
        result.info[TURNED] = tag
    return result


def turned_by(image: WithInfo) -> int:
    """The orientation tag by which a picture of `upright` was turned: 1 where it was not."""
    return image.info.get(TURNED, 1)


def turned(image: Image.Image, tag: int) -> Image.Image:
    """A picture turned as a photo with this orientation tag is, 1..8."""
    return image.transpose(TURNS[tag]) if tag in TURNS else image


def orientation(image: Image.Image) -> int:
    """The orientation tag of a picture, 1..8; 1 where there is none, or one that means nothing."""
    found = _shows(image)
    if found is None:
        found = in_exif(image.info.get("exif"))
    return found if found in TURNS else 1


def _shows(image: Image.Image) -> int | None:
    """The tag as Pillow reads it; None where it finds none or cannot read the tags."""
    try:
        found = image.getexif().get(ORIENTATION)
    except Exception:  # damaged tags raise what their bytes lead to
        return None
    return found if isinstance(found, int) else None


def in_exif(block: object) -> int | None:
    """The tag in a block of EXIF, looked up without reading any other tag.

    Pillow stops at the first damaged tag, which lies before this one where a maker's name is cut.
    """
    if not isinstance(block, bytes):
        return None
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, amount, value = struct.unpack_from(f"{order}HHIH", block, entry)
            if (tag, kind, amount) == (ORIENTATION, 3, 1):  # one unsigned short
                return value
    except struct.error:  # the block ends before its table
        pass
    return None


def only_orientation(block: bytes) -> bytes:
    """A block of EXIF with nothing but the orientation of another, which may be damaged."""
    entry = struct.pack("<HHIHH", ORIENTATION, 3, 1, in_exif(block) or 1, 0)
    return b"II*\0\x08\0\0\0\x01\0" + entry + bytes(4)
