"""The joints of one person, read from the files and arrays of pose estimators."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..notes import Note, warn
from .keypoint_files import Frame, frames_of, parse
from .layouts import BODY_25, COCO, JOINTS, as_numbers, to_openpose
from .people import SIZE_REMEDY, checked_size, choose_frame, choose_person, is_whole
from .person_joints import UnknownContentError, kind_of

__all__ = [
    "BODY_25",
    "COCO",
    "JOINTS",
    "LIMBS",
    "KeypointReading",
    "Pose",
    "read_keypoints",
    "read_pose",
]

LIMBS = tuple(
    (JOINTS.index(first), JOINTS.index(second))
    for first, second in (
        pair.split("-")
        for pair in (
            "neck-r_shoulder neck-l_shoulder r_shoulder-r_elbow r_elbow-r_wrist "
            "l_shoulder-l_elbow l_elbow-l_wrist neck-r_hip r_hip-r_knee r_knee-r_ankle neck-l_hip "
            "l_hip-l_knee l_knee-l_ankle neck-nose nose-r_eye r_eye-r_ear nose-l_eye l_eye-l_ear"
        ).split()
    )
)
"""The 17 limbs as pairs of joint indices, in the order of the channels (official networks, 8.4)."""


STARTS = ("{", "[", '"', b"{", b"[", b'"')
"""How text begins that is JSON, and no path."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pose:
    """The joints of one person.

    joints: (18, 3) float64, x and y in pixels from the top left and a score; a joint that was not
        found has NaN coordinates and score 0. Order: `JOINTS`.
    size: (height, width) in pixels of the picture that the coordinates refer to.
    """

    joints: np.ndarray
    size: tuple[int, int]

    def __post_init__(self) -> None:
        joints = np.array(self.joints, dtype=np.float64)
        if joints.shape != (len(JOINTS), 3):
            raise ValueError(
                f"A pose has {len(JOINTS)} joints of (x, y, score), got shape {joints.shape}; "
                "Pose.from_array, from_coco and from_openpose_json convert other layouts."
            )
        if np.isinf(joints).any():
            raise ValueError("A pose must not contain infinite values; a missing joint is NaN.")
        height, width = checked_size(self.size)
        missing = np.isnan(joints).any(1)
        joints[missing] = (np.nan, np.nan, 0)
        if not missing.all():
            reach = np.abs(joints[~missing, :2]).max()
            if reach <= 1:
                raise ValueError(
                    "The joints' coordinates are all at most 1; they must be pixels: multiply x "
                    "by the width and y by the height."
                )
            if reach > 4 * max(height, width):
                raise ValueError(
                    f"A joint lies {reach:.6g} pixels from the corner of a {height} x {width} "
                    "picture; the size must be (height, width) of the picture with the pose."
                )
        joints.setflags(write=False)
        object.__setattr__(self, "joints", joints)
        object.__setattr__(self, "size", (height, width))

    @classmethod
    def from_array(cls, joints: Any, size: tuple[int, int]) -> Pose:
        """From (18, 2 or 3) in OpenPose's order, (25, 2 or 3) as BODY_25 or (17, 2 or 3) as COCO.

        Also (26 or 136, 2 or 3) as Halpe, (133, 2 or 3) as COCO-WholeBody and (33, 2 or 4) as
        MediaPipe. With scores, a score of 0 or less means missing; without, NaN, (0, 0) and
        (-1, -1) do. x and y are pixels. size: (height, width) of the picture in pixels. Raises
        ValueError for another layout, and for coordinates that are none of such a picture.
        """
        return cls(to_openpose(as_numbers(joints)), size)

    @classmethod
    def from_coco(cls, keypoints: np.ndarray, size: tuple[int, int]) -> Pose:
        """From COCO's (17, 3) x, y, score; the neck is the middle of the shoulders.

        Raises ValueError for another shape.
        """
        array = as_numbers(keypoints)
        if array.shape != (len(COCO), 3):
            raise ValueError(f"COCO's keypoints are (17, 3), got shape {array.shape}.")
        return cls(to_openpose(array), size)

    def resized(self, height: int, width: int) -> Pose:
        """The same pose in a picture of another size."""
        scale = (width / self.size[1], height / self.size[0], 1)
        return Pose(self.joints * scale, (height, width))

    def to_openpose(self) -> dict[str, Any]:
        """The content of an OpenPose file, which `from_openpose_json` reads."""
        numbers = np.nan_to_num(self.joints).round(2).flatten().tolist()
        height, width = self.size
        people = [{"pose_keypoints_2d": numbers}]
        return {"people": people, "canvas_width": width, "canvas_height": height}

    @classmethod
    def from_openpose_json(
        cls,
        source: str | os.PathLike[str] | Mapping[str, Any] | list[Any],
        size: tuple[int, int] | None = None,
        person: int | None = None,
    ) -> Pose:
        """From a keypoint file or its content: OpenPose's, or any other that `read_keypoints` does.

        size: (height, width) in pixels; needed unless the file says it. person: which of several,
        by default the one who is there most. Warns of what may mean two things. Raises ValueError
        for another layout and where there is no such person, OSError for no such file.
        """
        reading = read_keypoints(source, size=size, person=person)
        warn(reading.notes)
        return reading.pose

    @classmethod
    def from_candidate_subset(
        cls, candidate: Any, subset: Any, size: tuple[int, int], person: int | None = None
    ) -> Pose:
        """From OpenPose's candidate (N, >= 3: x, y, score) and subset (>= 18 rows into it, or -1).

        Each an array or the path of a text file. person: which row of subset, by default that of
        the person who is there most. Warns and raises as `from_openpose_json`.
        """
        reading = read_keypoints(
            {"candidate": candidate, "subset": subset}, size=size, person=person
        )
        warn(reading.notes)
        return reading.pose


@dataclasses.dataclass(frozen=True, eq=False)
class KeypointReading:
    """A pose that was read, and what was taken where the source may mean two things.

    person, people: which of the frame's people it is, and all who have a joint that counts, by
    their place in the file from 0. said_size: whether anything told how large the picture is;
    otherwise the pose stands in a square. notes: to be shown.
    """

    pose: Pose
    person: int = 0
    people: tuple[int, ...] = (0,)
    said_size: bool = True
    notes: tuple[Note, ...] = ()


def read_pose(source: Any) -> Pose:
    """Any source of `PoseCondition.encode` as a `Pose`. Raises ValueError for anything else.

    Warns of what may mean two things, see `read_keypoints`.
    """
    reading = read_keypoints(source)
    warn(reading.notes)
    return reading.pose


def read_keypoints(
    source: Any,
    *,
    size: tuple[int, int] | None = None,
    photo_size: tuple[int, int] | None = None,
    person: int | None = None,
    frame: int | str | None = None,
    min_score: float = 0.0,
    paths: bool = True,
    square: bool = False,
) -> KeypointReading:
    """Keypoints of any common kind, as a file, its text or its content; see docs/reading_files.md.

    source: a `Pose`; the path of a JSON file, its text or content; joints as in `Pose.from_array`
    or flat; {"openpose": any of these, "size": (height, width), "person": place, "frame": place or
    name}; {"candidate", "subset", "size"}, see `Pose.from_candidate_subset`.
    size: (height, width) of the picture, above what the file says; photo_size: where nothing else
    says it. person: which of several, from 0; by default the one who is there most. frame: of a
    file of many; by default the first with somebody. min_score: joints up to it do not count.
    paths: whether text may name a file. square: where nothing says the size, put the pose into a
    square instead of refusing.

    Raises ValueError for anything else, where the size is missing and where most joints are outside
    of the picture; OSError for a file that cannot be opened.
    """
    given, label = source, "The pose"
    try:
        if is_text(source):
            source, label, paths = *_loaded(source, paths), False  # what it holds names no file
        if isinstance(source, Mapping) and "openpose" in source:
            if strange := set(map(str, source)) - {"openpose", "size", "person", "frame"}:
                raise ValueError(
                    "Beside 'openpose' may stand 'size' (height, width), 'person' and 'frame', got "
                    f"{sorted(strange)}."
                )
            size = source.get("size") if size is None else size
            person = source.get("person") if person is None else person
            frame = source.get("frame") if frame is None else frame
            source = source["openpose"]
            if is_text(source):
                source, label = _loaded(source, paths)
        if isinstance(source, Pose):
            return _only(source, size, person)
        if isinstance(source, Mapping):
            size = source.get("size") if size is None else size
            if person is None and is_whole(source.get("person")):
                person = source["person"]
            bodies = source.get("bodies")
            if isinstance(bodies, Mapping) and {"candidate", "subset"} <= set(bodies):  # of DWPose
                source = bodies
        if isinstance(source, Mapping) and {"candidate", "subset"} <= set(source):
            if not paths and any(isinstance(source[key], str) for key in ("candidate", "subset")):
                raise UnknownContentError("the name of a file")
            frames = [_frame_of_subset(source["candidate"], source["subset"])]
        else:
            frames = frames_of(source)
        chosen, notes = choose_frame(frames, frame, label)
    except (UnknownContentError, RecursionError) as error:
        got = "brackets within brackets" if isinstance(error, RecursionError) else error
        raise ValueError(
            "A pose must be a Pose, keypoints as JSON (path, text or content) of OpenPose, COCO, "
            "AlphaPose, MMPose, MediaPipe or a pose editor, or a dict with 'openpose', 'keypoints' "
            "or 'candidate' and 'subset' beside 'size' (height, width); got "
            f"{got}. condition.from_photo(photo) finds the pose in a photo."
        ) from error
    canvas, more = _size_of(chosen, size, photo_size, label)
    if canvas is None and not square:
        raise ValueError(
            f"{label} does not say how large its picture is (got {kind_of(given)}), so its size "
            f"must be given: {SIZE_REMEDY}."
        )
    choice = choose_person(chosen, canvas, label, person=person, min_score=min_score)
    return KeypointReading(
        Pose(choice.joints, choice.size),
        choice.person,
        choice.people,
        canvas is not None,
        (*notes, *more, *choice.notes),
    )


def _only(pose: Pose, size: Any, person: Any) -> KeypointReading:
    """A reading of what is a pose already. Raises ValueError for a wish that it cannot meet."""
    if person not in (None, 0):
        raise ValueError(f"A Pose is one person, person 0; person {person!r} is not there.")
    if size is not None and checked_size(size) != pose.size:
        raise ValueError(
            f"A Pose has its own size, {pose.size}; leave the size {tuple(size)} out, or make a "
            "Pose with it."
        )
    return KeypointReading(pose)


def is_text(source: Any) -> bool:
    """Whether it is text, or the path of a file with it."""
    return isinstance(source, (str, bytes, os.PathLike))


def _loaded(source: str | bytes | os.PathLike[str], paths: bool) -> tuple[Any, str]:
    """The content of a file, or of JSON text, and what messages call it."""
    if isinstance(source, (str, bytes)) and source.lstrip()[:1] in STARTS:
        if not paths or isinstance(source, bytes) or not os.path.exists(source):
            return parse(source, "The text of the keypoints"), "The pose"
    if isinstance(source, bytes):
        return parse(source, "The text of the keypoints"), "The pose"
    if not paths:
        raise UnknownContentError("text that is no JSON")
    path = Path(source)
    return parse(path.read_bytes(), f"'{path}'"), f"'{path}'"


def _size_of(
    frame: Frame, size: Any, photo_size: tuple[int, int] | None, label: str
) -> tuple[tuple[int, int] | None, tuple[Note, ...]]:
    """(height, width) by the caller, else the file, else the photo; and what is said of it."""
    if size is None:
        if frame.size is not None:
            return checked_size(frame.size), ()
        return photo_size, ()
    taken = checked_size(size)
    if frame.size is None or checked_size(frame.size) == taken:
        return taken, ()
    height, width = frame.size
    text = (
        f"{label} says that its picture is {height} x {width} (height x width); the given size, "
        f"{taken[0]} x {taken[1]}, is taken. Leave it out to believe the file."
    )
    return taken, (Note("size", text),)


def _frame_of_subset(candidate: Any, subset: Any) -> Frame:
    """The people of OpenPose's tables, see `Pose.from_candidate_subset`."""
    candidate = _read_table(candidate, "candidate")
    rows = _read_table(subset, "subset")[:, : len(JOINTS)]
    if candidate.shape[1] == 2:  # of DWPose, whose subset leaves out what it is not sure of
        candidate = np.column_stack([candidate, np.ones(len(candidate))])
    if candidate.shape[1] < 3 or rows.shape[1] < len(JOINTS):
        raise ValueError(
            "'candidate' must be (N, >= 2) and 'subset' at least 18 numbers, got "
            f"{candidate.shape} and {rows.shape[1]}."
        )
    if not np.isfinite(rows).all() or rows.max() >= len(candidate):
        raise ValueError(
            f"'subset' names row {rows.max():.6g}, but 'candidate' has {len(candidate)} rows."
        )
    people = np.full((len(rows), len(JOINTS), 3), np.nan)
    found = rows >= 0
    people[found] = candidate[rows[found].astype(int), :3]
    return Frame(tuple(people))


def _read_table(source: Any, name: str) -> np.ndarray:
    """Rows of numbers from a text file or an array."""
    try:
        if isinstance(source, (str, os.PathLike)):
            lines = Path(source).read_text(encoding="utf-8-sig").splitlines()
            source = [[float(word) for word in line.split()] for line in lines if line.strip()]
        table = np.atleast_2d(as_numbers(source))
    except ValueError as error:
        raise ValueError(f"'{name}' must be rows of numbers, equally long: {error}") from error
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"'{name}' holds nobody: it must be rows of numbers, got {table.shape}.")
    return table
