"""The training example: two examples cut, flipped, warped and encoded to tensors."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..conditions import Condition, EdgeCondition, MaskCondition
from .flows import known_flow, region_flow
from .geometry import NEAREST, Geometry, change_color, color_change
from .reading import Example
from .settings import DataSettings


class _Always(TypedDict):
    image: Tensor
    exemplar: Tensor
    is_self: Tensor


class TrainingExample(_Always, total=False):
    """What the objective needs of one photo; the loader stacks it to batches.

    image, exemplar (3, H, W) float32 in [-1, 1]; is_self () float32: 1 where the exemplar shows the
    photo's own subject, else 0; condition, exemplar_condition (K, H, W) float32 in [0, 1], not for
    masks: `MaskCondition.one_hot` makes them from the labels on the device, to which 151 classes at
    256 pixels would otherwise travel as 80 MB;
    matching_condition, matching_exemplar_condition: the same at the size of the matching, where
    matching_scale says that it is smaller;
    condition_labels, exemplar_labels (H, W) int64, for masks and where there is a labels_column;
    flow (2, H / flow_stride, W / flow_stride) float32: for the centre of each cell (x, y) in pixels
    of the exemplar, NaN where unknown: exact for the photo itself, else by `region_flow` of labels.
    """

    condition: Tensor
    exemplar_condition: Tensor
    condition_labels: Tensor
    exemplar_labels: Tensor
    matching_condition: Tensor
    matching_exemplar_condition: Tensor
    flow: Tensor


class _Pictures(NamedTuple):
    """Photo, encoded condition, the same for the matching, label map: of one example."""

    photo: Tensor
    encoded: Tensor | None
    matched: Tensor | None
    labels: Tensor | None


def compose(
    target: Example,
    exemplar: Example | None,
    condition: Condition,
    settings: DataSettings,
    rng: np.random.Generator,
) -> TrainingExample:
    """Cut both by a draw of their own and encode them.

    exemplar: None for the target itself. Raises ValueError naming the example where the condition
    refuses its source, such as labels outside the classes.
    """
    is_self = exemplar is None
    same_subject = is_self or settings.same_look
    exemplar = target if is_self else exemplar
    geometry = Geometry.draw(target.image.size, settings, rng)
    distortion = {"warp": settings.warp, "zoom": settings.zoom} if is_self else {}
    other = Geometry.draw(exemplar.image.size, settings, rng, **distortion)
    image, encoded, matched, labels = _tensors(
        target, geometry, jittered(condition, settings, rng), settings
    )
    look, exemplar_encoded, exemplar_matched, exemplar_labels = _tensors(
        exemplar, other, jittered(condition, settings, rng), settings
    )
    if settings.augment and settings.color > 0:
        change = color_change(settings.color, rng)
        image = change_color(image, change)
        if not same_subject:
            change = color_change(settings.color, rng)
        look = change_color(look, change)
    example: TrainingExample = {
        "image": image,
        "exemplar": look,
        "is_self": torch.tensor(float(same_subject)),
    }
    if encoded is not None and exemplar_encoded is not None:
        example["condition"] = encoded
        example["exemplar_condition"] = exemplar_encoded
    if matched is not None and exemplar_matched is not None:
        example["matching_condition"] = matched
        example["matching_exemplar_condition"] = exemplar_matched
    if labels is not None and exemplar_labels is not None:
        example["condition_labels"] = labels
        example["exemplar_labels"] = exemplar_labels
    if settings.flow_stride:
        maps = None if labels is None else (labels.numpy(), exemplar_labels.numpy())
        stride = settings.flow_stride
        if is_self:
            flow = known_flow(geometry, other, stride)
        elif maps is not None:
            flow = region_flow(*maps, stride)
        else:
            flow = np.full((2, *(side // stride for side in image.shape[1:])), np.nan, np.float32)
        example["flow"] = torch.from_numpy(flow)
    return example


def jittered(condition: Condition, settings: DataSettings, rng: np.random.Generator) -> Condition:
    """An edge condition with random blur and thresholds, see `edge_jitter`; others unchanged."""
    if not (settings.augment and settings.edge_jitter and isinstance(condition, EdgeCondition)):
        return condition
    blur, threshold = (1 + settings.edge_jitter) ** rng.uniform(-1, 1, 2)
    low, high = (min(1.0, value * threshold) for value in (condition.low, condition.high))
    return dataclasses.replace(condition, sigma=condition.sigma * blur, low=low, high=high)


def _tensors(
    example: Example, geometry: Geometry, condition: Condition, settings: DataSettings
) -> _Pictures:
    """What an example is made of, through its geometry; the photo in [-1, 1].

    Of a mask, which a picture gives without doubt, only the label map.
    """
    photo = geometry.picture(example.image)
    source = geometry.source(example.condition, example.image, photo)
    encoded = matched = None
    height, width = settings.image_size, settings.width
    try:
        if isinstance(condition, MaskCondition):
            labels = geometry.classes(condition.labels(source, height, width), condition)
        else:
            encoded = geometry.encoded(condition.encode(source, height, width), condition)
            if (scale := settings.matching_scale) > 1:
                small = condition.encode(source, height // scale, width // scale)
                matched = geometry.encoded(small, condition)
            labels = None if example.labels is None else _index_map(example, geometry, settings)
    except ValueError as error:
        raise ValueError(f"The condition of '{example.name}' cannot be used: {error}") from error
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)
    return _Pictures(pixels.float() / 127.5 - 1, encoded, matched, labels)


def _index_map(example: Example, geometry: Geometry, settings: DataSettings) -> Tensor:
    picture: Image.Image = geometry.picture(example.labels, NEAREST)
    labels = torch.from_numpy(np.array(picture).astype(np.int64))
    if labels.ndim != 2 or labels.min() < 0 or labels.max() >= settings.label_classes:
        raise ValueError(
            f"its label map must hold the classes 0..{settings.label_classes - 1}, got "
            f"{tuple(labels.shape)} from {int(labels.min())} to {int(labels.max())}; raise "
            "label_classes, or map the others to a class of their own."
        )
    if geometry.flipped and geometry.swap_sides:
        order = torch.arange(settings.label_classes)
        for first, second in settings.label_sides:
            order[[first, second]] = order[[second, first]]
        labels = order[labels]
    return labels
