"""Photos of people with their keypoints: DeepFashion and the like, and VITON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..conditions import MaskCondition
from ..conditions.keypoint_files import Frame, frames_of, parse
from ..conditions.people import checked_size
from ..datasets.metadata import NAMES as METADATA
from .class_tables import CLOTHED_PEOPLE, CLOTHED_SIDES
from .found import Found, Item, LayoutError, by_split, matched, pictures_in, require_most

POSES = re.compile(r"[_-](keypoints|pose|openpose)$", re.IGNORECASE)

MAKE_KEYPOINTS = (
    "Run OpenPose over the photos (--write_json poses) or any estimator that writes COCO's "
    "keypoints, and put its files beside the photos, with the photos' names; or train on edges "
    "(--condition edge)."
)


def find_viton(folder: Path) -> Found | None:
    """VITON and VITON-HD: <split>/image with openpose_json or pose, image-parse* and cloth."""
    splits = [
        path
        for path in (folder, *sorted(folder.iterdir()))
        if (path / "image").is_dir() and ((path / "cloth").is_dir() or _poses_of(path))
    ]
    if not splits:
        return None
    items: list[Item] = []
    notes: tuple[str, ...] = ()
    for split in splits:
        photos = pictures_in(split / "image")
        poses = _poses_of(split)
        if poses is None:
            raise LayoutError(
                f"{split} is laid out as VITON and has no keypoints (openpose_json or pose): "
                f"unpack all of the data set. {MAKE_KEYPOINTS}"
            )
        found = _keypoints(photos, sorted(poses.rglob("*.json")), split)
        notes += require_most(photos, found, folder, "keypoints", MAKE_KEYPOINTS)
        maps = sorted(path for path in split.glob("image-parse*") if "agnostic" not in path.name)
        labels = matched(photos, pictures_in(maps[-1]), split) if maps else {}
        if labels:
            notes += require_most(photos, labels, folder, f"map in {maps[-1].name}", "Unpack all.")
        items += [
            Item(photo, labels.get(photo), keypoints)
            for photo, keypoints in found.items()
            if not labels or photo in labels
        ]
    mask = MaskCondition.from_names(CLOTHED_PEOPLE) if items[0].label else None
    return Found("VITON", by_split(items, folder), mask, CLOTHED_SIDES if mask else (), notes)


def find_people(folder: Path) -> Found | None:
    """Photos with keypoint files of their names, or one file of COCO's annotations for all."""
    photos = pictures_in(folder)
    # A render of the keypoints lies beside them in some sets.
    photos = [photo for photo in photos if not photo.stem.lower().endswith(("_rendered", "_pose"))]
    files = [path for path in sorted(folder.rglob("*.json")) if path.name not in METADATA]
    found = _keypoints(photos, files, folder)
    fashion = any({"MEN", "WOMEN"} & set(photo.parts) for photo in photos[:1])
    fashion |= any(photo.name.startswith(("fashionMEN", "fashionWOMEN")) for photo in photos[:1])
    if not found:
        if fashion:
            raise LayoutError(
                f"{folder} has the photos of DeepFashion and no keypoints. {MAKE_KEYPOINTS}"
            )
        return None
    notes = require_most(photos, found, folder, "keypoints", MAKE_KEYPOINTS)
    items = [Item(photo, keypoints=keypoints) for photo, keypoints in found.items()]
    layout = "DeepFashion" if fashion else "people"
    return Found(f"{layout} with keypoints", by_split(items, folder), notes=notes)


def _poses_of(split: Path) -> Path | None:
    """The folder of a VITON split's keypoints."""
    folders = [split / name for name in ("openpose_json", "openpose-json", "pose", "openpose-pose")]
    return next((path for path in folders if next(path.rglob("*.json"), None)), None)


def _keypoints(photos: Sequence[Path], files: Sequence[Path], root: Path) -> dict[Path, str]:
    """The keypoints of each photo, as text: of files of their names, else of lists of all.

    Raises LayoutError for files of the photos' names that are no keypoints.
    """
    found: dict[Path, str] = {}
    own = matched(photos, files, root, lambda stem: POSES.sub("", stem))
    for photo, path in own.items():
        frames = _frames(path, must_be=True)
        if len(frames) == 1 and frames[0].people:
            found[photo] = _text(frames[0])
    if own:
        return found
    for path in files:
        named = {Path(frame.name).as_posix(): frame for frame in _frames(path) if frame.name}
        paths = {root / name: frame for name, frame in named.items() if frame.people}
        inside = matched(photos, list(paths), root)
        found |= {photo: _text(paths[path]) for photo, path in inside.items()}
    return found


def _frames(path: Path, must_be: bool = False) -> list[Frame]:
    """The frames of a keypoint file; none for a file of something else, unless it must be one."""
    try:
        return frames_of(parse(path.read_bytes(), f"'{path}'"))
    except ValueError as error:
        if must_be:
            raise LayoutError(
                f"'{path}' has the name of a photo and holds no keypoints ({error}): repair it, or "
                "move it elsewhere."
            ) from error
        return []


def _text(frame: Frame) -> str:
    """A frame as an OpenPose file's text, with the size of its picture where that is known."""
    people = [
        {"pose_keypoints_2d": np.nan_to_num(joints).round(5).flatten().tolist()}
        for joints in frame.people
    ]
    content: dict[str, object] = {"people": people}
    if frame.size is not None:
        height, width = checked_size(frame.size)
        content |= {"canvas_height": height, "canvas_width": width}
    return json.dumps(content)
