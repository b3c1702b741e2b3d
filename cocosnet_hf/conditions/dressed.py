"""How the mask of a dressed person is guided: the body moves with its joints, clothes stay clothes.

The joints of a mask are read by the network that reads people in photos, see `person_reader`.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import torch
from torch import Tensor

from ..person_reader import PERSON_CLASSES, NotFoundInPhotoError, read_joints_of_mask, read_person
from ..pictures import Picture
from ..propagation import Guide
from .base import Landmarks
from .bones import FOREARMS, HEAD, SHINS, THIGHS, UPPER_ARMS, in_cells, nearest_bone
from .joints import JOINTS
from .reflection import core_of, held_to_regions
from .regions import at_size, kept, labels_of
from .skinning import skinned

_NUMBER = {name: number for number, name in enumerate(PERSON_CLASSES)}
_BACKGROUND, _SKIN = _NUMBER["background"], _NUMBER["skin"]

ONE_HEAD = frozenset(_NUMBER[name] for name in ("skin", "hair", "headwear", "eyewear"))
"""Classes that a face may show: it is not cut up, and stays that of the exemplar."""

ON_HEAD = frozenset(_NUMBER[name] for name in ("hair", "headwear"))
"""Classes that show one another, but no skin: long hair beside a short one's neck would be bare."""

SMALL = frozenset(_NUMBER[name] for name in ("eyewear", "accessory"))
"""Classes that lie on others, which stay what they are if either picture lacks them."""

TAKEN_FOR_ANOTHER = tuple(
    frozenset(_NUMBER[name] for name in names)
    for names in (("top", "outerwear", "dress"), ("dress", "skirt_shorts"))
)
"""Classes that the network which reads photos mistakes for one another."""

LEAST_WORN = 0.0005
"""Share of the exemplar below which a class is not worn."""

LEAST_SEEN = 0.008
"""The same where a network saw the classes: less of one is more likely a mistake."""

UNSURE = 0.01
"""By how much a network draws people too small, as a share of the height: their outline is not to
be repeated on the ground beside them."""

SURE = 0.1
"""The score above which a joint guides: a doubtful one is better than a limb without its end."""

LIMBS_OF_SKIN = (
    tuple((joint, joint) for joint in HEAD[:-1]),
    UPPER_ARMS + FOREARMS,
    THIGHS + SHINS,
)
"""Head, arms and legs: bare legs are not continued with the skin of a hand."""


def landmarks_of_mask(labels: np.ndarray) -> Landmarks:
    """What guides of a mask (H, W) of `PERSON_CLASSES`; no point where it shows nobody."""
    try:
        joints = read_joints_of_mask(labels)
    except NotFoundInPhotoError:
        joints = np.full((len(JOINTS), 3), np.nan)
    return _landmarks(joints, labels)


def landmarks_of_photo(photo: Picture) -> Landmarks | None:
    """What guides of a photo; None where nobody is seen in it."""
    try:
        found = read_person(photo)
    except NotFoundInPhotoError:
        return None
    return _landmarks(found.joints, found.labels, is_read=True)


def _landmarks(joints: np.ndarray, labels: np.ndarray, is_read: bool = False) -> Landmarks:
    height, width = labels.shape
    points = torch.from_numpy(joints[:, :2] / (width, height)).float()
    points[torch.from_numpy(~(joints[:, 2] > SURE))] = torch.nan
    return Landmarks(points, kept(labels), is_read)


def dressed_guide(own: Landmarks, exemplar: Landmarks, exemplar_grid: tuple[int, int]) -> Guide:
    """Along the limbs, see `skinned_flow`, and each class only into what it may show.

    Raises ValueError for landmarks without labels.
    """
    labels, worn = labels_of(own), labels_of(exemplar)
    moved = skinned(own.points, exemplar.points, exemplar_grid)

    def cores(region: int) -> tuple[np.ndarray, np.ndarray]:
        asked = region // len(LIMBS_OF_SKIN)
        if asked not in exemplar.cores:
            exemplar.cores[asked] = _cores(asked, worn, exemplar.is_read)
        return exemplar.cores[asked]

    @functools.lru_cache(maxsize=4)  # of a call: the grid's, the window's and the picture's
    def places(size: tuple[int, int]) -> Tensor:
        asked = at_size(labels, size).astype(int)
        regions = asked * len(LIMBS_OF_SKIN)
        y, x = np.nonzero(asked == _SKIN)
        regions[y, x] += nearest_bone(in_cells(own.points, size), LIMBS_OF_SKIN, x + 1j * y)[0]
        found = held_to_regions(moved(size), regions, cores, exemplar_grid)
        return torch.from_numpy(np.stack([found.real, found.imag], axis=-1)).float()

    return places


def _cores(asked: int, worn: np.ndarray, is_read: bool) -> tuple[np.ndarray, np.ndarray]:
    """Of what an exemplar may show where a class is asked for, and of what continues that."""
    every = np.arange(len(PERSON_CLASSES))
    may_look, continues = (
        np.isin(every, classes)[worn]
        for classes in (_shown_for(asked, worn, is_read), _like(asked, is_read))
    )
    if asked == _BACKGROUND and is_read:
        away = np.ones((2 * max(round(UNSURE * len(worn)), 1) + 1,) * 2, np.uint8)
        may_look = continues = cv2.erode(may_look.astype(np.uint8), away, borderValue=1) > 0
    core = core_of(may_look)
    return core, core if np.array_equal(may_look, continues) else core_of(continues)


def _shown_for(asked: int, worn: np.ndarray, is_read: bool) -> list[int]:
    """The classes of an exemplar that may be shown where one is asked for."""
    if asked == _BACKGROUND:
        return [_BACKGROUND]
    heads = (group for group in (ON_HEAD, ONE_HEAD) if asked in group)
    alike = {*_like(asked, is_read)} | next(heads, frozenset())
    is_worn = np.isin(worn, sorted(alike - SMALL)).mean() >= (LEAST_SEEN if is_read else LEAST_WORN)
    if asked in SMALL or not is_worn:
        # Of all there is, cloth comes nearest to cloth, and to hair.
        bare = {_BACKGROUND} if asked in ONE_HEAD - ON_HEAD else {_BACKGROUND, _SKIN}
        return [number for number in range(len(PERSON_CLASSES)) if number not in bare]
    return sorted(alike | SMALL)


def _like(asked: int, is_read: bool) -> list[int]:
    """The class that is asked for, and those that it is mistaken for."""
    groups = [group for group in TAKEN_FOR_ANOTHER if is_read and asked in group]
    return sorted({asked}.union(*groups))
