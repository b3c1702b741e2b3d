"""The networks that metrics look through."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..conditions import Condition, Pose
from ..models.perceptual import PerceptualNetwork
from .extractors import (
    INCEPTION,
    Extractor,
    import_function,
    load_extractor,
    load_lpips,
    load_perceptual,
)
from .settings import EvaluationSettings

logger = logging.getLogger(__name__)

LoadedT = TypeVar("LoadedT")

Segmenter = Callable[[Image.Image], np.ndarray]
"""A photo to its classes (H, W), whole numbers in the order of the condition."""

PoseFinder = Callable[[Image.Image], Pose]


@dataclass(frozen=True)
class MetricNetworks:
    """The networks that metrics look through; a metric whose network is missing is left out.

    names of segmenter and pose finder: of the models, since they are part of the metrics' names.
    skipped: metrics that were wanted and cannot be had, and why.
    """

    extractors: tuple[Extractor, ...] = ()
    perceptual: PerceptualNetwork | None = None
    lpips: Callable[[Tensor, Tensor], Tensor] | None = None
    segmenter: tuple[str, Segmenter] | None = None
    pose_finder: tuple[str, PoseFinder] | None = None
    skipped: dict[str, str] = field(default_factory=dict)

    def to(self, device: torch.device) -> None:
        """Move the networks to a device."""
        networks = [self.perceptual, *(extractor.network for extractor in self.extractors)]
        for network in networks:
            if isinstance(network, torch.nn.Module):
                network.to(device)


def load_segmenter(spec: str, condition: Condition) -> tuple[str, Segmenter]:
    """A name and a segmenter: "package.module:function", or the Hub id of a transformers model.

    A model's labels are matched to the condition's classes by name.
    """
    if ":" in spec:
        return spec.partition(":")[2], import_function(spec)

    return spec.rsplit("/", 1)[-1], lambda photo: condition.segment(photo, spec)


def load_pose_finder(spec: str, condition: Condition) -> tuple[str, PoseFinder]:
    """A name and a pose finder: "package.module:function", or the Hub id of a ViTPose model."""
    if ":" in spec:
        return spec.partition(":")[2], import_function(spec)
    return spec.rsplit("/", 1)[-1], lambda photo: condition.find_pose(photo, spec)


def load_metric_networks(settings: EvaluationSettings, condition: Condition) -> MetricNetworks:
    """The networks that the settings name. Raises ValueError where one has nothing to look at."""
    segmenter = pose_finder = None
    if settings.segmenter is not None:
        if not condition.labelled:
            raise ValueError(f"A segmenter needs a mask condition, this is '{condition.type}'.")
        segmenter = load_segmenter(settings.segmenter, condition)
    if settings.pose_finder is not None:
        if not condition.has_joints:
            raise ValueError(f"A pose finder needs a pose condition, this is '{condition.type}'.")
        pose_finder = load_pose_finder(settings.pose_finder, condition)
    skipped = dict(condition.unmeasured)
    extractors: tuple[Extractor, ...] = ()
    if settings.extractors == "auto":
        inception = if_available(lambda: load_extractor(INCEPTION), "FID and KID", skipped)
        extractors = () if inception is None else (inception,)
    else:
        extractors = tuple(load_extractor(spec) for spec in settings.extractors)
    names = [extractor.name for extractor in extractors]
    if len(set(names)) < len(names):
        raise ValueError(f"Every extractor needs a name of its own, got {names}.")
    perceptual = lpips = None
    if settings.perceptual == "auto":
        metrics = "semantic consistency, style relevance, perceptual distance and diversity"
        perceptual = if_available(lambda: load_perceptual("VGG19"), metrics, skipped)
    elif settings.perceptual is not None:
        perceptual = load_perceptual(settings.perceptual)
    if settings.lpips == "auto":
        lpips = if_available(load_lpips, "LPIPS", skipped)
    elif settings.lpips:
        lpips = load_lpips()
    for metrics, reason in skipped.items():
        logger.warning("Not measured: %s. %s", metrics, reason)
    return MetricNetworks(extractors, perceptual, lpips, segmenter, pose_finder, skipped)


def if_available(
    load: Callable[[], LoadedT], metrics: str, skipped: dict[str, str]
) -> LoadedT | None:
    """What is loaded; None, with the reason in `skipped`, where it cannot be had."""
    try:
        return load()
    except (ImportError, OSError) as error:
        skipped[metrics] = str(error)
        return None
