"""CelebAMask-HQ as it is downloaded: a file for each part of each face."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from ..conditions import MaskCondition
from ..conditions.faces import CELEBAMASK_FACE_CLASSES, OFFICIAL_FACE_CLASSES
from ..conditions.label_maps import read_part
from .found import Found, Item, LayoutError, pictures_in, require_most

PART = re.compile(r"(\d+)_(\w+)\.png")

ORDER = tuple(
    "eye_g" if name == "glasses" else name
    for name in CELEBAMASK_FACE_CLASSES
    if name != "background"
)
"""In which parts are painted over each other, as by the data set's own tools: skin first, cloth
last."""


def find_celebamask(folder: Path) -> Found | None:
    """CelebA-HQ-img/N.jpg with CelebAMask-HQ-mask-anno/*/NNNNN_part.png.

    The parts will be merged by `merged`, in which a class has its number by its name, so that no
    order can be mistaken.
    """
    annotations = next(folder.rglob("*mask-anno"), None)
    if annotations is None:
        return None
    photos = annotations.parent / "CelebA-HQ-img"
    if not photos.is_dir():
        raise LayoutError(
            f"{folder} has the parts of CelebAMask-HQ ({annotations.name}) and not its photos: "
            f"unpack CelebA-HQ-img beside {annotations.name}."
        )
    parts: dict[int, dict[str, Path]] = defaultdict(dict)
    for path in sorted(annotations.rglob("*.png")):
        match = PART.fullmatch(path.name)
        if match is None or match[2] not in ORDER:
            raise LayoutError(
                f"{path} is no part file of CelebAMask-HQ, such as 00000_skin.png; its parts are "
                f"{', '.join(ORDER)}. Move it out of {annotations.name}."
            )
        parts[int(match[1])][match[2]] = path
    pictures = [photo for photo in pictures_in(photos) if photo.stem.isdigit()]
    pictures.sort(key=lambda photo: int(photo.stem))
    found = {photo: parts[int(photo.stem)] for photo in pictures if int(photo.stem) in parts}
    notes = require_most(
        pictures,
        found,
        folder,
        "part files",
        f"Unpack all of {annotations.name} (folders 0 to 14).",
    )
    items = [
        Item(photo, parts=tuple((name, own[name]) for name in ORDER if name in own))
        for photo, own in found.items()
    ]
    notes += (
        "Parts are merged to label maps, painted over each other in the order "
        f"{', '.join(ORDER)}, and numbered as the recipe's classes: {_numbered()}.",
    )
    return Found("CelebAMask-HQ", {"train": items}, MaskCondition.celebahq(), notes=notes)


def merged(parts: tuple[tuple[str, Path], ...]) -> Image.Image:
    """The label map of part files, in mode L, numbered as `MaskCondition.celebahq()`.

    Raises ValueError for files that are no masks, or of different sizes.
    """
    labels: np.ndarray | None = None
    for name, path in parts:
        where = read_part(path, f"part '{path}'")
        if labels is None:
            labels = np.zeros(where.shape, np.uint8)
        if where.shape != labels.shape:
            raise ValueError(
                f"'{path}' has {where.shape} pixels (height, width), the parts before it "
                f"{labels.shape}: unpack it again."
            )
        labels[where] = OFFICIAL_FACE_CLASSES.index("glasses" if name == "eye_g" else name)
    if labels is None:
        raise ValueError("There are no parts to merge.")
    return Image.fromarray(labels)


def _numbered() -> str:
    return ", ".join(f"{number} {name}" for number, name in enumerate(OFFICIAL_FACE_CLASSES))
