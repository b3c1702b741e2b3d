"""Picture files to loaded pictures: their pixels, whatever their metadata hold."""

from __future__ import annotations

import importlib
import io
import os
import re
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, TypeAlias

from PIL import Image, PngImagePlugin

from .orientation import only_orientation

File: TypeAlias = "str | os.PathLike[str] | BinaryIO"

PNG_START = b"\x89PNG\r\n\x1a\n"

PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
"""The chunks that the pixels need."""

PNG_MEANING = (b"iCCP", b"sRGB", b"gAMA")
"""The chunks that say how pixels are shown, beside EXIF; kept where they are whole."""

JPEG_START = b"\xff\xd8"

DEEP = "deep"
"""In the `info` of a loaded picture: that its file has 16 bits in each of several channels, of
which Pillow keeps the upper 8."""

LOSSY = "lossy"
"""In the `info` of a loaded picture: that its file is of a format that changes pixels."""

SEVERAL = "several"
"""In the `info` of a loaded picture: that its file holds others, such as frames or pages."""

LOSSY_FORMATS = ("JPEG", "MPO", "AVIF", "HEIF")
"""Of Pillow's; WebP tells by its head."""

LOSSY_HEAD = re.compile(rb"^(\xff\xd8\xff|RIFF....WEBPVP8[ ])", re.DOTALL)
"""How files of JPEG and of lossy WebP begin."""

HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
"""What a file of the HEIF family that is no AVIF says behind "ftyp" (ISO/IEC 23008-12)."""


def read_file(
    file: File,
    formats: tuple[str, ...] | None = None,
    before: Callable[[Image.Image], None] | None = None,
) -> Image.Image:
    """A picture file, loaded.

    A PNG or JPEG whose metadata are damaged, or larger than Pillow accepts, is read without them;
    HEIC is read where the package pillow-heif is installed.
    formats: Pillow's names of those allowed. before: looks at the picture before it is decoded,
    and may refuse it.

    Raises Image.DecompressionBombError above Pillow's size limit, UnidentifiedImageError,
    FileNotFoundError and whatever Pillow raises for a damaged file.
    """
    if isinstance(file, (str, os.PathLike)) and stat.S_ISFIFO(os.stat(file).st_mode):
        with open(file, "rb") as stream:  # a pipe can be read once
            file = io.BytesIO(stream.read())
    if is_heic(file):
        register_heic()
    try:
        image = _opened(file, formats)
    except (Image.DecompressionBombError, FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception:  # damaged metadata raise what their bytes lead to
        bare = without_text(file)
        if bare is None:
            raise
        image = _opened(bare, formats)
    if before is not None:
        before(image)
    return loaded(image)


def loaded(image: Image.Image) -> Image.Image:
    """An opened picture with its pixels; a file that cannot be read is closed."""
    stream = getattr(image, "fp", None)
    if _is_deep(image):
        image.info[DEEP] = True
    if image.format in LOSSY_FORMATS or (
        image.format == "WEBP" and LOSSY_HEAD.match(_content(stream, 16))
    ):
        image.info[LOSSY] = True
    if image.format != "MPO" and _holds_several(image):
        image.info[SEVERAL] = True  # an MPO's others are thumbnails of the first
    try:
        image.load()
    except BaseException as error:
        bare = without_text(stream) if isinstance(error, Exception) else None
        image.close()
        if bare is None:
            raise
        try:
            image = _opened(bare, None)
            image.load()
        except Exception:  # what is wrong are the pixels, so what was said at first stands
            raise error from None
    return image


def _holds_several(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a second one there is, but damaged, which says nothing of the first
        return True


def _opened(file: File, formats: tuple[str, ...] | None) -> Image.Image:
    """Image.open, which up to twice its size limit only warns, with an error instead."""
    image = Image.open(file) if formats is None else Image.open(file, formats=formats)
    # By hand: turning warnings into errors for a moment would do so in all threads.
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or float("inf")):
        image.close()
        raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
    return image


def _is_deep(image: Image.Image) -> bool:
    """Whether a picture that is opened and not yet decoded loses half of its bits."""
    tiles = getattr(image, "tile", None)
    if not tiles or image.mode not in ("RGB", "RGBA", "LA"):
        return False
    raw = tiles[0][3]  # how the bytes of the file are laid out, alone or before other arguments
    return ";16" in str(raw[0] if isinstance(raw, tuple) and raw else raw)


def without_text(file: File | None) -> io.BytesIO | None:
    """A PNG or JPEG with nothing but its pixels and what says how they are shown, else None."""
    start = _content(file, len(PNG_START))
    if start == PNG_START:
        return io.BytesIO(b"".join([PNG_START, *_bare_png(_content(file, None))]))
    if start.startswith(JPEG_START):
        return io.BytesIO(b"".join([JPEG_START, *_bare_jpeg(_content(file, None))]))
    return None


def _bare_png(data: bytes) -> Iterator[bytes]:
    for kind, body, whole in _chunks(data):
        if kind == b"eXIf":
            exif = only_orientation(body)
            yield struct.pack(">I", len(exif)) + kind + exif
            yield struct.pack(">I", zlib.crc32(kind + exif))
        elif kind in PNG_PIXELS or (kind in PNG_MEANING and _is_usable(kind, body, whole)):
            yield whole


def _bare_jpeg(data: bytes) -> Iterator[bytes]:
    offset = len(JPEG_START)
    while offset + 4 <= len(data) and data[offset] == 0xFF:
        marker, size = struct.unpack_from(">xBH", data, offset)
        if marker == 0xFF:  # filling
            offset += 1
            continue
        if marker == 0xDA:  # from here on lie the pixels
            break
        body, whole = data[offset + 4 : offset + 2 + size], data[offset : offset + 2 + size]
        if body.startswith(b"Exif\0\0"):
            exif = b"Exif\0\0" + only_orientation(body)
            yield struct.pack(">BBH", 0xFF, marker, 2 + len(exif)) + exif
        elif not (0xE0 <= marker <= 0xEF or marker == 0xFE) or _tells_colors(body):
            yield whole
        offset += 2 + size
    yield data[offset:]


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """The kind and body of each chunk of a PNG, and the whole of it."""
    offset = len(PNG_START)
    while offset + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        yield kind, data[offset + 8 : offset + 8 + size], data[offset : offset + 12 + size]
        offset += 12 + size


def _tells_colors(body: bytes) -> bool:
    """Whether an application segment of a JPEG holds a profile, or says how planes are stored."""
    return body.startswith(b"ICC_PROFILE\0") or (body.startswith(b"Adobe") and len(body) >= 12)


def _is_usable(kind: bytes, body: bytes, whole: bytes) -> bool:
    """Whether Pillow can read a chunk: a profile may not unpack to more than its limit."""
    if struct.pack(">I", zlib.crc32(kind + body)) != whole[-4:]:
        return False
    if kind != b"iCCP":
        return True
    try:
        unpacked = zlib.decompressobj().decompress(
            body.partition(b"\0")[2][1:], PngImagePlugin.MAX_TEXT_CHUNK
        )
    except zlib.error:
        return False
    return len(unpacked) < PngImagePlugin.MAX_TEXT_CHUNK


def _content(file: File | None, limit: int | None) -> bytes:
    """The first bytes of a file, or all; none where it cannot be read again from its start."""
    try:
        if isinstance(file, (str, os.PathLike)):
            with open(file, "rb") as stream:
                return stream.read(-1 if limit is None else limit)
        if file is None:
            return b""
        file.seek(0)
        found = file.read(-1 if limit is None else limit)
        file.seek(0)
        return found
    except (OSError, ValueError):  # gone, a pipe, or closed
        return b""


def is_heic(file: File) -> bool:
    """Whether a file is of the HEIF family, as phones write it, and no AVIF."""
    head = _content(file, 12)
    return head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS


def register_heic() -> bool:
    """Teach Pillow to read HEIC by the package pillow-heif; False where it is not installed."""
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return False
    return True
