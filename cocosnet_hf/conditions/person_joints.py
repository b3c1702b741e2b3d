"""The joints of a person, as lists of numbers, points or names, in the layout of any program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from .layouts import JOINTS, LAYOUTS, as_numbers, columns_of, joint_of, to_openpose

Names = Sequence[str] | None

BODY_KEYS = (
    *("pose_keypoints_2d", "pose_keypoints", "body_parts", "joints", "keypoints"),
    "pred_keypoints",
)
"""Of a person: the joints. The second and third are older OpenPose's, the fourth AlphaPose's, the
last Detectron2's."""

LANDMARK_KEYS = ("pose_landmarks", "poseLandmarks", "landmarks", "landmark")
"""Of MediaPipe, whose world landmarks are metres and no places in a picture."""

SCORE_KEYS = ("keypoint_scores", "keypoints_scores", "kp_score", "scores")
"""Of a person: the scores of the joints, where they stand apart."""

POINT_SCORES = ("score", "visibility", "confidence", "likelihood", "visible", "v", "c")
POINT_NAMES = ("name", "part", "label")
POINT_NUMBERS = ("id", "index", "keypoint_id")

FLAT = {count * columns: count for count in LAYOUTS for columns in columns_of(count)}
"""How many joints a flat list of so many numbers holds; no number belongs to two layouts."""


class UnknownContentError(ValueError):
    """The content is no keypoints at all."""


def people_of(value: Any, names: Names = None, scores: Any = None) -> list[np.ndarray]:
    """The people, (18, 3) each, whose joints are numbers, points {"x", "y"} or named ones.

    scores: of the joints, where they stand apart. Raises ValueError for an unknown layout.
    """
    if isinstance(value, Mapping):
        for key in LANDMARK_KEYS:
            if key in value:
                return people_of(value[key], names, scores)
        return [from_named(value)]
    if is_numbers(value):
        return _from_numbers(value, names, scores)
    if isinstance(value, (list, tuple)):
        given = [item for item in value if item is not None]
        if given and all(map(is_point, given)):
            return [from_points(value, names)]
        keys = (*BODY_KEYS, *LANDMARK_KEYS)
        if given and all(isinstance(item, Mapping) and set(keys) & set(item) for item in given):
            return [person_of(item, names)[0] for item in given]
        if given and all(isinstance(item, (list, tuple)) for item in given):
            return [person for item in given for person in people_of(item, names)]
    raise ValueError(f"Joints must be rows of numbers, equally long, got {kind_of(value)}.")


def person_of(value: Any, names: Names) -> tuple[np.ndarray, tuple[str, ...]]:
    """The joints of one person, all NaN where there are none, and the keys that were not read."""
    nobody = np.full((len(JOINTS), 3), np.nan)
    if not isinstance(value, Mapping):
        people = people_of(value, names) if is_numbers(value) else []
        return (people[0], ()) if len(people) == 1 else (nobody, (kind_of(value),))
    value = without_nulls(value)
    for key in (*BODY_KEYS, *LANDMARK_KEYS):
        if key in value:
            people = people_under(value, key, names)
            if len(people) > 1:
                raise ValueError(f"A person has joints once, got {len(people)} under '{key}'.")
            return (people[0], ()) if people else (nobody, ())
    if sum(joint_of(key) is not None for key in value) > 2:
        return from_named(value), ()
    return nobody, tuple(map(str, value)) or ("nothing",)


def people_under(person: Mapping[str, Any], key: str, names: Names) -> list[np.ndarray]:
    """The people whose joints a dict holds under a key; nobody where that is empty."""
    value = person[key]
    if isinstance(value, (str, bytes)):
        raise UnknownContentError(f"text under '{key}'")
    if not isinstance(value, (Mapping, list, tuple, np.ndarray, Tensor)):
        raise ValueError(f"A person must have a list '{key}', got {kind_of(value)}.")
    if len(value) == 0:
        return []
    scores = next((person[name] for name in SCORE_KEYS if name in person), None)
    return people_of(value, names, scores)


def is_numbers(value: Any) -> bool:
    """Whether it is an array or a tensor, or lists that hold no dict and no text at their ends."""
    if isinstance(value, (np.ndarray, Tensor)):
        return True
    if not isinstance(value, (list, tuple)):
        return False
    while isinstance(value, (list, tuple)):
        value = next((item for item in value if not _is_gap(item)), 0)
        if isinstance(value, (np.ndarray, Tensor)):
            return True
    return isinstance(value, (int, float, np.number))


def _from_numbers(value: Any, names: Names, scores: Any) -> list[np.ndarray]:
    """Of a flat list, rows of joints, or several people of either."""
    if isinstance(value, (list, tuple)):
        value = _filled(value)
    try:
        array = as_numbers(value)
    except ValueError:
        if not _is_ragged_people(value):
            raise
        return [person for item in value for person in _from_numbers(item, names, None)]
    if array.size == 0:
        return []
    if array.ndim == 1:
        people = [_rows(array, names)]
    elif array.ndim == 2 and array.shape[1] > 4:  # wider than any joint
        people = [_rows(row, names) for row in array]
    elif array.ndim == 3:
        people = list(array)
    else:
        people = [array]
    own = None if scores is None else as_numbers(scores).ravel()
    if own is None or own.size != sum(map(len, people)):  # one for each person
        return [to_openpose(rows, names) for rows in people]
    apart = np.split(own, np.cumsum([len(rows) for rows in people])[:-1])
    return [to_openpose(rows, names, one) for rows, one in zip(people, apart, strict=True)]


def _rows(flat: np.ndarray, names: Names) -> np.ndarray:
    """A flat list as rows (N, 2 to 4)."""
    count = FLAT.get(len(flat)) if names is None else len(names)
    if count is None or len(flat) % count or len(flat) // count not in (2, 3, 4):
        expected = "54 or 75 numbers (OpenPose's 18 or 25 joints), 51 (COCO's 17), 78 (Halpe's 26)"
        if names is not None:
            expected = f"{3 * len(names)} numbers for {len(names)} joints"
        raise ValueError(f"A list of joints must hold {expected} and the like, got {len(flat)}.")
    return flat.reshape(count, -1)


def _filled(value: Sequence[Any]) -> Sequence[Any]:
    """Rows of joints, of one person or several, in which null or [] stands for a missing one, with
    rows of NaN for these."""
    given = [item for item in value if not _is_gap(item)]
    if given and all(isinstance(item, (list, tuple)) and len(item) > 4 for item in given):
        return [_filled(item) if isinstance(item, (list, tuple)) else item for item in value]
    widths = {len(item) for item in value if isinstance(item, (list, tuple)) and len(item)}
    if len(widths) != 1 or not any(map(_is_gap, value)):
        return value
    gap = [float("nan")] * widths.pop()
    return [gap if _is_gap(item) else item for item in value]


def _is_gap(value: Any) -> bool:
    return value is None or (isinstance(value, (list, tuple)) and len(value) == 0)


def _is_ragged_people(value: Any) -> bool:
    """Whether these are lists of joints of several people, in layouts of their own or with gaps."""
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(isinstance(item, (list, tuple)) and len(item) > 4 for item in value)
    )


def is_point(value: Any) -> bool:
    return isinstance(value, Mapping) and ({"x", "y"} <= value.keys() or "position" in value)


def from_points(points: Sequence[Any], names: Names) -> np.ndarray:
    """Of points {"x", "y"} or {"position": {"x", "y"}}, with names or in a known order."""
    points = _by_number(points)
    rows, scores = [], []
    for point in points:
        place = (point or {}).get("position", point or {})
        rows.append([place.get("x"), place.get("y")])
        scores.append(next((point[key] for key in POINT_SCORES if key in (point or {})), None))
    for key in POINT_NAMES:
        if all(isinstance((point or {}).get(key), str) for point in points):
            names = [point[key] for point in points]
            break
    given = None if all(score is None for score in scores) else as_numbers(scores)
    if given is not None:
        given[[score is None for score in scores]] = 1
    return to_openpose(as_numbers(rows), names, given)


def _by_number(points: Sequence[Any]) -> Sequence[Any]:
    """Points by their own numbers, where each has one, from 0 or 1 without a gap."""
    for key in POINT_NUMBERS:
        found = [(point or {}).get(key) for point in points]
        numbers = [number for number in found if type(number) is int]
        if not numbers or len(numbers) < len(points):
            continue
        first = min(numbers)
        if first in (0, 1) and sorted(numbers) == [*range(first, first + len(numbers))]:
            return [points[place] for place in np.argsort(numbers)]
    return points


def from_named(value: Mapping[str, Any]) -> np.ndarray:
    """Of {"nose": [x, y, score], ...}, {"nose": {"x", "y"}} or columns {"x": [...], "y": [...]}."""
    if isinstance(value.get("x"), (list, tuple, np.ndarray, Tensor)) and "y" in value:
        scores = next((value[key] for key in POINT_SCORES if key in value), None)
        rows = np.column_stack([as_numbers(value["x"]), as_numbers(value["y"])])
        return to_openpose(rows, None, None if scores is None else as_numbers(scores))
    known = {key: point for key, point in value.items() if joint_of(key) is not None}
    if not known:
        raise UnknownContentError(kind_of(value))
    if all(map(is_point, known.values())):
        return from_points(list(known.values()), list(known))
    return to_openpose(as_numbers(_filled(list(known.values()))), list(known))


def is_names(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)


def without_nulls(content: Mapping[str, Any]) -> dict[str, Any]:
    """Without the keys that the `datasets` library fills up with null."""
    return {key: value for key, value in content.items() if value is not None}


def kind_of(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a dict with {_short(sorted(map(str, value)))}"
    if isinstance(value, (list, tuple)):
        kinds = sorted({type(item).__name__ for item in value})
        return f"a list of {len(value)} {' and '.join(kinds)}".rstrip()
    return type(value).__name__


def _short(names: Iterable[str]) -> list[str]:
    return list(names)[:8]
