"""By what a mask's classes are guided: people by their joints, all else by regions."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from ..landscape_reader import LANDSCAPE_CLASSES, landscape_logits
from ..person_reader import PERSON_CLASSES
from ..pictures import Picture, enlarged_labels, open_photo
from ..propagation import Guide
from .base import Landmarks
from .dressed import dressed_guide, landmarks_of_mask, landmarks_of_photo
from .regions import kept, landmarks_of_regions, region_guide

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

SURE = 0.8
"""Share above which a class of a landscape is read without much doubt, see `regions.surely`."""


@dataclasses.dataclass(frozen=True)
class MaskGuide:
    """Of labels (H, W) and of a photo the landmarks, None where nothing is seen in it; and
    `Condition.guide`."""

    of_labels: Callable[[np.ndarray], Landmarks]
    of_photo: Callable[[Picture], Landmarks | None]
    guide: Callable[[Landmarks, Landmarks, tuple[int, int]], Guide]


def landmarks_of_landscape(photo: Picture) -> Landmarks:
    """What a photo shows as the bundled network reads it."""
    image = open_photo(photo)
    logits = landscape_logits(image)
    labels = kept(enlarged_labels(logits, image.height, image.width).numpy())
    sure = (logits.softmax(0).amax(0) > SURE).float()
    sure = F.interpolate(sure[None, None], tuple(labels.shape), mode="nearest-exact")[0, 0] > 0
    return Landmarks(torch.empty(0, 2), labels, is_read=True, sure=sure)


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
