"""The content of keypoint files, whoever wrote them, as frames of people in the file's own units.

Known are OpenPose (old and new), COCO (annotations, results and flat lists), AlphaPose in all its
forms, pose editors, LabelMe, MMPose, MediaPipe, MoveNet and PoseNet, Ultralytics, and lists or
dicts of such frames. Nothing here opens a file that a content names.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .layouts import joint_of
from .person_joints import (
    BODY_KEYS,
    LANDMARK_KEYS,
    Names,
    UnknownContentError,
    from_named,
    from_points,
    is_names,
    is_numbers,
    is_point,
    kind_of,
    people_of,
    people_under,
    person_of,
    without_nulls,
)

PEOPLE_KEYS = ("people", "bodies", "persons", "poses", "instances")
"""Of a frame: the list of its people. The second is AlphaPose's `cmu` form, the last MMPose's."""

FRAMES_KEYS = ("instance_info", "predictions", "frames", "results")
"""Of a file: the list of its frames, or of the people of one."""

SIZE_KEYS = (
    ("canvas_height", "canvas_width"),
    ("image_height", "image_width"),
    ("img_height", "img_width"),
    ("imageHeight", "imageWidth"),
    ("height", "width"),
)

GROUP_KEYS = ("image_id", "frame_id", "frame_idx", "frame", "imgname", "file_name", "filename")
"""Of a person in a list of many pictures' people: which picture."""


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """The people of one picture.

    people: the joints of each, (18, 3) float64 in OpenPose's order and the file's units, NaN where
    missing. size: what the file says of the picture, (height, width), unchecked, or None. name: of
    the picture. unread: keys of people who have no joints under a known one.
    """

    people: tuple[np.ndarray, ...]
    size: tuple[Any, Any] | None = None
    name: str | None = None
    unread: tuple[str, ...] = ()


def parse(data: bytes | str, label: str) -> Any:
    """JSON in any Unicode encoding, with or without its mark, or in Latin-1.

    label: names it in messages. Raises ValueError for anything else.
    """
    try:
        text = data if isinstance(data, str) else _decoded(data)
        found = json.loads(text.removeprefix("\ufeff"))
        if isinstance(found, str) and found.lstrip()[:1] in ("{", "["):
            found = json.loads(found)  # as a table writes a text of JSON into JSON
        return found
    # RecursionError: 100,000 brackets. A plain ValueError: a number of 5,000 digits.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{label} is not a JSON file: {error}.") from error


def _decoded(data: bytes) -> str:
    try:
        return data.decode(json.detect_encoding(data))
    except UnicodeDecodeError:
        return data.decode("latin-1")  # which any bytes are; only names are not ASCII


def frames_of(content: Any, names: Names = None) -> list[Frame]:
    """The frames of a keypoint file's content, or of the same as lists, dicts, arrays and tensors.

    names: of the joints, where something around the content tells them. Raises UnknownContentError
    for other content, ValueError for joints in an unknown layout.
    """
    if isinstance(content, Mapping):
        return _frames_of_mapping(without_nulls(content), names)
    if is_numbers(content):
        return [Frame(tuple(people_of(content, names)))]
    if not isinstance(content, (list, tuple)) or not content:
        raise UnknownContentError(kind_of(content))
    given = [item for item in content if item is not None]
    if all(isinstance(item, Mapping) for item in given):
        return _frames_of_list(content, names)
    if all(isinstance(item, (list, tuple)) for item in given):
        inner = [point for item in given for point in item]
        if inner and all(map(is_point, inner)):
            return [Frame(tuple(people_of(content, names)))]
        return [_one_frame(item, names) for item in content]
    raise UnknownContentError(kind_of(content))


def _frames_of_mapping(content: Mapping[str, Any], names: Names) -> list[Frame]:
    if isinstance(content.get("annotations"), (list, tuple)):
        return _frames_of_coco(content)
    if _is_dicts(content.get("shapes")):
        return [_frame_of_labelme(content)]
    names = _names_in(content) or names
    for key in FRAMES_KEYS:
        if isinstance(content.get(key), (list, tuple, Mapping)):
            return frames_of(content[key], names) if len(content[key]) else [Frame(())]
    if any(key in content for key in (*PEOPLE_KEYS, *BODY_KEYS, *LANDMARK_KEYS)):
        return [_one_frame(content, names)]
    if sum(joint_of(key) is not None for key in content) > 2:
        return [Frame((from_named(content),), size_in(content))]
    values = list(content.values())
    if values and all(isinstance(value, Mapping) or _is_dicts(value) for value in values):
        # AlphaPose's forms for OpenPose's readers: a frame by the name of each picture.
        return [
            dataclasses.replace(_one_frame(value, names), name=str(key))
            for key, value in content.items()
        ]
    raise UnknownContentError(kind_of(content))


def _is_dicts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, Mapping) for item in value)


def _one_frame(content: Any, names: Names) -> Frame:
    """The frame that a dict with people or joints is, or a list of people."""
    if content is None or (isinstance(content, (list, tuple)) and not content):
        return Frame(())
    if not isinstance(content, Mapping):
        frames = frames_of(content, names)
        if len(frames) != 1:
            raise UnknownContentError(f"frames within frames, {kind_of(content)}")
        return frames[0]
    content = without_nulls(content)
    size, name = size_in(content), _group_of(content)
    for key in PEOPLE_KEYS:
        if key not in content:
            continue
        people = content[key]
        if isinstance(people, Mapping):  # the `datasets` library's dict of lists
            people = _transposed(people)
        if not isinstance(people, (list, tuple)):
            raise ValueError(f"OpenPose JSON must be an object with a list 'people', got {key!r}.")
        read = [person_of(person, names) for person in people]
        unread = tuple(key for _, keys in read for key in keys)
        return Frame(tuple(joints for joints, _ in read), size, name, unread)
    for key in LANDMARK_KEYS:
        if key in content:
            return Frame(tuple(people_of(content[key], names)), size, name)
    for key in BODY_KEYS:
        if key in content:
            people = people_under(content, key, names)
            return Frame(tuple(people), size, name)
    raise UnknownContentError(kind_of(content))


def _frames_of_list(content: Sequence[Any], names: Names) -> list[Frame]:
    """A list of dicts: points of a person, frames, people of one picture or of many."""
    given = [item for item in content if item is not None]
    if all(map(is_point, given)):
        return [Frame((from_points(content, names),))]
    if any(key in item for item in given for key in (*PEOPLE_KEYS, *LANDMARK_KEYS)):
        return [_one_frame(item, names) for item in content]
    groups: dict[str | None, list[Frame]] = {}
    for item in given:
        frame = _one_frame(item, names)
        groups.setdefault(frame.name, []).append(frame)
    return [
        Frame(
            tuple(person for frame in group for person in frame.people),
            next((frame.size for frame in group if frame.size is not None), None),
            name,
            tuple(key for frame in group for key in frame.unread),
        )
        for name, group in groups.items()
    ]


def _frames_of_coco(content: Mapping[str, Any]) -> list[Frame]:
    """COCO's annotations: a frame for each picture, in the file's order; without joints is nobody.

    The joints' names in the categories tell their order.
    """
    orders = {
        category.get("id"): category["keypoints"]
        for category in content.get("categories", ())
        if isinstance(category, Mapping) and is_names(category.get("keypoints"))
    }
    people: dict[Any, list[np.ndarray]] = {}
    images: dict[Any, Mapping[str, Any]] = {
        image.get("id"): image for image in content.get("images", ()) if isinstance(image, Mapping)
    }
    for annotation in content["annotations"]:
        if not isinstance(annotation, Mapping):
            raise UnknownContentError("annotations that are no objects")
        order = orders.get(annotation.get("category_id"))
        found = people.setdefault(annotation.get("image_id"), [])
        if order is not None and all(joint_of(name) is None for name in order):
            continue  # of an animal or a thing
        if annotation.get("keypoints"):
            found += people_under(annotation, "keypoints", order)
    return [
        Frame(
            tuple(people.get(key, ())),
            size_in(images.get(key, {})),
            str(images.get(key, {}).get("file_name", key)),
        )
        for key in [*images, *(key for key in people if key not in images)]
    ]


def _frame_of_labelme(content: Mapping[str, Any]) -> Frame:
    """LabelMe's shapes: points that are called as joints are; a group of them is a person."""
    people: dict[Any, dict[str, Sequence[float]]] = {}
    for shape in content["shapes"]:
        points = shape.get("points")
        is_point = isinstance(points, (list, tuple)) and len(points) == 1
        if is_point and joint_of(shape.get("label")) is not None:
            group = people.setdefault(str(shape.get("group_id")), {})
            if joint_of(shape["label"]) in map(joint_of, group):
                raise ValueError(
                    f"LabelMe's shapes have {shape['label']!r} twice in one group; give the points "
                    "of each person a group_id of their own."
                )
            group[shape["label"]] = points[0]
    size, name = size_in(content), content.get("imagePath")
    return Frame(tuple(map(from_named, people.values())), size, name and str(name))


def _names_in(content: Mapping[str, Any]) -> Names:
    """The joints' names, in order, that a file of MMPose tells."""
    meta = content.get("meta_info")
    by_index = meta.get("keypoint_id2name") if isinstance(meta, Mapping) else None
    if not isinstance(by_index, Mapping):
        return None
    try:
        return [str(by_index[key]) for key in sorted(by_index, key=int)]
    except (TypeError, ValueError):
        return None


def size_in(content: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """What a frame says of its picture, (height, width), unchecked; None where it does not."""
    for height, width in SIZE_KEYS:
        if content.get(height) is not None and content.get(width) is not None:
            return content[height], content[width]
    return None


def _group_of(content: Mapping[str, Any]) -> str | None:
    for key in GROUP_KEYS:
        if isinstance(content.get(key), (str, int)):
            return str(content[key])
    return None


def _transposed(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """{"a": [1, 2]} as [{"a": 1}, {"a": 2}]."""
    lists = {key: value for key, value in columns.items() if isinstance(value, (list, tuple))}
    count = max(map(len, lists.values()), default=0)
    return [
        {key: value[index] for key, value in lists.items() if index < len(value)}
        for index in range(count)
    ]
