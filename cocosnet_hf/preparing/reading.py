"""Photos of people without labels or keypoints, which the bundled network reads."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from PIL import Image

from ..conditions import MaskCondition, Pose
from ..person_reader import PERSON_CLASSES, NotFoundInPhotoError, read_person
from ..pictures import open_photo
from .found import Found, LayoutError, shown

READ_FOLDER = "read"
"""Of a split, where the label maps lie."""


def read_people(found: Found, folder: Path, output: Path) -> Found:
    """The photos with what the bundled network sees in them: label maps, in output, and keypoints.

    folder: in which the photos lie. Photos in which nobody is seen are left out. Raises LayoutError
    where that is so of all.
    """
    splits, nobody = {}, []
    for split, items in found.splits.items():
        maps = output / split / READ_FOLDER
        maps.mkdir(parents=True, exist_ok=True)
        read = []
        for number, item in enumerate(items):
            photo = open_photo(item.photo)
            try:
                person = read_person(photo)
            except NotFoundInPhotoError:
                nobody.append(item.photo)
                continue
            label = maps / f"{number:06d}.png"
            Image.fromarray(person.labels).save(label)
            pose = Pose(person.joints, person.labels.shape).to_openpose()
            read.append(dataclasses.replace(item, label=label, keypoints=json.dumps(pose)))
        splits[split] = read
    if not any(splits.values()):
        raise LayoutError(
            f"Nobody is seen in any photo of {folder}: --read-people is for photos that show one "
            "person from head to feet."
        )
    notes = list(found.notes)
    if nobody:
        notes.append(f"{len(nobody)} photos show nobody: {shown(nobody, folder)}. Left out.")
    mask = MaskCondition.from_names(PERSON_CLASSES)
    layout = f"{found.layout}, read by the bundled network"
    return Found(layout, splits, mask, notes=tuple(notes))
