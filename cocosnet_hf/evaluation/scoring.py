"""Every metric of single items: from a picture and its pair to named values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..conditions import Condition
from ..pictures import to_image
from .extractors import perceptual_name
from .methods import ClassScore, Scores, stacked_labels
from .metric_networks import MetricNetworks
from .pairs import Pair
from .pictures import (
    class_iou,
    confusion,
    copy_score,
    edge_f1,
    mask_accuracy,
    perceptual_distance,
    pose_pck,
    psnr,
    ssim,
)
from .regions import RegionScores, semantic_consistency, style_relevance


@dataclass(frozen=True)
class References:
    """What pictures of some pairs are compared with, on the device.

    targets, exemplars (B, 3, H, W) in 0..1 and their perceptual features, five layers each.
    """

    pairs: Sequence[Pair]
    targets: Tensor
    exemplars: Tensor
    target_features: list[Tensor]
    exemplar_features: list[Tensor]


class Scorer:
    """Scores pictures of a condition through `MetricNetworks` on a device."""

    def __init__(
        self, condition: Condition, networks: MetricNetworks, device: torch.device | str
    ) -> None:
        self.condition, self.networks = condition, networks
        self.device = torch.device(device)
        networks.to(self.device)

    @torch.no_grad()
    def features(self, pictures: Tensor) -> list[Tensor]:
        """The perceptual network's five layers for (B, 3, H, W) in 0..1; none without it."""
        network = self.networks.perceptual
        if network is None:
            return []
        found = network(pictures.to(self.device) * 2 - 1, network.layers)
        return [found[layer] for layer in network.layers]

    def references(self, pairs: Sequence[Pair], targets: Tensor, exemplars: Tensor) -> References:
        """Everything that the pictures of these pairs share. Both (B, 3, H, W) in 0..1."""
        targets, exemplars = targets.to(self.device), exemplars.to(self.device)
        return References(
            pairs, targets, exemplars, self.features(targets), self.features(exemplars)
        )

    @torch.no_grad()
    def vectors(self, pictures: Tensor) -> dict[str, np.ndarray]:
        """Each extractor's (B, D) for (B, 3, H, W) in 0..1, by its name."""
        pictures = pictures.to(self.device)
        return {
            extractor.name: extractor.network(pictures).float().cpu().numpy()
            for extractor in self.networks.extractors
        }

    @torch.no_grad()
    def score(self, pictures: Tensor, references: References) -> list[Scores]:
        """Every metric of each picture of (B, 3, H, W) in 0..1."""
        pictures, pairs = pictures.to(self.device), references.pairs
        columns = {
            "SSIM": ssim(pictures, references.targets),
            "PSNR": psnr(pictures, references.targets),
            "copy_score": copy_score(pictures, references.exemplars),
        }
        if self.networks.lpips is not None:
            columns["LPIPS-AlexNet"] = self.networks.lpips(pictures, references.targets)
        features = self.features(pictures)
        if features:
            name = f"perceptual_distance-{self.perceptual_name}"
            columns[name] = perceptual_distance(features, references.target_features)
        scores = [
            Scores({name: float(values[index]) for name, values in columns.items()})
            for index in range(len(pairs))
        ]
        if features:
            self._add_regions(scores, features, references)
        for score, picture, pair in zip(scores, pictures, pairs, strict=True):
            photo = to_image(picture, low=0)
            self._add_edges(score, photo, pair)
            self._add_mask(score, photo, pair)
            self._add_pose(score, photo, pair)
        return scores

    @property
    def perceptual_name(self) -> str:
        """What metrics call the perceptual network, which must be there."""
        if self.networks.perceptual is None:
            raise ValueError("There is no perceptual network, so that it has no name.")
        return perceptual_name(self.networks.perceptual)

    def _add_regions(
        self, scores: list[Scores], features: list[Tensor], references: References
    ) -> None:
        labels, exemplar_labels = (
            None if found is None else found.to(self.device)
            for found in (
                stacked_labels(pair.target for pair in references.pairs),
                stacked_labels(pair.exemplar for pair in references.pairs),
            )
        )
        regions: dict[str, list[RegionScores]] = {}
        if labels is not None:
            regions["semantic_consistency"] = semantic_consistency(
                features[2:], references.target_features[2:], labels
            )
        if labels is not None and exemplar_labels is not None:
            for layer, kind in enumerate(("color", "texture")):
                regions[f"style_{kind}"] = style_relevance(
                    features[layer], references.exemplar_features[layer], labels, exemplar_labels
                )
        for metric, of_items in regions.items():
            name = f"{metric}-{self.perceptual_name}"
            for score, region in zip(scores, of_items, strict=True):
                score.values[name] = region.mean()
                score.classes += [
                    ClassScore(name, int(label), float(area), float(similarity))
                    for label, area, similarity in zip(
                        region.classes, region.area, region.similarity, strict=True
                    )
                ]

    def _add_edges(self, score: Scores, photo: Image.Image, pair: Pair) -> None:
        found = self.condition.lines(photo)
        if found is not None:
            wanted = pair.target.condition[0].numpy() > 0.5
            score.values["edge_F1"] = edge_f1(found, wanted)

    def _add_mask(self, score: Scores, photo: Image.Image, pair: Pair) -> None:
        if self.networks.segmenter is None or pair.target.labels is None:
            return
        name, segment = self.networks.segmenter
        found = torch.from_numpy(np.asarray(segment(photo)).astype(np.int64))
        if found.shape != pair.target.labels.shape:
            raise ValueError(
                f"The segmenter '{name}' must return classes {tuple(pair.target.labels.shape)}, "
                f"got {tuple(found.shape)}."
            )
        confused = confusion(found, pair.target.labels, self.condition.channels)
        score.values[f"mask_accuracy-{name}"] = mask_accuracy(confused)
        union = confused.sum(0) + confused.sum(1) - confused.diagonal()
        for label in union.nonzero()[:, 0].tolist():
            value = class_iou(confused)[label].item()
            score.classes.append(ClassScore(f"IoU-{name}", label, float(union[label]), value))

    def _add_pose(self, score: Scores, photo: Image.Image, pair: Pair) -> None:
        if self.networks.pose_finder is None or pair.target.pose is None:
            return
        name, find = self.networks.pose_finder
        least = self.condition.least_score
        score.values[f"PCK-{name}"] = pose_pck(find(photo), pair.target.pose, min_score=least)
