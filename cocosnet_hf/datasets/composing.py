"""The training example: two examples cut, flipped, warped and encoded to tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..conditions import Condition, Source
from ..conditions.base import Landmarks
from ..pictures import to_pixels, to_tensor
from .flows import agreeing, known_flow, limb_flow, region_flow, without_flat_places
from .geometry import NEAREST, Geometry, change_color, color_change
from .reading import BrokenExample, Example
from .settings import DataSettings

LABELS_OF = {"condition": "condition_labels", "exemplar_condition": "exemplar_labels"}


class _Always(TypedDict):
    image: Tensor
    exemplar: Tensor
    is_self_pair: Tensor


class TrainingExample(_Always, total=False):
    """What the objective needs of one photo; the loader stacks it to batches.

    image, exemplar (3, H, W) float32 in [-1, 1]; is_self_pair () float32: 1 where the exemplar
    shows the photo's own subject, else 0; condition, exemplar_condition: packed (`Condition.pack`),
    for most conditions (K, H, W) float32 in [0, 1]; not for those whose packed form is the labels
    below, of which `unpacked` makes both;
    matching_condition, matching_exemplar_condition: the same at the size of the matching, where
    matching_scale says that it is smaller;
    condition_labels, exemplar_labels (H, W) int64, for conditions that are labels (`labelled`) and
    where there is a labels_column;
    landmarks, exemplar_landmarks (n, 2) float32: see `Condition.landmarks`, where it has any, and
    landmark_labels, exemplar_landmark_labels (h, w) int16 of one that is no label map itself;
    instances (H, W) int64, where there is an instances_column;
    source_domain () int64: of the condition's picture, where a domain is asked for;
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
    instances: Tensor
    source_domain: Tensor
    flow: Tensor
    landmarks: Tensor
    exemplar_landmarks: Tensor
    landmark_labels: Tensor
    exemplar_landmark_labels: Tensor


class Cut(NamedTuple):
    """One example through its geometry.

    photo: a picture of the training size. source: of its condition. packed: see `Condition.pack`;
    matched: the same at the size of the matching, where that is smaller and the condition is no
    label map, of which every n-th label will do. labels (H, W) int64: of the condition or of the
    labels_column. joints, landmarks: see `Condition`. instances (H, W) int64: their numbers.
    """

    photo: Image.Image
    source: Source
    packed: Tensor
    matched: Tensor | None
    labels: Tensor | None
    joints: np.ndarray | None
    landmarks: Landmarks | None
    instances: Tensor | None


def compose(
    target: Example,
    exemplar: Example | None,
    condition: Condition,
    settings: DataSettings,
    rng: np.random.Generator,
) -> TrainingExample:
    """Cut both by a draw of their own and encode them.

    exemplar: None for the target itself. Raises BrokenExample naming the example where the
    condition refuses its source, such as labels outside the classes.
    """
    is_self_pair = exemplar is None
    same_subject = is_self_pair or settings.same_look
    exemplar = target if exemplar is None else exemplar
    geometry = Geometry.draw(target.image.size, settings, rng)
    distortion = {"elastic": settings.elastic, "zoom": settings.zoom} if is_self_pair else {}
    other = Geometry.draw(exemplar.image.size, settings, rng, **distortion)
    if is_self_pair and settings.flow_stride:
        # A mirrored eye is exactly the other eye, and means its own side: flows and labels agree
        # only where both are mirrored or neither is.
        other = dataclasses.replace(other, flipped=geometry.flipped)
    # Lines of one photo vary together: a condition is jittered once for each.
    shown = cut(target, geometry, jittered(condition, settings, rng), settings)
    seen = cut(exemplar, other, jittered(condition, settings, rng), settings)
    photo, look = to_tensor(shown.photo), to_tensor(seen.photo)
    image = photo
    if settings.augment and settings.color_jitter > 0:
        change = color_change(settings.color_jitter, rng)
        image = change_color(image, change)
        if not same_subject:
            change = color_change(settings.color_jitter, rng)
        look = change_color(look, change)
    example: TrainingExample = {
        "image": image,
        "exemplar": look,
        "is_self_pair": torch.tensor(float(same_subject)),
    }
    if not condition.labelled:
        example["condition"] = shown.packed
        example["exemplar_condition"] = seen.packed
    if shown.matched is not None and seen.matched is not None:
        example["matching_condition"] = shown.matched
        example["matching_exemplar_condition"] = seen.matched
    if shown.labels is not None and seen.labels is not None:
        example["condition_labels"] = shown.labels
        example["exemplar_labels"] = seen.labels
    if shown.landmarks is not None and seen.landmarks is not None:
        example["landmarks"] = shown.landmarks.points
        example["exemplar_landmarks"] = seen.landmarks.points
        places, looks = shown.landmarks.labels, seen.landmarks.labels
        if places is not None and looks is not None and not condition.labelled:
            example["landmark_labels"], example["exemplar_landmark_labels"] = places, looks
    if shown.instances is not None:
        example["instances"] = shown.instances
    if target.source_domain is not None:
        example["source_domain"] = torch.tensor(target.source_domain)
    if settings.flow_stride:
        flow = (
            known_flow(geometry, other, settings.flow_stride)
            if is_self_pair
            else _likely_flow(shown, seen, settings.flow_stride)
        )
        example["flow"] = without_flat_places(torch.from_numpy(flow), photo)
    return example


def unpacked(
    made: Mapping[str, Any], condition: Condition, matching_scale: int = 1
) -> dict[str, Any]:
    """An example of `compose`, or a batch of them on any device, with its conditions encoded.

    matching_scale: of the settings; of conditions that are labels every n-th is what is matched.
    """
    found = dict(made)
    for name, labels in LABELS_OF.items():
        matched = f"matching_{name}"
        if condition.labelled:
            found[name] = made[labels]
            if matching_scale > 1:
                nth = slice(matching_scale // 2, None, matching_scale)
                found[matched] = made[labels][..., nth, nth]
        for packed in {name, matched} & found.keys():
            found[packed] = condition.unpack(found[packed])
    return found


def _likely_flow(target: Cut, exemplar: Cut, stride: int) -> np.ndarray:
    """Between two photos: along the limbs of their poses, elsewhere by the regions of their labels.

    Where both have labels, these agree. NaN everywhere for photos that have neither.
    """
    width, height = target.photo.size
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
    """A condition whose settings vary by `edge_jitter`, where examples are augmented."""
    if not (settings.augment and settings.edge_jitter):
        return condition
    return condition.jittered(rng, settings.edge_jitter)


def cut(example: Example, geometry: Geometry, condition: Condition, settings: DataSettings) -> Cut:
    """Photo, condition and labels of an example through one geometry.

    Raises BrokenExample naming the example for a condition or labels that cannot be used.
    """
    photo = geometry.picture(example.image)
    height, width = settings.image_size, settings.width
    try:
        if example.condition is None:
            source = condition.open(condition.from_photo(photo))
            joints = None
        else:
            source = condition.moved(example.condition, geometry, photo)
            joints = condition.joints(example.condition, geometry)
        packed, matched = condition.pack(source, height, width), None
        if geometry.exchanges_sides:
            packed = condition.mirrored(packed)
        if (scale := settings.matching_scale) > 1 and not condition.labelled:
            matched = condition.pack(source, height // scale, width // scale)
            if geometry.exchanges_sides:
                matched = condition.mirrored(matched)
    except ValueError as error:
        raise BrokenExample(f"The condition of '{example.name}' cannot be used: {error}") from error
    labels = packed if condition.labelled else None
    if labels is None and example.labels is not None:
        labels = _index_map(example.labels, example.name, geometry, settings)
    landmarks, instances = condition.landmarks(source), None
    if example.instances is not None:
        instances = to_pixels(geometry.picture(example.instances, NEAREST)).long()
    return Cut(photo, source, packed, matched, labels, joints, landmarks, instances)


def _index_map(
    label_map: Image.Image, name: str, geometry: Geometry, settings: DataSettings
) -> Tensor:
    labels = class_numbers(geometry.picture(label_map, NEAREST), name, settings)
    classes = settings.label_classes or 0
    if geometry.exchanges_sides:
        order = torch.arange(classes)
        for first, second in settings.label_sides:
            order[[first, second]] = order[[second, first]]
        labels = order[labels]
    return labels


def class_numbers(label_map: Image.Image, name: str, settings: DataSettings) -> Tensor:
    """The pixels of a label map, (H, W) int64. Raises BrokenExample unless they are classes."""
    labels = to_pixels(label_map).long()
    classes = settings.label_classes or 0
    if labels.ndim != 2 or labels.min() < 0 or labels.max() >= classes:
        raise BrokenExample(
            f"The label map of '{name}' must be one plane of class numbers and hold the "
            f"classes 0..{classes - 1}, got {tuple(labels.shape)} from "
            f"{int(labels.min())} to {int(labels.max())}; raise label_classes, the number of label "
            "classes, or map the others to a class of their own by label_groups."
        )
    return labels
