"""Left and right in names: what a mirror image exchanges."""

from __future__ import annotations

import re
from collections.abc import Sequence


def mirrored_order(names: Sequence[str]) -> list[int]:
    """For every name the index of its mirror image: "l_eye" for "r_eye"; itself if there is none.

    Sides are the words l, r, left and right, at any place, set off by a space, "_" or "-".
    """
    other = {"l": "r", "r": "l", "left": "right", "right": "left"}

    def mirrored(name: str) -> str:
        words = re.split(r"([ _-])", name)
        return "".join(other.get(word.lower(), word.lower()) for word in words)

    index = {name.lower(): position for position, name in enumerate(names)}
    return [index.get(mirrored(name), position) for position, name in enumerate(names)]
