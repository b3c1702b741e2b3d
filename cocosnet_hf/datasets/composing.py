"""The training example: two examples cut, flipped, warped and encoded to tensors."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..conditions import Condition, EdgeCondition, MaskCondition, Pose, PoseCondition
from .flows import agreeing, known_flow, limb_flow, region_flow, without_flat_places
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
    of the exemplar, NaN where unknown: exact for the photo itself, else what poses (`limb_flow`)
    and labels (`region_flow`) say.
    """

    condition: Tensor
    exemplar_condition: Tensor
    condition_labels: Tensor
    exemplar_labels: Tensor
    matching_condition: Tensor
    matching_exemplar_condition: Tensor
    flow: Tensor


class _Pictures(NamedTuple):
    """Photo, encoded condition, the same for the matching, label map, joints: of one example."""

    photo: Tensor
    encoded: Tensor | None
    matched: Tensor | None
    labels: Tensor | None
    joints: np.ndarray | None


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
    if is_self and settings.flow_stride:
        # A mirrored eye is exactly the other eye, and means its own side: flows and labels agree
        # only where both are mirrored or neither is.
        other = dataclasses.replace(other, flipped=geometry.flipped)
    shown = _tensors(target, geometry, jittered(condition, settings, rng), settings)
    seen = _tensors(exemplar, other, jittered(condition, settings, rng), settings)
    image, look = shown.photo, seen.photo
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
    if shown.encoded is not None and seen.encoded is not None:
        example["condition"] = shown.encoded
        example["exemplar_condition"] = seen.encoded
    if shown.matched is not None and seen.matched is not None:
        example["matching_condition"] = shown.matched
        example["matching_exemplar_condition"] = seen.matched
    if shown.labels is not None and seen.labels is not None:
        example["condition_labels"] = shown.labels
        example["exemplar_labels"] = seen.labels
    if settings.flow_stride:
        flow = (
            known_flow(geometry, other, settings.flow_stride)
            if is_self
            else _likely_flow(shown, seen, settings.flow_stride)
        )
        example["flow"] = without_flat_places(torch.from_numpy(flow), shown.photo)
    return example


def _likely_flow(target: _Pictures, exemplar: _Pictures, stride: int) -> np.ndarray:
    """Between two photos: along the limbs of their poses, elsewhere by the regions of their labels.

    Where both have labels, these agree. NaN everywhere for photos that have neither.
    """
    height, width = target.photo.shape[1:]
    flow = np.full((2, height // stride, width // stride), np.nan, np.float32)
    if target.labels is not None and exemplar.labels is not None:
        flow = region_flow(target.labels.numpy(), exemplar.labels.numpy(), stride)
    if target.joints is not None and exemplar.joints is not None:
        limbs = limb_flow(target.joints, exemplar.joints, (width, height), stride)
        if target.labels is not None and exemplar.labels is not None:
            limbs = agreeing(limbs, target.labels.numpy(), exemplar.labels.numpy())
        flow = np.where(np.isnan(limbs), flow, limbs)
    return flow


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
    joints = None
    if isinstance(condition, PoseCondition) and isinstance(example.condition, Pose):
        joints = geometry.joints(example.condition)
        joints[joints[:, 2] <= condition.min_score] = np.nan
    return _Pictures(pixels.float() / 127.5 - 1, encoded, matched, labels, joints)


def _index_map(example: Example, geometry: Geometry, settings: DataSettings) -> Tensor:
    picture: Image.Image = geometry.picture(example.labels, NEAREST)
    labels = torch.from_numpy(np.array(picture).astype(np.int64))
    if labels.ndim != 2 or labels.min() < 0 or labels.max() >= settings.label_classes:
        raise ValueError(
            f"its label map must hold the classes 0..{settings.label_classes - 1}, got "
            f"{tuple(labels.shape)} from {int(labels.min())} to {int(labels.max())}; raise "
            "label_classes, or map the others to a class of their own."
        )
    if geometry.exchanges_sides:
        order = torch.arange(settings.label_classes)
        for first, second in settings.label_sides:
            order[[first, second]] = order[[second, first]]
        labels = order[labels]
    return labels
