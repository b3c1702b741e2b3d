"""Folders that nobody has published: photos with label maps of their names, or photos alone."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from ..datasets.folders import LABEL_FOLDER, label_maps_in
from .class_tables import cityscapes
from .found import Found, Item, LayoutError, by_split, matched, pictures_in, require_most

SUFFIX = re.compile(
    r"[_-](masks?|labels?|labelids|labeltrainids|gt|gtfine_\w+|seg|segmentation|annotation)$",
    re.IGNORECASE,
)
"""What label maps have behind the names of their photos."""


OTHER_MAPS = re.compile(r"[_-](instanceids|color|colour|depth|disparity)$", re.IGNORECASE)
"""Behind the names of maps that hold other things than classes, beside some that do."""


def find_pairs(folder: Path, labels: str | None = None) -> Found | None:
    """Photos and label maps of the same names, in folders beside each other or in one.

    labels: the folder of the label maps, where there are several or its name does not tell.
    """
    pictures = pictures_in(folder)
    if labels is not None:
        map_folder = folder / labels
        maps = [path for path in pictures if map_folder in path.parents]
        if not maps:
            raise LayoutError(f"{map_folder} holds no pictures; name the folder of the label maps.")
        others = label_maps_in(folder)
    else:
        maps = sorted(label_maps_in(folder) & set(pictures))
        others = set(maps)
        maps = _of_one_kind(maps, folder)
    if not maps:
        return None
    photos = [path for path in pictures if path not in others and path not in maps]
    if not photos:
        raise LayoutError(
            f"{folder} holds label maps ({maps[0].relative_to(folder)}) and no photos: put those "
            "of the same names beside them, in a folder images."
        )
    found = matched(photos, maps, folder, lambda stem: SUFFIX.sub("", stem))
    notes = require_most(
        photos,
        found,
        folder,
        "label map of their name",
        "Give each label map the name of its photo, such as images/01.jpg and masks/01.png; for "
        "edges of the photos alone say --condition edge.",
    )
    if unused := set(maps) - set(found.values()):
        first = sorted(unused)[0].relative_to(folder)
        notes += (f"{len(unused)} label maps have no photo of their name, such as {first}.",)
    items = [Item(photo, label) for photo, label in found.items()]
    endings = {label.stem.rpartition("_gtFine_")[2] for label in found.values()}
    mask = None
    if endings in ({"labelIds"}, {"labelTrainIds"}):
        mask = cityscapes(endings == {"labelTrainIds"})
    return Found("photos with label maps", by_split(items, folder), mask, notes=notes)


def find_photos(folder: Path) -> Found | None:
    """Every picture that is no label map of another."""
    maps = label_maps_in(folder)
    photos = [path for path in pictures_in(folder) if path not in maps]
    if not photos:
        return None
    notes = (f"{len(maps)} label maps beside the photos are left out.",) if maps else ()
    items = [Item(photo) for photo in photos]
    return Found("photos alone", by_split(items, folder), notes=notes)


def _of_one_kind(maps: list[Path], folder: Path) -> list[Path]:
    """The label maps of the one folder that holds classes. Raises LayoutError for several."""
    maps = [path for path in maps if not OTHER_MAPS.search(path.stem)] or maps
    kinds: Counter[str] = Counter()
    kind_of = {}
    for path in maps:
        parts = path.relative_to(folder).parts[:-1]
        kind_of[path] = next((part for part in parts if LABEL_FOLDER.fullmatch(part.lower())), "")
        kinds[kind_of[path]] += 1
    if len(kinds) > 1:
        # Of SegmentationClass and SegmentationObject the second numbers single things.
        kinds = Counter({kind: n for kind, n in kinds.items() if "object" not in kind.lower()})
    if len(kinds) > 1:
        raise LayoutError(
            f"{folder} has several folders that may hold the label maps, {', '.join(kinds)}: say "
            "which by --labels, such as --labels masks."
        )
    return [path for path in maps if kind_of[path] in kinds]
