"""Metadata as files hold them: EXIF, chunks of PNG, colour profiles."""

import struct
import zlib
from collections.abc import Sequence

Entry = tuple[int, int, int, bytes]
"""Of an EXIF table: tag, type, count, and four bytes that are the value or say where it lies."""

SRGB_PRIMARIES = (
    (0.43607, 0.22249, 0.01392),
    (0.38515, 0.71687, 0.09708),
    (0.14307, 0.06061, 0.7141),
)
ADOBE_PRIMARIES = (
    (0.60974, 0.31111, 0.01947),
    (0.20528, 0.62567, 0.06087),
    (0.14919, 0.06322, 0.74457),
)
"""XYZ of red, green and blue, adapted to D50."""


def exif_block(entries: Sequence[Entry], extra: bytes = b"") -> bytes:
    """EXIF in little-endian order; `extra` follows the table."""
    body = struct.pack("<H", len(entries))
    for tag, kind, count, value in entries:
        body += struct.pack("<HHI", tag, kind, count) + value
    return b"Exif\0\0II" + struct.pack("<HI", 42, 8) + body + struct.pack("<I", 0) + extra


def turned_by_tag(orientation: int) -> Entry:
    """The entry of an orientation."""
    return 0x112, 3, 1, struct.pack("<HH", orientation, 0)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(png: bytes, chunk: bytes, before: bytes) -> bytes:
    """A PNG with a further chunk before the first of the kind `before`."""
    place = png.index(before) - 4
    return png[:place] + chunk + png[place:]


def matrix_profile(
    space: bytes = b"RGB ",
    primaries: Sequence[tuple[float, float, float]] = ADOBE_PRIMARIES,
    gamma: float = 2.2,
) -> bytes:
    """A colour profile of the ICC's version 2 for RGB or grey pixels."""

    def number(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def place(values: Sequence[float]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(number, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    name = b"made for a test\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + b"\0" * 78
    tags = [
        (b"desc", text),
        (b"cprt", b"text\0\0\0\0none\0"),
        (b"wtpt", place((0.9642, 1, 0.8249))),
    ]
    if space == b"RGB ":
        tags += [
            (key, place(xyz))
            for key, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)
        ]
        tags += [(key, curve) for key in (b"rTRC", b"gTRC", b"bTRC")]
    else:
        tags.append((b"kTRC", curve))
    start, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for key, data in tags:
        data += b"\0" * (-len(data) % 4)
        table += key + struct.pack(">II", start + len(body), len(data))
        body += data
    head = struct.pack(">I4xI4s4s4s", start + len(body), 0x02400000, b"mntr", space, b"XYZ ")
    head = head.ljust(36, b"\0") + b"acsp"
    head = head.ljust(68, b"\0") + b"".join(map(number, (0.9642, 1, 0.8249)))
    return head.ljust(128, b"\0") + table + body
