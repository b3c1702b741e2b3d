"""What a system is given, and what it makes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor

from ..matching import Matching
from ..models import CorrespondenceOutput

ValueT = TypeVar("ValueT")


def needed(value: ValueT | None, what: str) -> ValueT:
    """`value`, without which a term cannot be computed. Raises ValueError if it is None."""
    if value is None:
        raise ValueError(f"a term of the losses needs {what}, and there is none.")
    return value


@dataclass(frozen=True)
class Batch:
    """Training examples. B of them, photos (B, 3, H, W) in [-1, 1], conditions (B, K, H, W).

    image: the photo that belongs to the condition. is_self_pair (B,): 1 where the exemplar is the
    image itself, distorted. The labels (B, H, W) are class numbers of condition and exemplar, where
    the data has them, and classes is how many the data declare: the largest label of a batch lies
    on the device, which would have to be waited for. ignored_label: the class that warped_mask
    leaves out: 0 in masks, as in the official training; None in label maps beside another
    condition, where every class counts.
    flow (B, 2, h, w): for each position of the matching its place in the exemplar, in pixels, NaN
    where unknown. instances (B, H, W): a number for each of the image's instances, where the data
    have them. matching_condition, matching_exemplar_condition: both conditions at the size at
    which they are matched, where that is smaller than the picture's. source_domain (B,): number of
    the domain that the condition's picture is of, where one of many is asked for. landmarks,
    exemplar_landmarks (B, n, 2): see `Condition.landmarks`, where it has any; landmark_labels,
    exemplar_landmark_labels (B, h, w): theirs, of a condition that is no label map itself.
    """

    image: Tensor
    condition: Tensor
    exemplar: Tensor
    exemplar_condition: Tensor | None
    is_self_pair: Tensor
    condition_labels: Tensor | None = None
    exemplar_labels: Tensor | None = None
    classes: int | None = None
    ignored_label: int | None = 0
    flow: Tensor | None = None
    instances: Tensor | None = None
    matching_condition: Tensor | None = None
    matching_exemplar_condition: Tensor | None = None
    source_domain: Tensor | None = None
    landmarks: Tensor | None = None
    exemplar_landmarks: Tensor | None = None
    landmark_labels: Tensor | None = None
    exemplar_landmark_labels: Tensor | None = None

    @property
    def matching_scale(self) -> int:
        """How many times larger the picture is than what is matched."""
        if self.matching_condition is None:
            return 1
        return self.condition.shape[-1] // self.matching_condition.shape[-1]

    def for_matching(self) -> Batch:
        """The pictures and conditions that the correspondence network sees."""
        scale = self.matching_scale
        if scale == 1 or self.matching_condition is None:
            return self

        def at_centres(labels: Tensor | None) -> Tensor | None:
            return None if labels is None else labels[:, scale // 2 :: scale, scale // 2 :: scale]

        return replace(
            self,
            image=F.avg_pool2d(self.image, scale),
            exemplar=F.avg_pool2d(self.exemplar, scale),
            condition=self.matching_condition,
            exemplar_condition=self.matching_exemplar_condition,
            condition_labels=at_centres(self.condition_labels),
            exemplar_labels=at_centres(self.exemplar_labels),
            flow=None if self.flow is None else (self.flow - (scale - 1) / 2) / scale,
            matching_condition=None,
            matching_exemplar_condition=None,
        )


@dataclass(frozen=True)
class Generated:
    """What a system made of a batch.

    image (B, 3, H, W). warped_exemplar (B, 3, H, W): the exemplar in the condition's layout, the
    image itself where nothing was painted; grid_exemplar: the same as (B, 3, h, w), one colour per
    position of the matching. These, matching and features are None of a system that has none.
    batch: the examples that this is to be compared with, where it was cut to windows of them.
    agreement (B, 1, H, W) in 0..1: share of the moved labels that are the condition's, where a term
    needs it. self_target (B, 3, H, W): what the image of a self pair is to be, where that is not
    the photo of the examples; self_weight (B, 1, H, W): how much its pixels count.
    """

    image: Tensor
    warped_exemplar: Tensor | None = None
    grid_exemplar: Tensor | None = None
    matching: Matching | None = None
    features: CorrespondenceOutput | None = None
    batch: Batch | None = None
    agreement: Tensor | None = None
    self_target: Tensor | None = None
    self_weight: Tensor | None = None
