"""Metrics of regions and of the correspondence against second implementations."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf import Matching
from cocosnet_hf.evaluation import carry_labels, semantic_consistency, style_relevance
from cocosnet_hf.evaluation.regions import pool_regions
from tests.support.metrics import blocks, noise

# Regions -----------------------------------------------------------------------------------------


def reference_consistency(
    layers: list[np.ndarray], others: list[np.ndarray], labels: np.ndarray, own: np.ndarray
) -> float:
    """Features enlarged to the pictures, masks of each class, cosines, area: one after the other.

    labels of the first picture, `own` those of the second; class 0 counts.
    """
    height, width = labels.shape
    scores = []
    for layer, other in zip(layers, others, strict=True):
        big, other_big = (
            np.repeat(np.repeat(x, height // x.shape[1], 1), width // x.shape[2], 2)
            for x in (layer.astype(float), other.astype(float))
        )
        score = area = 0.0
        for label in set(np.unique(labels)) & set(np.unique(own)):
            a, b = big[:, labels == label].mean(1), other_big[:, own == label].mean(1)
            share = (labels == label).mean()
            score += share * (a @ b) / np.linalg.norm(a) / np.linalg.norm(b)
            area += share
        scores.append(score / area)
    return float(np.mean(scores))


def test_region_pooling_agrees_with_a_second_implementation():
    layers = [noise(0, 2, 6, 16, 16) + 0.5, noise(1, 2, 9, 4, 4) + 0.5]
    others = [noise(2, 2, 6, 16, 16) + 0.5, noise(3, 2, 9, 4, 4) + 0.5]
    labels = torch.stack([blocks(0), blocks(1)])
    own = torch.stack([blocks(2, classes=3), blocks(3)])
    found = semantic_consistency(layers, others, labels)
    relevance = style_relevance(layers[0], others[0], labels, own, ignore=None)
    for index in range(2):
        maps, other_maps = ([x[index].numpy() for x in some] for some in (layers, others))
        own_labels = labels[index].numpy()
        expected = reference_consistency(maps, other_maps, own_labels, own_labels)
        assert found[index].mean() == pytest.approx(expected, abs=1e-5)
        expected = reference_consistency(maps[:1], other_maps[:1], own_labels, own[index].numpy())
        assert relevance[index].mean() == pytest.approx(expected, abs=1e-5)


def test_pooled_means_are_those_of_the_map_enlarged_to_any_size():
    features, labels = noise(0, 3, 5, 7), blocks(1, 33)[:, :29]
    big = F.interpolate(features[None], size=labels.shape, mode="nearest")[0]
    classes, count, means = pool_regions(features, labels)
    for label, pixels, mean in zip(classes, count, means, strict=True):
        assert pixels == (labels == label).sum()
        torch.testing.assert_close(mean, big[:, labels == label].mean(1))


def test_an_image_is_consistent_with_itself_and_pooling_matters():
    features, labels = [noise(0, 1, 16, 32, 32) + 1], blocks(0)[None]
    assert semantic_consistency(features, features, labels)[0].mean() == pytest.approx(1)
    # The same content with other noise on it: the regions agree, their positions do not.
    others = [noise(1, 1, 16, 32, 32) + 1]
    by_position = F.cosine_similarity(features[0], others[0]).mean().item()
    by_region = semantic_consistency(features, others, labels)[0].mean()
    assert by_position < 0.6 < 0.95 < by_region


def test_regions_do_not_depend_on_the_order_of_the_batch():
    features, others = noise(0, 3, 4, 8, 8), noise(1, 3, 4, 8, 8)
    labels = torch.stack([blocks(seed) for seed in range(3)])
    plain = semantic_consistency([features], [others], labels)
    turned = semantic_consistency([features.flip(0)], [others.flip(0)], labels.flip(0))
    assert [score.mean() for score in plain] == [score.mean() for score in reversed(turned)]


def test_style_relevance_leaves_out_class_0_and_classes_that_one_side_lacks():
    features, others = noise(0, 1, 4, 2, 2), noise(1, 1, 4, 2, 2)
    labels = torch.tensor([[[0, 1], [2, 2]]])
    exemplar_labels = torch.tensor([[[2, 0], [0, 3]]])
    (found,) = style_relevance(features, others, labels, exemplar_labels)
    assert (found.classes.tolist(), found.area.tolist()) == ([2], [0.5])
    mine, theirs = features[0, :, 1].mean(1), others[0, :, 0, 0]
    assert found.mean() == pytest.approx(F.cosine_similarity(mine, theirs, dim=0).item())
    (kept,) = style_relevance(features, others, labels, exemplar_labels, ignore=None)
    assert kept.classes.tolist() == [0, 2]


def test_a_picture_that_shares_no_class_with_its_exemplar_has_no_style_score():
    features = noise(0, 1, 4, 2, 2)
    (found,) = style_relevance(
        features, features, torch.ones(1, 2, 2).long(), torch.zeros(1, 2, 2).long()
    )
    assert len(found.classes) == 0 and math.isnan(found.mean())


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        ([], torch.zeros(1, 4, 4).long(), "the same layers, at least one, got 0 and 1"),
        ([noise(0, 1, 3, 4, 4)], torch.zeros(1, 4, 4), r"whole numbers \(B, H, W\), got torch.f"),
        ([noise(0, 1, 2, 4, 4)], torch.zeros(1, 4, 4).long(), r"got \(1, 2, 4, 4\) and"),
        ([noise(0, 2, 3, 4, 4)], torch.zeros(1, 4, 4).long(), "for the B = 1 label maps"),
    ],
)
def test_regions_of_unfitting_shapes_are_refused(
    features: list[Tensor], labels: Tensor, message: str
):
    with pytest.raises(ValueError, match=message):
        semantic_consistency(features, [noise(1, 1, 3, 4, 4)], labels)


# Correspondence ----------------------------------------------------------------------------------


def test_a_matching_that_finds_everything_carries_every_label():
    content = noise(0, 2, 16, 8, 8)
    labels = 100 + torch.stack([blocks(0, 8), blocks(1, 8)])
    pictures = labels.repeat_interleave(4, 1).repeat_interleave(4, 2)
    matching = Matching(content, content.flip(3), patch_size=1)
    carried = carry_labels(matching, pictures, pictures.flip(2))
    assert carried.accuracy().tolist() == [1, 1]
    assert torch.equal(carried.warped, labels)
    expected = (labels == labels.flip(2)).float().mean((1, 2))
    assert torch.equal(carried.identity_accuracy(), expected)
    assert expected.max() < 1


def test_labels_of_an_exemplar_of_another_size_have_no_identity_accuracy():
    matching = Matching(noise(0, 2, 16, 8, 8), noise(1, 2, 16, 6, 10))
    labels = torch.zeros(2, 32, 32).long()
    carried = carry_labels(matching, labels, torch.zeros(2, 24, 40).long())
    assert carried.identity_accuracy() is None
    assert carried.accuracy().tolist() == [1, 1]
    with pytest.raises(ValueError, match="4 times as large as the matching's grid"):
        carry_labels(matching, labels[:, :16], torch.zeros(2, 24, 40).long())


@pytest.mark.parametrize(
    ("lands_in", "share"), [(lambda label: label, 1), (lambda label: 1 - label, 0)]
)
def test_labels_are_carried_as_the_guide_of_a_painted_flow_leads(
    lands_in: Callable[[Tensor], Tensor], share: float
):
    """Pixel by pixel, with a border within a cell, whatever the matching itself finds."""
    labels = torch.zeros(1, 32, 32).long()
    labels[..., 14:] = 1

    def guide(size: tuple[int, int]) -> Tensor:
        row, column = ((torch.arange(side) + 0.5) / side for side in size)
        right = lands_in((column * 32 >= 14).long())  # to the middle of the half of that class
        place = torch.stack(torch.broadcast_tensors(right * 4 + 1.5, row[:, None] * 8 - 0.5), -1)
        return place

    matching = Matching(noise(0, 1, 16, 8, 8), noise(1, 1, 16, 8, 8), guides=[[guide]])
    exemplar = torch.zeros(1, 64, 64).long()
    exemplar[..., 32:] = 1
    carried = carry_labels(matching.coherent(), labels, exemplar)
    assert carried.accuracy().tolist() == [share]
    assert torch.equal(carried.wanted, labels) and carried.identity_accuracy() is None
    assert 0.3 < carry_labels(matching, labels, exemplar[:, ::2, ::2]).accuracy().item() < 0.7
