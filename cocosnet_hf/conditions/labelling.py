"""Labelling photos: people and landscapes with bundled networks, all else with transformers'."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..landscape_reader import LANDSCAPE, LANDSCAPE_CLASSES, read_landscape
from ..person_reader import PERSON, PERSON_CLASSES, read_person
from ..pictures import Picture, enlarged_labels, open_photo

DEFAULT_SCENE_PARSER = "openmmlab/upernet-convnext-small"
DEFAULT_FACE_PARSER = "jonathandinu/face-parsing"


def normal_name(name: str) -> str:
    """A class name for comparison: of "bed, beds" the first counts, "eye_g" means glasses."""
    name = name.split(",")[0].split(";")[0].strip().lower().replace("_", " ")
    return "glasses" if name == "eye g" else name


def parser_of(classes: Sequence[str]) -> str | None:
    """What labels photos where nothing is named: a bundled network, if all its classes are there.

    None for other classes.
    """
    known = {PERSON: PERSON_CLASSES, LANDSCAPE: LANDSCAPE_CLASSES}
    return next((name for name, needed in known.items() if set(needed) <= set(classes)), None)


def label_photo(
    photo: Picture, model: str, classes: Sequence[str], unknown: int | None
) -> np.ndarray:
    """The class of each pixel of a photo, (H, W), by a model whose labels are matched by name.

    unknown: the class of labels that are none. Raises ValueError for a model without any of the
    classes, and for another label without `unknown`.
    """
    found, names = segment(photo, model)
    known = {normal_name(name): index for index, name in enumerate(classes)}
    table = {label: known.get(normal_name(name)) for label, name in names.items()}
    if all(index is None for index in table.values()):
        raise ValueError(
            f"'{model}' labels {list(names.values())[:5]}..., none of which is a class of this "
            f"condition {list(classes)[:5]}...; pass another model."
        )
    labels = np.zeros(found.shape, np.int64)
    for label in np.unique(found).tolist():
        index = unknown if table[label] is None else table[label]
        if index is None:
            raise ValueError(
                f"'{model}' found '{names[label]}', which is no class of this condition; give "
                "the condition an `unknown` class or pass another model."
            )
        labels[found == label] = index
    return labels


def segment(photo: Picture, model: str) -> tuple[np.ndarray, dict[int, str]]:
    """Labels (H, W) of a photo by a segmentation model, and the labels' names.

    model: "person" or "landscape" for the bundled networks, or a transformers model. Raises
    ImportError for one of these without the extra `preprocess`, and for "person" what `read_person`
    raises.
    """
    if model == PERSON:
        return read_person(photo).labels, dict(enumerate(PERSON_CLASSES))
    if model == LANDSCAPE:
        return read_landscape(photo), dict(enumerate(LANDSCAPE_CLASSES))
    image = open_photo(photo)
    processor, network = _load_segmentation(model)
    with torch.inference_mode():
        logits = network(**processor(images=image, return_tensors="pt")).logits
        labels = enlarged_labels(logits[0], image.height, image.width)
    names = {int(label): name for label, name in network.config.id2label.items()}
    return labels.numpy(), names


@functools.lru_cache(maxsize=2)
def _load_segmentation(model: str) -> tuple[Any, Any]:
    try:
        from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation
    except ImportError as error:
        raise ImportError(
            "Making a mask from a photo needs transformers: pip install -U transformers"
        ) from error
    processor = AutoImageProcessor.from_pretrained(model)
    return processor, AutoModelForSemanticSegmentation.from_pretrained(model).eval()
