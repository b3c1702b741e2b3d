"""By what a mask's classes are guided: people by their joints, all else by regions."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from ..landscape_reader import LANDSCAPE_CLASSES, read_landscape
from ..person_reader import PERSON_CLASSES
from ..pictures import Picture
from ..propagation import Guide
from .base import Landmarks
from .dressed import dressed_guide, landmarks_of_mask, landmarks_of_photo
from .regions import landmarks_of_regions, region_guide

KIN = {
    "sky": ("water", "snow"),
    "tree": ("grass", "field", "mountain"),
    "grass": ("field", "tree", "sand"),
    "field": ("grass", "sand", "tree"),
    "rock": ("mountain", "sand", "building", "road"),
    "sand": ("road", "field", "rock", "snow"),
    "mountain": ("rock", "tree", "field", "building"),
    "snow": ("sand", "sky"),
    "water": ("sky", "sand"),
    "road": ("sand", "rock", "field", "grass"),
    "building": ("rock", "mountain", "tree"),
}
"""What a class of a landscape looks at where the exemplar has none of it, the best first. Matched
by looks alone, a mountain would be put together from pieces of everything."""


@dataclasses.dataclass(frozen=True)
class MaskGuide:
    """Of labels (H, W) and of a photo the landmarks, None where nothing is seen in it; and
    `Condition.guide`."""

    of_labels: Callable[[np.ndarray], Landmarks]
    of_photo: Callable[[Picture], Landmarks | None]
    guide: Callable[[Landmarks, Landmarks, tuple[int, int]], Guide]


def landmarks_of_landscape(photo: Picture) -> Landmarks:
    """What a photo shows as the bundled network reads it."""
    return dataclasses.replace(landmarks_of_regions(read_landscape(photo)), is_read=True)


_NUMBER = {name: number for number, name in enumerate(LANDSCAPE_CLASSES)}

_GUIDES: dict[tuple[str, ...], MaskGuide] = {
    PERSON_CLASSES: MaskGuide(landmarks_of_mask, landmarks_of_photo, dressed_guide),
    LANDSCAPE_CLASSES: MaskGuide(
        landmarks_of_regions,
        landmarks_of_landscape,
        functools.partial(
            region_guide,
            kin={_NUMBER[name]: tuple(_NUMBER[one] for one in kin) for name, kin in KIN.items()},
        ),
    ),
}


def mask_guide(classes: tuple[str, ...]) -> MaskGuide:
    """How masks of these classes are guided."""
    return _GUIDES.get(classes, MaskGuide(landmarks_of_regions, lambda _: None, region_guide))
