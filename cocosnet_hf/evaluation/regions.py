"""Semantic consistency and style relevance: features compared class by class (Zhang et al. 2020).

The paper's tables 2 and 3 pool the features of each class's region before the cosine is taken.
Position by position the same networks' cosines come out far lower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class RegionScores:
    """How alike the regions of two pictures are, class by class.

    classes (K,): the labels that were compared. area (K,): each one's share of the first picture.
    similarity (K,): the cosine of the mean features.
    """

    classes: Tensor
    area: Tensor
    similarity: Tensor

    def mean(self) -> float:
        """The similarity weighted by area; NaN if no class was compared."""
        return ((self.similarity * self.area).sum() / self.area.sum()).item()


def semantic_consistency(
    features: Sequence[Tensor], target_features: Sequence[Tensor], labels: Tensor
) -> list[RegionScores]:
    """How alike output and ground truth are in the regions of the condition, for each picture.

    features, target_features: for each layer (B, C, h, w); the paper's are relu3_2, relu4_2 and
    relu5_2 of VGG-19, whose similarities are averaged. labels (B, H, W): the condition's classes.
    Raises ValueError for shapes that do not fit.
    """
    _require(features, target_features, labels, labels)
    scores = []
    for index, own in enumerate(labels):
        layers = [
            compare_regions(layer[index], own, target[index], own)
            for layer, target in zip(features, target_features, strict=True)
        ]
        similarity = torch.stack([layer.similarity for layer in layers]).mean(0)
        scores.append(RegionScores(layers[0].classes, layers[0].area, similarity))
    return scores


def style_relevance(
    features: Tensor,
    exemplar_features: Tensor,
    labels: Tensor,
    exemplar_labels: Tensor,
    ignore: int | None = 0,
) -> list[RegionScores]:
    """How alike output and exemplar are in the classes that both have, for each picture.

    features, exemplar_features (B, C, h, w): the paper's are relu1_2 of VGG-19 for colour and
    relu2_2 for texture. labels, exemplar_labels (B, H, W): of the condition and of the exemplar.
    ignore: a class that is left out, in the paper 0. A picture that shares no class with its
    exemplar has no scores, and its mean is NaN. Raises ValueError for shapes that do not fit.
    """
    _require([features], [exemplar_features], labels, exemplar_labels)
    return [
        compare_regions(*item, ignore=ignore)
        for item in zip(features, labels, exemplar_features, exemplar_labels, strict=True)
    ]


def compare_regions(
    features: Tensor,
    labels: Tensor,
    other_features: Tensor,
    other_labels: Tensor,
    ignore: int | None = None,
) -> RegionScores:
    """The cosine between two pictures' mean features over each class that both have.

    features, other_features (C, h, w); labels (H, W), other_labels (H', W'): whole numbers.
    """
    classes, count, means = pool_regions(features, labels)
    other_classes, _, other_means = pool_regions(other_features, other_labels)
    shared = torch.isin(classes, other_classes)
    if ignore is not None:
        shared &= classes != ignore
    classes, area = classes[shared], count[shared] / labels.numel()
    other_means = other_means[torch.searchsorted(other_classes, classes)]
    return RegionScores(classes, area, F.cosine_similarity(means[shared], other_means, dim=1))


def pool_regions(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each class's mean feature over its region, as if the map had the labels' size.

    features (C, h, w), thought of as enlarged to (H, W) by nearest neighbour; labels (H, W).
    Returns the classes found (K,) in ascending order, their pixels (K,) and the means (K, C).
    """
    height, width = labels.shape
    rows, columns = (
        torch.arange(side, device=labels.device) * own // side
        for side, own in ((height, features.shape[1]), (width, features.shape[2]))
    )
    positions = features.shape[1] * features.shape[2]
    cell = rows[:, None] * features.shape[2] + columns
    classes, number = labels.unique(return_inverse=True)
    pixels = torch.bincount(
        (number * positions + cell).flatten(), minlength=len(classes) * positions
    ).view(len(classes), positions)
    count = pixels.sum(1)
    means = pixels.to(features) @ features.flatten(1).t() / count[:, None]
    return classes, count, means


def _require(
    features: Sequence[Tensor], others: Sequence[Tensor], labels: Tensor, other_labels: Tensor
) -> None:
    if not features or len(features) != len(others):
        raise ValueError(
            f"Both pictures need the same layers, at least one, got {len(features)} and "
            f"{len(others)}."
        )
    for name, given in (("labels", labels), ("exemplar_labels", other_labels)):
        if given.ndim != 3 or given.is_floating_point():
            raise ValueError(
                f"{name} must be whole numbers (B, H, W), got {given.dtype} {tuple(given.shape)}."
            )
    for layer, other in zip(features, others, strict=True):
        fits = layer.ndim == other.ndim == 4 and layer.shape[1] == other.shape[1]
        if not fits or not len(layer) == len(other) == len(labels) == len(other_labels):
            raise ValueError(
                f"features must be (B, C, h, w) for the B = {len(labels)} label maps, got "
                f"{tuple(layer.shape)} and {tuple(other.shape)}."
            )
