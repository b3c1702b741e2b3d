"""Folders of pictures that are not laid out as expected: what is said, and what is left out."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from PIL import Image

from .settings import DataSettings

logger = logging.getLogger(__name__)

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
"""The names under which `datasets` reads what belongs to the pictures of a folder."""

TABLES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".ndjson")
"""Suffixes of files that may be meant as such."""

LABEL_FOLDER = re.compile(
    r"(masks?|labels?|label_?maps?|annotations?|annots?|seg(mentation)?s?(_?(class|object|masks?))?|"
    r"gt(fine|coarse)?|ground_?truths?|parsings?|semantics?|alphas?|mattes?)([_-].*)?|.*[_-](masks?|labels?|gt|seg)"
)
"""Names, in lower case, of folders that hold label maps in published data sets."""


def metadata_remedy(source: str) -> str:
    """How a folder of pictures says what belongs to them, if it does not; else nothing."""
    folder = Path(source)
    if not folder.is_dir() or _has_metadata(folder):
        return ""
    strange = sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix.lower() in TABLES
    )
    found = f" '{strange[0]}' is not read: the file must be called so." if strange else ""
    return (
        " What belongs to the pictures of a folder stands in a file metadata.jsonl in it (or "
        "metadata.csv), a line for each photo such as "
        '{"file_name": "images/01.jpg", "label_file_name": "masks/01.png"}, which makes the '
        f"column 'label'.{found}"
    )


def check_folder_names(rows: Any, settings: DataSettings) -> None:
    """Raise ValueError where a column holds only the names of folders, for want of metadata."""
    features = getattr(rows, "features", None) or {}
    for name in ("condition_column", "labels_column", "exemplar_column"):
        column = getattr(settings, name)
        names = getattr(features.get(column), "names", None) if column is not None else None
        if names is not None:
            raise ValueError(
                f"'{settings.source}' has no metadata.jsonl, and its column '{column}' holds the "
                f"names of its folders, {names[:5]}, no pictures.{metadata_remedy(settings.source)}"
            )


def without_label_maps(rows: Any, settings: DataSettings) -> Any:
    """The rows of a folder of pictures without those that are label maps beside the photos.

    Only where no metadata say what is what; what is left out is logged.
    """
    folder = Path(settings.source)
    if settings.condition_column is not None or not folder.is_dir() or _has_metadata(folder):
        return rows
    labels = label_maps_in(folder)
    if not labels:
        return rows
    shown = sorted(str(path.relative_to(folder)) for path in labels)
    logger.warning(
        "%s has no metadata: %s pictures are taken for label maps beside the photos and left out, "
        "such as %s.%s",
        folder,
        len(shown),
        ", ".join(shown[:3]),
        metadata_remedy(settings.source),
    )
    unwanted = {str(path.resolve()) for path in labels}

    def is_photo(picture: Any) -> bool:
        path = picture.get("path") if isinstance(picture, dict) else None
        return path is None or str(Path(path).resolve()) not in unwanted

    column = settings.image_column
    if hasattr(rows, "select"):
        return rows.select([i for i, picture in enumerate(rows[column]) if is_photo(picture)])
    return rows.filter(is_photo, input_columns=[column])


def label_maps_in(folder: Path) -> set[Path]:
    """The pictures in a folder that belong to other pictures there as their label maps.

    By the names of folders (masks, labels, SegmentationClass) and files (01_mask.png beside
    01.jpg); where folders or files of the same names stand beside each other, by their modes.
    """
    known = Image.registered_extensions()
    paths = [path for path in folder.rglob("*") if path.suffix.lower() in known]
    labels = {path for path in paths if _is_label_folder(path.parent.relative_to(folder))}
    if len(labels) == len(paths):  # nothing beside them: the user has named such a folder
        return set()
    folders: dict[Path, dict[str, list[Path]]] = {}
    for path in paths:
        if path not in labels:
            folders.setdefault(path.parent, {}).setdefault(_plain(path.stem), []).append(path)
    alike = [group for groups in folders.values() for group in groups.values() if len(group) > 1]
    labels |= {
        path
        for group in alike
        if any(path.stem == _plain(path.stem) for path in group)
        for path in group
        if path.stem != _plain(path.stem)
    }
    by_suffix = [path for group in alike for path in group if path not in labels]
    for suffix in sorted({path.suffix for path in by_suffix}):
        own = [path for path in by_suffix if path.suffix == suffix]
        others = [path for path in by_suffix if path.suffix != suffix]
        if others and _are_planes(own) and not _are_planes(others):
            labels.update(own)
    for one, groups in folders.items():
        for other, beside in folders.items():
            if one.parent == other.parent and one != other and groups.keys() == beside.keys():
                own = [path for group in groups.values() for path in group]
                if _are_planes(own) and not _are_planes([path[0] for path in beside.values()]):
                    labels.update(own)
    return labels


def _are_planes(paths: list[Path]) -> bool:
    """Whether the first few of these pictures have one channel or a palette, as label maps do."""
    modes = []
    for path in sorted(paths)[:3]:
        try:
            with Image.open(path) as picture:
                modes.append(picture.mode)
        except Exception:  # a damaged file is reported when it is read
            continue
    return bool(modes) and all(mode in ("1", "L", "P", "I", "I;16", "LA", "PA") for mode in modes)


def _has_metadata(folder: Path) -> bool:
    return any(next(folder.rglob(name), None) for name in METADATA)


def _is_label_folder(folder: Path) -> bool:
    return any(LABEL_FOLDER.fullmatch(part.lower()) for part in folder.parts)


def _plain(stem: str) -> str:
    """Of 01_mask and 01 the same."""
    return re.sub(
        r"[_-](masks?|labels?|labelids|gt|seg|segmentation|annotation)$", "", stem, flags=re.I
    )
