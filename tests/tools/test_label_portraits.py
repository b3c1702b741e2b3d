"""Labels of portraits: theirs where they say something, the reader's where they do not."""

import numpy as np

from cocosnet_hf.conditions.faces import CELEBAMASK_FACE_CLASSES
from tools.label_portraits import combined

PERSON, SKIN, EYE_ON_THE_LEFT = 1, 2, 4


def read_as(**parts: float) -> np.ndarray:
    """One pixel of which a reader is so sure, (K, 1, 1)."""
    shares = np.zeros((len(CELEBAMASK_FACE_CLASSES), 1, 1))
    for name, share in parts.items():
        shares[CELEBAMASK_FACE_CLASSES.index(name)] = share
    return shares


def name_of(given: int, **parts: float) -> str:
    return CELEBAMASK_FACE_CLASSES[combined(np.array([[given]]), read_as(**parts))[0, 0]]


def test_the_reader_says_what_of_a_person_it_is_and_not_whether():
    assert name_of(PERSON, background=0.7, neck=0.2, hair=0.1) == "neck"
    assert name_of(SKIN, cloth=0.9, glasses=0.06, skin=0.04) == "glasses"


def test_the_eye_on_the_left_of_a_picture_is_the_persons_right_one():
    assert name_of(EYE_ON_THE_LEFT, l_eye=0.9, r_eye=0.1) == "r_eye"


def test_hair_that_is_sure_lies_over_skin_and_ground():
    assert name_of(SKIN, hair=0.7, skin=0.3) == "hair"
    assert name_of(SKIN, hair=0.5, skin=0.5) == "skin"
    assert name_of(0, hair=0.7, background=0.3) == "background"
    assert name_of(0, hair=0.9, background=0.1) == "hair"
