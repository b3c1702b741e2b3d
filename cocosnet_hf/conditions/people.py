"""Of the people in a keypoint file the one that is meant, on the canvas that most joints fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
from PIL import Image

from ..notes import Note
from ..pictures import MIN_SIDE
from .keypoint_files import Frame
from .layouts import JOINTS

NORMALISED_REACH = 2.0
"""Coordinates up to this are shares of a picture: a figure of so few pixels cannot be meant. Shares
themselves end at 1, and a joint that lies outside of its picture is not much beyond."""

FAR = 4
"""Canvases away, a joint is a slip of the file and no place to draw a limb to."""

PERSON_REMEDY = (
    'Choose with "person" (from 0) beside the keypoints, as {"openpose": file, "person": 1}, with '
    "PoseCondition(person=1), --person on the command line or a person_column in data"
)
FRAME_REMEDY = (
    'choose with {"openpose": file, "frame": 1}, by number from 0 or by name, or --frame on the '
    "command line"
)
SIZE_REMEDY = (
    'pass size=(height, width), as a condition {"openpose": path, "size": (height, width)}, or on '
    "the command line --condition-size or --exemplar-condition-size"
)


SQUARE = 4096
"""Side in pixels of the square that a picture of unknown size is taken for; larger poses shrink."""


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """One person of a file.

    joints: (18, 3) float64, x and y in pixels of the picture, score; NaN where missing. size:
    (height, width) of the picture. person, people: which of the frame's people this is, and all who
    have a joint that counts. notes: what was taken where the file may mean two things.
    """

    joints: np.ndarray
    size: tuple[int, int]
    person: int
    people: tuple[int, ...]
    notes: tuple[Note, ...]


def choose_frame(
    frames: Sequence[Frame], wanted: int | str | None, label: str
) -> tuple[Frame, list[Note]]:
    """The wanted frame, by its place or name, else the first one with somebody in it.

    Raises ValueError where there is no such frame, and where nobody is in any.
    """
    if wanted is not None:
        named = {frame.name: frame for frame in reversed(frames) if frame.name is not None}
        chosen = named.get(wanted) if isinstance(wanted, str) else None
        if is_whole(wanted) and 0 <= int(wanted) < len(frames):
            chosen = frames[int(wanted)]
        if chosen is None:
            called = f" and are called such as {[*reversed(named)][:5]}" if named else ""
            raise ValueError(
                f"{label} has {len(frames)} frames, and none is {wanted!r}; they count from 0"
                f"{called}."
            )
        frames = [chosen]
    indices = [index for index, frame in enumerate(frames) if _somebody(frame)]
    if not indices:
        unread = next((frame.unread for frame in frames if frame.unread), ())
        if unread:
            raise ValueError(
                f"A person in OpenPose JSON must have a list 'pose_keypoints_2d', in {label} there "
                f"is {', '.join(unread[:5])}."
            )
        people = max(len(frame.people) for frame in frames) if frames else 0
        if people:  # of whom no joint was found: encoding says so, by its own min_score
            return next(frame for frame in frames if frame.people), []
        raise ValueError(f"{label}: found 0 people; there is nobody to draw.")
    first = frames[indices[0]]
    if len(frames) == 1:
        return first, []
    called = "" if first.name is None else f", '{first.name}'"
    return first, [
        Note(
            "frames",
            f"{label} has {len(frames)} frames; frame {indices[0]}{called}, the first with "
            f"somebody in it, is taken: {FRAME_REMEDY}.",
        )
    ]


def choose_person(
    frame: Frame,
    size: tuple[int, int] | None,
    label: str,
    *,
    person: int | None = None,
    min_score: float = 0.0,
) -> Choice:
    """The person who is there most, or the wanted one, in pixels of the picture.

    Who is there most: the sum of the scores above min_score, up to 1 each, times how far the joints
    inside of the picture spread; so a scrap of somebody, or somebody far behind, loses. Shares of
    the picture, from 0 to 1 or from -1 to 1, are told from pixels by most of the frame's joints.

    size: (height, width) of the picture; None for a square that holds all joints. Raises ValueError
    where there is no such person, and where most of the joints are outside of the picture.
    """
    notes: list[Note] = []
    people = [_without_corners(joints, min_score) for joints in frame.people]
    if person is not None and not (is_whole(person) and 0 <= person < len(people)):
        raise ValueError(
            f"{label}: found {len(people)} people; person {person!r} is not there, they count from "
            "0."
        )
    canvas, people = _in_pixels(people, size, min_score, label, notes)
    counting = tuple(k for k, joints in enumerate(people) if len(_counted(joints, min_score)))
    chosen = person
    if chosen is None:
        chosen = int(np.argmax([_presence(joints, canvas, min_score) for joints in people]))
        if len(counting) > 1:
            count = len(_counted(people[chosen], min_score))
            notes.append(
                Note(
                    "people",
                    f"{label} has {len(counting)} people; person {chosen} of {list(counting)}, who "
                    f"is there most ({count} joints), is taken. {PERSON_REMEDY}.",
                )
            )
    if (frame.people[chosen][np.isnan(people[chosen][:, 0]), 2] > min_score).any():
        notes.append(
            Note(
                "corner",
                f"{label} has joints at exactly (0, 0) or (-1, -1) with a score; these count as "
                "missing: move a joint that is there by a part of a pixel.",
            )
        )
    joints = people[chosen]
    if size is not None:
        joints = _inside(joints, canvas, min_score, label, notes)
    return Choice(joints, canvas, chosen, counting, tuple(notes))


def checked_size(size: Any) -> tuple[int, int]:
    """(height, width) as whole numbers. Raises ValueError for anything else, and for a picture that
    is too small or has more pixels than Pillow reads."""
    sides = () if isinstance(size, (str, bytes, Mapping, Set)) else size
    try:
        if any(isinstance(side, (str, bytes)) for side in sides):
            raise TypeError("text")
        height, width = (int(side) for side in sides)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ValueError(f"A pose's size must be (height, width), got {size!r}.") from error
    if min(height, width) < MIN_SIDE:
        raise ValueError(
            f"A pose's size must be (height, width) of at least {MIN_SIDE}, got {size}."
        )
    if height * width > (Image.MAX_IMAGE_PIXELS or float("inf")):
        raise ValueError(
            f"A pose's size of {height} x {width} has more pixels than Pillow's limit of "
            f"{Image.MAX_IMAGE_PIXELS:,}; scale the joints and the size down together."
        )
    return height, width


def _somebody(frame: Frame) -> bool:
    return any(not np.isnan(joints[:, 0]).all() for joints in frame.people)


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, of Python or NumPy."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _counted(joints: np.ndarray, min_score: float) -> np.ndarray:
    """The places (N, 2) of the joints that count."""
    return joints[joints[:, 2] > min_score, :2]


def _without_corners(joints: np.ndarray, min_score: float) -> np.ndarray:
    """Without joints at exactly (0, 0) and (-1, -1), where many programs put missing ones.

    Also without infinite ones that do not count.
    """
    places = joints[:, :2]
    gone = (places == 0).all(1) | (places == -1).all(1)
    gone |= np.isinf(places).any(1) & ~(joints[:, 2] > min_score)
    return np.where(gone[:, None], np.nan, joints)


def _in_pixels(
    people: list[np.ndarray],
    size: tuple[int, int] | None,
    min_score: float,
    label: str,
    notes: list[Note],
) -> tuple[tuple[int, int], list[np.ndarray]]:
    """The canvas and all joints in its pixels, by what most of the places that count are.

    Without a size the canvas is a square that holds them all.
    """
    places = np.concatenate([_counted(joints, min_score) for joints in people])
    if np.isinf(places).any():
        raise ValueError(
            f"{label}: a pose must not contain infinite values; a missing joint is NaN."
        )
    if not len(places):
        return size or (SQUARE, SQUARE), people
    if np.median(np.abs(places).max(1)) > NORMALISED_REACH:
        if size is None:
            scale = SQUARE / max(SQUARE, np.ceil(places.max()))
            return (SQUARE, SQUARE), [joints * (scale, scale, 1) for joints in people]
        return size, people
    height, width = size or (SQUARE, SQUARE)
    low, high = (places < 0).any(1), (places > 1).any(1)
    # As shares from 0, half of the joints would be outside, and more of them before than behind.
    centred = (low | high).mean() >= 0.5 and low.sum() > (high & ~low).sum()
    if centred:
        people = [(joints + (1, 1, 0)) / (2, 2, 1) for joints in people]
    if low.any():
        taken, other = ("-1 to 1", "0 to 1") if centred else ("0 to 1", "-1 to 1")
        notes.append(
            Note(
                "range",
                f"{label} has coordinates below 0 and of about 1: they are taken for shares of the "
                f"picture from {taken}; write them as pixels if they are from {other}.",
            )
        )
    return (height, width), [joints * (width, height, 1) for joints in people]


def _presence(joints: np.ndarray, size: tuple[int, int], min_score: float) -> float:
    """How much a person is there, see `choose_person`; 0 for nobody."""
    counted = joints[joints[:, 2] > min_score]
    counted = counted[~_outside(counted[:, :2], size)]
    if not len(counted):
        return 0.0
    spread = float(np.hypot(*np.ptp(counted[:, :2], axis=0)))
    return float(counted[:, 2].clip(max=1).sum()) * (spread + 1)  # of a single joint it is 0


def _outside(places: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    return np.asarray(((places < 0) | (places > (width, height))).any(1))


def _inside(
    joints: np.ndarray, size: tuple[int, int], min_score: float, label: str, notes: list[Note]
) -> np.ndarray:
    """The joints, without those far away; what lies outside is said, most of them refused."""
    height, width = size
    counted = joints[:, 2] > min_score
    outside = counted & _outside(joints[:, :2], size)
    far = np.abs(joints[:, :2]).max(1) > FAR * max(height, width)
    if outside.any():
        names = ", ".join(name for name, out in zip(JOINTS, outside, strict=True) if out)
        turned = not _outside(joints[counted, :2], (width, height)).any()
        swap = f" They would fit ({width}, {height}): is the size (height, width)?" * turned
        what = (
            f"{label}: {outside.sum()} of {counted.sum()} joints ({names}) lie outside of the "
            f"{height} x {width} picture"
        )
        if 2 * outside.sum() > counted.sum():
            reach = np.abs(joints[counted, :2]).max()
            raise ValueError(
                f"{what}, up to {reach:g} pixels from its corner; the size must be (height, width) "
                f"of the picture with the pose.{swap} Hide joints that are out of sight."
            )
        gone = " and those far away are left out" * bool((far & counted).any())
        notes.append(
            Note(
                "outside",
                f"{what}; what is outside is not drawn{gone}.{swap} Give the size (height, width) "
                "of the picture with the pose if it is larger.",
            )
        )
    return np.where(far[:, None], np.nan, joints)
