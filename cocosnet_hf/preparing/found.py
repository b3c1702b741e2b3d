"""What is found in a folder: photos, what belongs to each, and which of them go together."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from ..conditions import MaskCondition
from ..datasets.folders import LABEL_FOLDER
from ..datasets.metadata import split_of

PHOTO_FOLDER = re.compile(r"(images?|imgs?|photos?|pictures?|jpegimages|leftimg8bit)([_-].*)?")
"""Names, in lower case, of folders that hold the photos of a data set."""

NAMED = 5
"""Files that a message names."""


class LayoutError(ValueError):
    """A folder of which a part is missing, or that may mean several things; the message says how
    to go on."""


@dataclasses.dataclass(frozen=True)
class Item:
    """A photo with its label map, keypoints (JSON text) or part files to merge (name, file)."""

    photo: Path
    label: Path | None = None
    keypoints: str | None = None
    parts: tuple[tuple[str, Path], ...] = ()


@dataclasses.dataclass(frozen=True)
class Found:
    """What a recogniser has found.

    layout: in words. splits: items by "train", "validation" or "test". mask: how the label maps are
    numbered; None where that is to be found out from them. sides: pairs of its classes that are
    each other's mirror image, where the names do not tell. notes: sentences about what was taken
    and what was left out.
    """

    layout: str
    splits: Mapping[str, Sequence[Item]]
    mask: MaskCondition | None = None
    sides: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def items(self) -> list[Item]:
        """Of all splits."""
        return [item for items in self.splits.values() for item in items]

    @property
    def has_labels(self) -> bool:
        """Whether there are label maps, or parts that become some."""
        return any(item.label is not None or item.parts for item in self.items)

    @property
    def has_keypoints(self) -> bool:
        """Whether there are poses."""
        return any(item.keypoints is not None for item in self.items)


def pictures_in(folder: Path) -> list[Path]:
    """Every picture file in a folder and those in it, in order; hidden ones are none."""
    known = Image.registered_extensions()
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in known
        and not any(part[0] in "._" for part in _below(path, folder))
    )


def matched(
    photos: Sequence[Path],
    others: Sequence[Path],
    root: Path,
    stem: Callable[[str], str] = lambda stem: stem,
) -> dict[Path, Path]:
    """For each photo the other file of its name: {photo: other}, what has none is left out.

    Names are compared with the folders they lie in, as far as needed to be unambiguous, but without
    those that only say photo or label map. stem: takes from the others' names what photos' lack.
    """
    by_key: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for photo in photos:
        key = _key(photo, root, photo.stem)
        for start in range(len(key)):
            by_key[key[start:]].append(photo)
    found: dict[Path, Path] = {}
    for other in others:
        key = _key(other, root, stem(other.stem))
        for start in range(len(key)):
            candidates = by_key.get(key[start:], [])
            if len(candidates) == 1:
                found.setdefault(candidates[0], other)
            if candidates:
                break
    return {photo: found[photo] for photo in photos if photo in found}


def by_split(items: Sequence[Item], root: Path) -> dict[str, list[Item]]:
    """Items by the split that the folders of their photos tell; without any all are train."""
    splits: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        splits[split_of(item.photo.relative_to(root)) or "train"].append(item)
    return dict(splits)


def shown(paths: Sequence[Path], root: Path) -> str:
    """The first few files of many, as a message names them."""
    names = ", ".join(str(path.relative_to(root)) for path in paths[:NAMED])
    return f"{names}, ..." if len(paths) > NAMED else names


def require_most(
    photos: Sequence[Path], found: Mapping[Path, object], root: Path, what: str, remedy: str
) -> tuple[str, ...]:
    """What is said of photos without their `what`. Raises LayoutError where most have none."""
    alone = [photo for photo in photos if photo not in found]
    if not alone:
        return ()
    text = f"{len(alone)} of {len(photos)} photos have no {what}: {shown(alone, root)}."
    if len(found) * 2 < len(photos):
        raise LayoutError(f"In {root}, {text} {remedy}")
    return (f"{text} They are left out.",)


def _below(path: Path, folder: Path) -> tuple[str, ...]:
    return path.relative_to(folder).parts


def _key(path: Path, root: Path, stem: str) -> tuple[str, ...]:
    """Folders and name by which a file is compared."""
    kind = (LABEL_FOLDER, PHOTO_FOLDER)
    folders = [
        part.lower()
        for part in _below(path, root)[:-1]
        if not any(pattern.fullmatch(part.lower()) for pattern in kind)
    ]
    return (*folders, stem)
