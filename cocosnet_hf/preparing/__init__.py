"""From a folder of photos as people have them to data and a recipe that the trainer takes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..conditions import MaskCondition
from ..datasets import DataReport, check_data
from ..datasets.folders import LABEL_FOLDER
from ..datasets.metadata import split_of
from ..datasets.settings import ColumnSettings, DataSettings
from ..settings_file import build
from .faces import find_celebamask
from .found import PHOTO_FOLDER, Found, Item, LayoutError, pictures_in
from .labels import mask_of, survey
from .pairs import find_pairs, find_photos
from .people import find_people, find_viton
from .published import find_ade20k, find_cityscapes, find_coco_stuff
from .reading import read_people
from .recipe import Kind, Plan, recipe, write_recipe
from .writing import hub_data_set, leave_out, size_of, with_validation, write_metadata

RECOGNISERS: tuple[Callable[[Path], Found | None], ...] = (
    find_cityscapes,
    find_celebamask,
    find_coco_stuff,
    find_ade20k,
    find_viton,
    find_people,
    find_pairs,
    find_photos,
)
"""One for each layout, the more particular first; each returns None for another layout."""

PARTS_OF_SETS = (LABEL_FOLDER, re.compile(r"stuffthingmaps.*|.*mask-anno|openpose.*|celeba-hq-img"))
"""Names, in lower case, of folders that are half of a data set."""

MEASURED = 200
"""Photos whose size is looked at."""

CHECKED = 2000
"""Rows of each split that are read before the recipe is written; the trainer can check them all."""


WRITTEN = ("recipe.yaml", "pairs.png")
"""Beside the folders of the splits."""


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What was made of a folder.

    found: and how it is trained on. reports: on what was read of each split. left_out: photos whose
    rows cannot be used. recipe: the file to train with.
    """

    found: Found
    plan: Plan
    reports: dict[str, DataReport]
    left_out: int
    recipe: Path


def recognised(folder: Path, labels: str | None = None, photos_only: bool = False) -> Found:
    """What lies in a folder, or in the only folder in it.

    labels: the folder of the label maps, of photos with label maps. photos_only: whatever lies
    beside them. Raises LayoutError for a folder that holds no photos or lacks a part.
    """
    if not folder.is_dir():
        raise LayoutError(f"There is no folder {folder}.")
    while (inside := _wrapped(folder)) is not None:
        folder = inside
    found: Found | None
    if labels is not None:
        found = find_pairs(folder, labels)
    elif photos_only:
        found = find_photos(folder)
    else:
        found = next((one for find in RECOGNISERS if (one := find(folder)) is not None), None)
    if found is None or not found.items:
        raise LayoutError(
            f"{folder} holds no photos ({len(pictures_in(folder))} picture files). Name a folder "
            "of photos, alone or with label maps or keypoints of the same names."
        )
    return found


def _wrapped(folder: Path) -> Path | None:
    """The only folder in a folder, as archives unpack to; None if its name says a part of a set."""
    inside = [path for path in folder.iterdir() if not path.name.startswith((".", "__"))]
    if len(inside) != 1 or not inside[0].is_dir():
        return None
    name = inside[0].name
    is_part = any(pattern.fullmatch(name.lower()) for pattern in (*PARTS_OF_SETS, PHOTO_FOLDER))
    return None if is_part or split_of(Path(name, "file")) else inside[0]


def prepare(
    folder: Path,
    output: Path,
    name: str | None = None,
    kind: Kind | None = None,
    labels: str | None = None,
    command: str = "python -m cocosnet_hf.prepare",
    read: bool = False,
) -> Prepared:
    """Write `<split>/metadata.jsonl`, `recipe.yaml` and `pairs.png` for a folder of photos.

    The photos stay where they are. output: a new folder, or one that this has written before.
    name: of the run, by default the folder's. kind: what is painted from; by default poses, else
    label maps, else edges, whichever there are. labels: see `recognised`. command: for the head
    of the recipe. read: look for people in the photos, whatever lies beside them, see
    `read_people`. Raises LayoutError with the remedy for what cannot be trained on.
    """
    try:
        found = recognised(folder, labels, photos_only=read)
    except LayoutError:
        if kind != "edge":
            raise
        found = recognised(folder, photos_only=True)
    if read:
        output.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(output)
        found = read_people(found, folder, output)
    kind = _kind_of(found, kind, folder)
    mask, notes = _classes(found, kind, folder)
    splits = with_validation(found.splits)
    if mask is None:
        items = {
            split: [dataclasses.replace(one, label=None, parts=()) for one in those]
            for split, those in splits.items()
        }
    else:
        items = splits
    found = dataclasses.replace(found, splits=items, mask=mask, notes=(*found.notes, *notes))
    output.mkdir(parents=True, exist_ok=True)
    _refuse_foreign(output)
    write_metadata(found, output)
    plan = Plan(
        name or folder.resolve().name,
        str(output),
        kind,
        len(found.splits["train"]),
        len(found.splits["validation"]),
        _sizes(found.splits["train"]),
        mask,
        found.sides,
    )
    reports, left_out = _check(plan, output)
    path = output / WRITTEN[0]
    write_recipe(plan, path, command)
    return Prepared(found, plan, reports, left_out, path)


def _kind_of(found: Found, wanted: Kind | None, folder: Path) -> Kind:
    """What is painted from. Raises LayoutError for what is not there."""
    have: dict[Kind, bool] = {"pose": found.has_keypoints, "mask": found.has_labels, "edge": True}
    if wanted is None:
        return next(kind for kind, there in have.items() if there)
    if not have[wanted]:
        what = {"pose": "keypoints", "mask": "label maps"}[wanted]
        raise LayoutError(
            f"{folder} holds {found.layout} and no {what} of the photos' names; say --condition "
            f"{', or '.join(kind for kind, there in have.items() if there)}."
        )
    return wanted


def _classes(
    found: Found, kind: Kind, folder: Path
) -> tuple[MaskCondition | None, tuple[str, ...]]:
    """The classes of the label maps, if there are some, and what is said of them."""
    if not found.has_labels or found.mask is not None:
        return found.mask if found.has_labels else None, ()
    maps = [item.label for item in found.items if item.label is not None]
    try:
        counted = survey(maps)
        mask, notes = mask_of(counted, folder)
    except LayoutError as error:
        if kind == "mask":
            raise
        return None, (f"The label maps are left out: {error}",)
    if counted.colored and kind != "mask":
        return None, ("The label maps are in colours, which only masks are read by: left out.",)
    return mask, notes


def _sizes(items: Sequence[Item]) -> list[tuple[int, int]]:
    """(width, height) of some of the photos. Raises LayoutError if none can be read."""
    indices = np.unique(np.linspace(0, len(items) - 1, MEASURED).round().astype(int))
    sizes = [size_of(items[index].photo) for index in indices]
    found = [size for size in sizes if size is not None]
    if not found:
        raise LayoutError(f"None of the photos can be read, such as {items[0].photo}.")
    return found


def _check(plan: Plan, output: Path) -> tuple[dict[str, DataReport], int]:
    """Read the rows of the two splits; those that cannot be used are taken out.

    Raises LayoutError where none can.
    """
    told = {key: value for key, value in recipe(plan)["data"].items() if key in _OF_CHECK}
    data = build(DataSettings, told, "data.")
    reports, left_out = {}, 0
    for split in ("train", "validation"):
        sheet = output / WRITTEN[1] if split == "train" else None
        own = dataclasses.replace(data, split=split)
        report = check_data(own, plan.condition, sheet, limit=CHECKED)
        if not report.is_usable:
            raise LayoutError(f"No row of {output / split} can be used.\n{report}")
        leave_out(output, split, {name for name, _ in report.broken})
        left_out += len(report.broken)
        reports[split] = report
    return reports, left_out


_OF_CHECK = {
    *(field.name for field in dataclasses.fields(ColumnSettings)),
    *("source", "image_size", "image_width", "load_size", "keep_aspect"),
}


def _refuse_foreign(output: Path) -> None:
    """Raise LayoutError for a folder with things of somebody else in it."""
    strange = [
        path.name
        for path in output.iterdir()
        if not (path / "metadata.jsonl").is_file() and path.name not in WRITTEN
    ]
    if strange:
        raise LayoutError(
            f"{output} holds other things already, such as {sorted(strange)[0]}: name a new folder "
            "by -o."
        )


__all__ = ["Found", "LayoutError", "Prepared", "hub_data_set", "prepare", "recognised"]
