"""Landscapes look at what is most like where the exemplar lacks a class."""

import numpy as np
import torch

from cocosnet_hf import MaskCondition
from cocosnet_hf.conditions.guiding import KIN
from cocosnet_hf.landscape_reader import LANDSCAPE_CLASSES

CLASSES = LANDSCAPE_CLASSES
SIZE = (64, 48)


def halves(upper: str, lower: str, height: int = 32) -> np.ndarray:
    labels = np.full(SIZE, CLASSES.index(lower))
    labels[:height] = CLASSES.index(upper)
    return labels


def looked_at(condition: MaskCondition, own: np.ndarray, worn: np.ndarray) -> torch.Tensor:
    """Rows of the exemplar at which the asked ones look, of its SIZE; NaN where nothing guides."""
    landmarks = [condition.landmarks(condition.open(labels)) for labels in (own, worn)]
    return condition.guide(*landmarks, SIZE)(SIZE)[..., 1]


def test_a_class_that_the_exemplar_lacks_looks_at_its_kin():
    condition = MaskCondition.from_names(CLASSES, guided=True)
    rows = looked_at(condition, halves("sky", "mountain", 40), halves("sky", "rock"))
    assert (rows[:40] < 32).all() and (rows[40:] > 31).all()


def test_a_class_without_kin_there_is_left_to_the_matching():
    condition = MaskCondition.from_names(CLASSES, guided=True)
    rows = looked_at(condition, halves("sky", "person"), halves("sky", "rock"))
    assert not rows[:32].isnan().any() and rows[32:].isnan().all()


def test_other_classes_have_no_kin():
    condition = MaskCondition.from_names(CLASSES[::-1], guided=True)
    own, worn = (
        len(CLASSES) - 1 - each for each in (halves("sky", "mountain"), halves("sky", "rock"))
    )
    assert looked_at(condition, own, worn)[32:].isnan().all()


def test_kin_are_classes_and_no_class_is_its_own():
    for name, kin in KIN.items():
        assert {name, *kin} <= set(CLASSES) and name not in kin
