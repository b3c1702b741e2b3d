"""What the files of label maps do to them: what was taken is said, see `meaning`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from ..notes import Note
from ..picture_files import LOSSY, SEVERAL

GIF = (b"GIF87a", b"GIF89a")
"""What Pillow's `info` of a GIF says."""

FEW = 32
"""Classes up to which colours are hardly all near those of different ones by chance."""

AS_PNG = "Export it again as PNG, as an index map in mode L."


def notes_of_file(info: Mapping[Any, Any], is_colored: bool) -> tuple[Note, ...]:
    """What is to be said of the file that a mask picture comes from.

    info: of the picture as it was opened. is_colored: whether it is read by its colours.
    """
    notes = []
    if info.get(SEVERAL):
        text = "The mask's file holds several pictures, frames or pages; the first was read."
        notes.append(Note("several", f"{text} Save the one that is meant in a file of its own."))
    if is_colored:
        return tuple(notes)
    if info.get(LOSSY):
        text = (
            "The mask's file is JPEG, WebP or the like, which changes class numbers along every "
            "edge; they were read as they are there."
        )
        notes.append(Note("lossy", f"{text} {AS_PNG}"))
    return tuple(notes)


def notes_of_entries(
    info: Mapping[Any, Any], near: np.ndarray, named: np.ndarray, count: int
) -> tuple[Note, ...]:
    """What is to be said of a palette that is read by its numbers, as none has a class's colour.

    near, named (N,): the class whose colour is near an entry's, -1 for none, and that of its
    number. count: of all classes.
    """
    notes = []
    if info.get("version") in GIF:
        text = (
            "The mask is a GIF whose palette has not the colours of classes: the numbers of its "
            "entries were read, which programs change as they save a GIF."
        )
        notes.append(Note("gif", f"{text} {AS_PNG}"))
    distinct = len(near) > 1 and len(set(near.tolist())) == len(near) and bool((near >= 0).all())
    if distinct and count <= FEW and not (near == named).all():
        text = (
            "The mask's palette is near the colours of classes in another order than its numbers, "
            "but not in them; the numbers were read. For the colours, give each entry exactly that "
            "of its class, or save the picture as RGB and set snap_colors=True."
        )
        notes.append(Note("near", text))
    return tuple(notes)


def native(image: Image.Image) -> Image.Image:
    """16 bits in the order of this machine, as Pillow computes with; others as they are."""
    if not image.mode.startswith("I;16") or image.mode == "I;16":
        return image
    found = Image.fromarray(np.asarray(image).astype(np.uint16))
    found.info = image.info
    return found
