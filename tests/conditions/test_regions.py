"""A guided mask looks from each class to its like in the exemplar's own mask."""

import numpy as np
import pytest
import torch

from cocosnet_hf import MaskCondition
from cocosnet_hf.conditions.base import Landmarks
from cocosnet_hf.conditions.regions import at_size, region_guide

GUIDED = MaskCondition.from_names(["sky", "hill", "lake"], guided=True)
GRID = (32, 48)


def scene(horizon: int, shore: int) -> np.ndarray:
    """Sky above hills above a lake, 64 x 96."""
    labels = np.zeros((64, 96), np.uint8)
    labels[horizon:] = 1
    labels[shore:] = 2
    return labels


def landmarks(labels: np.ndarray) -> Landmarks:
    found = GUIDED.landmarks(GUIDED.open(labels))
    assert found is not None
    return found


def rows(own: np.ndarray, exemplar: np.ndarray) -> np.ndarray:
    """The exemplar's row, of 64, at which each of 64 rows looks, in the middle of the picture."""
    guide = GUIDED.guide(landmarks(own), landmarks(exemplar), GRID)((64, 96))
    return (guide[:, 48, 1].numpy() + 0.5) * 2 - 0.5


def test_every_class_looks_only_at_its_like():
    own, exemplar = scene(20, 44), scene(32, 40)
    guide = GUIDED.guide(landmarks(own), landmarks(exemplar), GRID)((64, 96))
    places = (guide.numpy() + 0.5) * 2
    seen = exemplar[places[..., 1].astype(int), places[..., 0].astype(int)]
    assert np.array_equal(seen, own)


def test_a_region_is_laid_on_the_exemplars():
    found = rows(scene(16, 48), scene(24, 48))
    hills = found[16:48]
    assert hills[4:-4].min() > 24 and hills[4:-4].max() < 48
    assert (np.diff(hills[2:-2]) > 0).all()


def test_the_same_mask_looks_at_the_same_place():
    own = scene(20, 44)
    away = abs(rows(own, own) - np.arange(64))
    assert np.median(away) < 1e-3 and away.max() < 4  # nearest to the borders it is mirrored


def test_what_the_exemplar_lacks_is_left_to_the_matching():
    found = rows(scene(20, 44), scene(20, 64))
    assert np.isnan(found[44:]).all() and not np.isnan(found[:44]).any()


def test_at_any_fineness_it_says_the_same():
    own, exemplar = landmarks(scene(20, 44)), landmarks(scene(28, 40))
    guide = GUIDED.guide(own, exemplar, GRID)
    fine = guide((128, 192))[::2, ::2]
    assert (fine - guide((64, 96)))[4:-4, 4:-4].abs().quantile(0.9) < 0.5


def test_only_a_guided_mask_has_landmarks():
    plain = MaskCondition.from_names(["sky", "hill", "lake"])
    assert plain.landmarks(plain.open(scene(20, 44))) is None
    assert MaskCondition.from_config(GUIDED.to_config()) == GUIDED
    config = plain.to_config()
    del config["guided"]  # as pipelines of before have it
    assert MaskCondition.from_config(config) == plain


def test_landmarks_without_labels_are_refused():
    bare = Landmarks(torch.empty(0, 2))
    with pytest.raises(ValueError, match="landmarks with labels"):
        region_guide(bare, landmarks(scene(20, 44)), GRID)


def test_a_mask_made_larger_has_no_steps():
    y, x = np.mgrid[:64, :48]
    labels = (x > 10 + y // 4).astype(np.uint8) * 2
    large = at_size(labels, (256, 192))
    borders = (large > 0).argmax(1)
    assert abs(borders - (42 + np.arange(256) / 4)).max() <= 3
    assert np.diff(borders).max() <= 2
    assert np.array_equal(at_size(labels, (64, 48)), labels)
    assert np.array_equal(at_size(labels, (32, 24)), labels[1::2, 1::2])
