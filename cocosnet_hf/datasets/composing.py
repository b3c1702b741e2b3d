"""The training example: two examples cut, flipped, warped and encoded to tensors."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..conditions import Condition, MaskCondition
from .geometry import NEAREST, Geometry, change_color, color_change
from .reading import Example
from .settings import DataSettings


class _Photos(TypedDict):
    image: Tensor
    condition: Tensor
    exemplar: Tensor
    exemplar_condition: Tensor
    is_self: Tensor


class TrainingExample(_Photos, total=False):
    """What the objective needs of one photo; the loader stacks it to batches.

    image, exemplar (3, H, W) float32 in [-1, 1]; condition, exemplar_condition (K, H, W) float32 in
    [0, 1]; is_self () float32: 1 where the exemplar shows the photo's own subject, else 0;
    condition_labels, exemplar_labels (H, W) int64, for masks and where there is a labels_column.
    """

    condition_labels: Tensor
    exemplar_labels: Tensor


def compose(
    target: Example,
    exemplar: Example,
    condition: Condition,
    settings: DataSettings,
    rng: np.random.Generator,
    same_subject: bool,
) -> TrainingExample:
    """Cut both by a draw of their own and encode them.

    same_subject: the exemplar shows the target's subject. Raises ValueError naming the example
    where the condition refuses its source, such as labels outside the classes.
    """
    is_self = exemplar is target
    geometry = Geometry.draw(target.image.size, settings, rng)
    other = Geometry.draw(
        exemplar.image.size, settings, rng, warp=settings.warp if is_self else 0.0
    )
    image, encoded, labels = _tensors(target, geometry, condition, settings.image_size)
    look, exemplar_encoded, exemplar_labels = _tensors(
        exemplar, other, condition, settings.image_size
    )
    if settings.augment and settings.color > 0:
        change = color_change(settings.color, rng)
        image = change_color(image, change)
        if not same_subject:
            change = color_change(settings.color, rng)
        look = change_color(look, change)
    example: TrainingExample = {
        "image": image,
        "condition": encoded,
        "exemplar": look,
        "exemplar_condition": exemplar_encoded,
        "is_self": torch.tensor(float(same_subject)),
    }
    if labels is not None and exemplar_labels is not None:
        example["condition_labels"] = labels
        example["exemplar_labels"] = exemplar_labels
    return example


def _tensors(
    example: Example, geometry: Geometry, condition: Condition, side: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Photo in [-1, 1], encoded condition and label map of one example through its geometry."""
    photo = geometry.picture(example.image)
    source = geometry.source(example.condition, example.image, photo)
    try:
        encoded = geometry.encoded(condition.encode(source, side, side), condition)
    except ValueError as error:
        raise ValueError(f"The condition of '{example.name}' cannot be used: {error}") from error
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)
    if isinstance(condition, MaskCondition):
        labels = mask_labels(encoded, condition)
    else:
        labels = _index_map(example, geometry)
    return pixels.float() / 127.5 - 1, encoded, labels


def mask_labels(encoded: Tensor, condition: MaskCondition) -> Tensor:
    """Class on top at every position of an encoded mask (K, H, W): (H, W) int64."""
    labels = torch.from_numpy(encoded.numpy().argmax(0))
    if condition.overlay is not None:
        labels[encoded[condition.overlay] > 0.5] = condition.overlay
    return labels


def _index_map(example: Example, geometry: Geometry) -> Tensor | None:
    if example.labels is None:
        return None
    labels: Image.Image = geometry.picture(example.labels, NEAREST)
    return torch.from_numpy(np.array(labels).astype(np.int64))
