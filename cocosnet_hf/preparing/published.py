"""Published scenes as they are downloaded: Cityscapes, ADE20K and COCO-Stuff."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from ..conditions import MaskCondition
from ..datasets.metadata import split_of
from .class_tables import COCO_STUFF, cityscapes, coco_stuff
from .found import Found, Item, LayoutError, by_split, matched, pictures_in, require_most


def find_cityscapes(folder: Path) -> Found | None:
    """leftImg8bit/<split>/<city>/X_leftImg8bit.png with gtFine/.../X_gtFine_labelIds.png.

    Label maps of labelTrainIds, where they have been made, are preferred. The test split has no
    true labels and is left out.
    """
    labels, photos = folder / "gtFine", folder / "leftImg8bit"
    if not any(labels.rglob("*_gtFine_*")) and not photos.is_dir():
        return None
    if not photos.is_dir() and any(labels not in path.parents for path in pictures_in(folder)):
        return None  # photos in folders of other names
    if not photos.is_dir():
        raise LayoutError(
            f"{folder} has the labels of Cityscapes (gtFine) and not its photos: unpack "
            "leftImg8bit_trainvaltest.zip beside gtFine."
        )
    for kind in ("labelTrainIds", "labelIds"):
        files = sorted(labels.rglob(f"*_gtFine_{kind}.png"))
        if files:
            break
    else:
        raise LayoutError(
            f"{folder} has the photos of Cityscapes and no gtFine/.../*_gtFine_labelIds.png: "
            "unpack gtFine_trainvaltest.zip beside leftImg8bit; colour and instance maps alone "
            "do not hold the classes. For edges of the photos alone, name leftImg8bit."
        )
    pictures = [
        path for path in pictures_in(photos) if split_of(path.relative_to(photos)) != "test"
    ]
    found = {}
    for photo in pictures:
        city = photo.relative_to(photos).parent
        name = photo.name.replace("_leftImg8bit", f"_gtFine_{kind}")
        if (label := labels / city / name).is_file():
            found[photo] = label
    notes = require_most(
        pictures, found, folder, f"*_gtFine_{kind}.png", "Unpack all of gtFine_trainvaltest.zip."
    )
    if (photos / "test").is_dir():
        notes += ("The test split has no true labels and is left out.",)
    items = [Item(photo, label) for photo, label in found.items()]
    return Found(
        "Cityscapes", by_split(items, photos), cityscapes(kind == "labelTrainIds"), notes=notes
    )


def find_ade20k(folder: Path) -> Found | None:
    """images/{training,validation} with annotations/{training,validation}: ADEChallengeData2016."""
    if next(folder.rglob("ADE_*_seg.png"), None):
        raise LayoutError(
            f"{folder} holds the full ADE20K (ADE_*_seg.png), whose labels are colours of "
            "thousands of parts: take the scene parsing benchmark of it, ADEChallengeData2016.zip."
        )
    told = "ade" in folder.name.lower() or (folder / "objectInfo150.txt").is_file()
    if not (told and (folder / "images").is_dir()):
        return None
    if not (folder / "annotations").is_dir():
        raise LayoutError(
            f"{folder} has the photos of ADE20K and no folder annotations beside images: unpack "
            "all of ADEChallengeData2016.zip. For edges of the photos alone, name images."
        )
    mask = dataclasses.replace(MaskCondition.ade20k(), values={255: 0})
    return _of_two_folders(folder, "ADE20K", folder / "images", folder / "annotations", mask)


def find_coco_stuff(folder: Path) -> Found | None:
    """train2017 and val2017, or these in images, with stuffthingmaps (values 0..181, 255)."""
    labels = next((path for path in sorted(folder.rglob("stuffthingmaps*")) if path.is_dir()), None)
    if labels is None:
        return None
    photos = folder / "images" if (folder / "images").is_dir() else folder
    splits = [
        path for path in sorted(photos.iterdir()) if re.match(r"(train|val)20\d\d", path.name)
    ]
    splits = [path for path in splits if labels not in (path, *path.parents)]
    if not splits:
        raise LayoutError(
            f"{folder} has the labels of COCO-Stuff ({labels.name}) and not its photos: unpack "
            "train2017.zip and val2017.zip beside it."
        )
    listed = folder / "labels.txt"
    names: tuple[str, ...] = COCO_STUFF
    if listed.is_file():  # "1: person", of the value 0
        lines = [
            line.partition(":")[2].strip()
            for line in listed.read_text(encoding="utf-8-sig").splitlines()
        ]
        names = tuple(name for name in lines if name and name != "unlabeled")
    pictures = [path for split in splits for path in pictures_in(split)]
    return _of_files(
        folder, "COCO-Stuff", pictures, pictures_in(labels), coco_stuff(names), str(labels.name)
    )


def _of_two_folders(
    folder: Path, layout: str, photos: Path, labels: Path, mask: MaskCondition
) -> Found:
    return _of_files(folder, layout, pictures_in(photos), pictures_in(labels), mask, labels.name)


def _of_files(
    folder: Path,
    layout: str,
    photos: Sequence[Path],
    labels: Sequence[Path],
    mask: MaskCondition,
    place: str,
) -> Found:
    found = matched(photos, labels, folder)
    notes = require_most(
        photos, found, folder, f"label map in {place}", "Unpack all of the labels there."
    )
    items = [Item(photo, label) for photo, label in found.items()]
    return Found(layout, by_split(items, folder), mask, notes=notes)
