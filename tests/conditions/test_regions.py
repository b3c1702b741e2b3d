"""A guided mask looks from each class to its like in the exemplar's own mask."""

import dataclasses

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


def test_what_was_read_in_doubt_is_not_looked_at_unless_it_is_all_there_is():
    own, exemplar = scene(20, 44), landmarks(scene(24, 48))
    sure = torch.ones(64, 96, dtype=torch.bool)
    sure[18:30] = False  # between sky and hills
    doubted = dataclasses.replace(exemplar, sure=sure)
    seen = (GUIDED.guide(landmarks(own), doubted, GRID)((64, 96))[..., 1] + 0.5) * 2 - 0.5
    assert seen[:20].max() <= 18 and seen[20:44].min() >= 29
    nowhere = dataclasses.replace(exemplar, sure=torch.zeros_like(sure))
    guides = (GUIDED.guide(landmarks(own), one, GRID)((64, 96)) for one in (nowhere, exemplar))
    assert torch.equal(*guides)


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


def test_a_small_part_that_the_exemplar_lacks_takes_its_surroundings():
    own, exemplar = scene(20, 64), scene(24, 64)
    own[30:36, 10:16] = 2  # a pond in the hills
    guides = (
        GUIDED.guide(landmarks(one), landmarks(exemplar), GRID)((64, 96))
        for one in (own, scene(20, 64))
    )
    assert torch.equal(*guides)
    own[30:40, 10:40] = 2
    guide = GUIDED.guide(landmarks(own), landmarks(exemplar), GRID)((64, 96)).numpy()
    assert np.isnan(guide[30:40, 10:40]).all()


def test_at_any_fineness_it_says_the_same():
    own, exemplar = landmarks(scene(20, 44)), landmarks(scene(28, 40))
    guide = GUIDED.guide(own, exemplar, GRID)
    fine = guide((128, 192))[::2, ::2]
    assert (fine - guide((64, 96)))[4:-4, 4:-4].abs().quantile(0.9) < 0.5


def test_only_a_guided_mask_has_landmarks():
    plain = MaskCondition.from_names(["sky", "hill", "lake"])
    assert plain.landmarks(plain.open(scene(20, 44))) is None
    assert MaskCondition.from_config(GUIDED.to_config()) == GUIDED
    unguided = GUIDED.unguided()
    assert unguided.landmarks(unguided.open(scene(20, 44))) is None and GUIDED.has_landmarks
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


@pytest.mark.parametrize("sizes", [((64, 64), (64, 128)), ((64, 128), (128, 64))])
def test_pictures_of_another_aspect_are_not_bent(sizes: tuple[tuple[int, int], tuple[int, int]]):
    """Sky over a hill at the same height; a step across is as long there as one down."""
    own, exemplar = ((np.mgrid[: size[0], : size[1]][0] >= size[0] // 2) for size in sizes)
    found = [landmarks(labels.astype(np.uint8)) for labels in (own, exemplar)]
    grid = (sizes[1][0] // 2, sizes[1][1] // 2)
    guide = GUIDED.guide(*found, grid)(sizes[0]).numpy()
    middle = guide[8:24, sizes[0][1] // 2 - 4 : sizes[0][1] // 2 + 4]
    across, down = np.diff(middle[..., 0], axis=1), np.diff(middle[..., 1], axis=0)
    assert 0.4 < np.median(across) / np.median(down) < 2.3
    assert (guide >= -0.5).all() and (guide <= np.array(grid[::-1]) - 0.5).all()


def test_beyond_a_small_region_it_is_mirrored_and_not_drawn_out():
    own, exemplar = np.zeros((64, 96), np.uint8), np.ones((64, 96), np.uint8)
    exemplar[:, :20] = 0
    guide = GUIDED.guide(landmarks(own), landmarks(exemplar), GRID)((64, 96)).numpy()
    assert (guide[..., 0] >= -0.5).all() and (guide[..., 0] <= 20 / 2 - 0.5).all()
    assert (np.abs(np.diff(guide[32, :, 0])) < 1e-3).mean() < 0.15


def test_an_overlay_lies_on_top_in_every_form_of_a_mask():
    masks = MaskCondition.from_names(["skin", "hair", "glasses"], overlay=2, beneath=0, guided=True)
    labels = np.zeros((64, 64), np.uint8)
    labels[20:30, 10:50] = 2
    encoded = masks.encode(labels, 64, 64)
    forms = [masks.open(labels), encoded, masks.open(encoded.numpy())]
    found = [masks.landmarks(form).labels for form in forms]
    assert all(torch.equal(one, torch.from_numpy(labels).short()) for one in found)


def test_what_has_no_class_is_left_to_the_matching():
    encoded = GUIDED.encode(scene(20, 44), 64, 96)
    encoded[:, 10:16] = 0
    own = GUIDED.landmarks(encoded)
    guide = GUIDED.guide(own, landmarks(scene(20, 44)), GRID)((64, 96))
    assert guide[10:16].isnan().all() and not guide[:10].isnan().any()


def test_a_mask_may_have_more_classes_than_a_byte():
    many = MaskCondition.from_names([f"class {number}" for number in range(300)], guided=True)
    labels = np.full((32, 32), 256)
    assert many.landmarks(many.open(labels)).labels.unique().tolist() == [256]


def test_a_thin_line_stays_where_a_mask_is_made_larger():
    labels = np.zeros((64, 64), np.uint8)
    labels[:, 30] = 1
    assert (at_size(labels, (128, 128)) == 1).mean() > 0.012
