"""A recipe for what was found: sizes, classes, losses, steps, and the model to start from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from ..conditions import Condition, EdgeCondition, MaskCondition, PoseCondition
from ..settings_file import to_dict
from .writing import KEYPOINT_COLUMN, LABEL_COLUMN

Kind = Literal["edge", "mask", "pose"]

SIDES = (64, 96, 128, 192, 256)
"""Short sides of training pictures; matched at half of them, in cells of 4 pixels."""

TALL = 1.6
"""Height by width from which pictures are cut twice as high as wide."""

BATCH = 8

CORRESPONDENCE = {
    "base_channels": 12,
    "feature_channels": 64,
    "spade_channels": 32,
    "num_adaptor_blocks": 1,
    "num_residual_blocks": 2,
    "context_levels": 3,
    "warp": "coherent",
}
"""Of the bundled models, whose weights fit no other widths."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a recipe is written from.

    name: of the run. source: of the data. kind: of the condition. photos: to train on. sizes: of
    some photos, (width, height). mask: the classes of the label maps, where there are some. sides:
    as in `Found`.
    """

    name: str
    source: str
    kind: Kind
    photos: int
    held_out: int
    sizes: Sequence[tuple[int, int]]
    mask: MaskCondition | None = None
    sides: tuple[tuple[int, int], ...] = ()

    @property
    def condition(self) -> Condition:
        """What is painted from."""
        if self.kind == "pose":
            return PoseCondition(min_score=0.3, reach=64.0, draw_height=256)
        if self.kind == "edge":
            return EdgeCondition()
        if self.mask is None:
            raise ValueError("A mask condition needs the classes of its label maps.")
        return self.mask

    @property
    def side(self) -> int:
        """The short side of a training picture: the largest that most photos have."""
        short = np.quantile([min(size) for size in self.sizes], 0.25)
        return max([side for side in SIDES if side <= short], default=SIDES[0])

    @property
    def is_tall(self) -> bool:
        """Whether photos are those of standing figures and the like."""
        return bool(np.median([height / width for width, height in self.sizes]) >= TALL)

    @property
    def has_labels(self) -> bool:
        """Whether the classes of places are known, by the condition or beside it."""
        return self.mask is not None

    @property
    def batch(self) -> int:
        """Examples of a step."""
        return max(1, min(BATCH, self.photos))


def recipe(plan: Plan) -> dict[str, Any]:
    """The settings of a run, as a recipe holds them: places first, then pictures, as those that
    ship; no perceptual network, whose weights are not at everybody's hand."""
    side, tall = plan.side, plan.is_tall
    height = 2 * side if tall and side <= 192 else side
    narrow = {"image_width": side} if height > side else {}
    data: dict[str, Any] = {
        "source": plan.source,
        "split": "train",
        "validation_split": "validation",
        **_columns(plan),
        "image_size": height,
        **narrow,
        "load_size": _larger(height),
        "keep_aspect": True,
        "matching_scale": 2,
        "elastic": 0.1,
        "zoom": 0.35,
        "color_jitter": 0.5,
        **({"edge_jitter": 0.5} if plan.kind == "edge" else {}),
        "retrieve": True,
        "real_probability": 0.5,
        "hard_probability": 0.2,
        "easy_candidates": min(20, plan.photos),
        "hard_rank": min(60, plan.photos),
        "batch_size": plan.batch,
    }
    labelled = float(plan.has_labels)
    smaller = {"image_size": height // 2, "load_size": _larger(height // 2)}
    if narrow:
        smaller["image_width"] = side // 2
    matching, painting, whole = _steps(plan.photos)
    is_pose = plan.kind == "pose"  # which does not say what lies where: the exemplar does
    by_class = float(plan.has_labels and not is_pose)
    painting_alone = {"freeze_correspondence": True, "flow_jitter": 3.0 * by_class}
    window = {"crop": 128} if side > 128 else {}
    start = (
        {"init_from": "edge-to-face"} if plan.kind == "edge" else {"transfer_from": "mask-to-image"}
    )
    return {
        "output_dir": f"out/{plan.name}",
        "ema": 0.998,
        "diff_augment": True,
        "data": data,
        "networks": {
            "condition": _condition(plan.condition),
            **start,
            "correspondence": CORRESPONDENCE | {"mix_condition": plan.kind == "edge"},
            "translation": {"class": "BlendingTranslationNetwork"},
            "discriminator": {
                "class": "ProjectedDiscriminator",
                "backbones": ["efficientnet-lite0"],
            },
        },
        "losses": {
            "adversarial": 1.0 if is_pose else 0.5,
            "feature_matching": 0.0 if is_pose else 0.5,
            "pseudo_exemplar": 0.0,
            "perceptual": 0.0,
            "contextual": 0.0,
            "domain_alignment": 0.0,
            "cycle": 0.0,
            "self_pixel": 10.0 if is_pose else 30.0,
            "self_laplacian": 5.0 if is_pose else 10.0,
            "warp_fidelity": 30.0 * by_class,
            "warp_identity": 10.0 * is_pose,
        },
        "optimizer": {
            "generator_lr": 5e-4,
            "discriminator_lr": 4e-4,
            "betas": [0.0, 0.99],
            "generator_eps": 1e-8,
            "max_grad_norm": 10.0,
        },
        "output": {
            "log_every": 25,
            "grid_every": 200,
            "checkpoint_every": 200,
            "keep": 2,
            "validate_every": 500,
            "validation_batches": max(1, min(5, plan.held_out // plan.batch)),
        },
        "stages": [
            {
                "name": "matching",
                "data": smaller | {"matching_scale": 1, "flow_stride": 4},
                "losses": {
                    "adversarial": 0.0,
                    "feature_matching": 0.0,
                    "self_pixel": 0.0,
                    "self_laplacian": 0.0,
                    "warp_fidelity": 0.0,
                    "warp_identity": 0.0,
                    "warped_mask": 2.0 * labelled,
                    "self_warp": 10.0,
                    "known_flow": 1.0,
                    "region_flow": 0.5 if plan.has_labels or is_pose else 0.0,
                },
                "schedule": _schedule(matching),
            },
            {
                "name": "painter",
                "system_options": window | painting_alone,
                "schedule": _schedule(painting),
            },
            {
                "name": "whole",
                "system_options": painting_alone,
                "data": {"batch_size": max(1, plan.batch // 2)},
                "schedule": _schedule(whole),
            },
        ],
    }


class _Dumper(yaml.SafeDumper):
    """Groups of settings line by line, lists of values in one line."""


_Dumper.add_representer(
    list,
    lambda dumper, values: dumper.represent_sequence(
        "tag:yaml.org,2002:seq", values, flow_style=not any(isinstance(one, dict) for one in values)
    ),
)


def write_recipe(plan: Plan, path: Path, command: str, place: str | None = None) -> None:
    """The recipe as YAML, with how to start it at its head.

    command: that has written it. place: where it will lie, if not at `path`.
    """
    matching, painting, whole = _steps(plan.photos)
    head = [
        f"Written by: {command}",
        "",
        f"    python -m train --config {place or path} --resume latest",
        "",
        f"trains {matching} steps of places, then {painting} of pictures in windows and {whole} of "
        "whole pictures;",
        "started again, it goes on where it was. Any setting may be changed here.",
    ]
    text = "".join(f"# {line}".rstrip() + "\n" for line in head)
    values = yaml.dump(recipe(plan), Dumper=_Dumper, sort_keys=False, width=100)
    path.write_text(f"{text}\n{values}", encoding="utf-8")


def _condition(condition: Condition) -> dict[str, Any]:
    """Its type and the settings that are not the default ones, lists as lists."""
    usual = {field.name: field.default for field in dataclasses.fields(condition)}
    given = {
        name: value
        for name, value in to_dict(condition).items()
        if value != usual[name] and value != {}
    }
    return {"type": condition.type} | given


def _columns(plan: Plan) -> dict[str, Any]:
    """Which columns of the data are what."""
    columns: dict[str, Any] = {}
    if plan.kind == "mask":
        return {"condition_column": LABEL_COLUMN}
    if plan.kind == "pose":
        columns["condition_column"] = KEYPOINT_COLUMN
    if plan.mask is not None:
        columns["labels_column"] = LABEL_COLUMN
        columns["label_classes"] = plan.mask.channels
        columns["label_groups"] = _groups(plan.mask)
        if plan.sides:
            columns["label_sides"] = [list(pair) for pair in plan.sides]
    return columns


def _groups(mask: MaskCondition) -> list[list[int]]:
    """The numbers in label maps that each class has."""
    numbers = dict.fromkeys(range(mask.channels)) | mask.values
    groups: list[list[int]] = [[] for _ in mask.classes]
    for number, label in sorted(numbers.items()):
        groups[number if label is None else label].append(number)
    return groups


def _steps(photos: int) -> tuple[int, int, int]:
    """Of the three stages: more for more photos, within what small and large sets need."""
    matching = int(np.clip(4 * photos, 1000, 12_000))
    painting = int(np.clip(8 * photos, 2000, 24_000))
    return _rounded(matching), _rounded(painting), _rounded(painting // 10)


def _schedule(steps: int) -> dict[str, int]:
    decay = _rounded(int(0.375 * steps))
    return {"constant": steps - decay, "decay": decay}


def _rounded(steps: int) -> int:
    return max(100, 100 * round(steps / 100))


def _larger(side: int) -> int:
    """What a picture of this side is cut from."""
    return 8 * math.ceil(side * 1.1 / 8)
