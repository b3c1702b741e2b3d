"""What commands ask about a data set, and what they take from the recipe of a training."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..settings_file import build, on_top, parsed
from .settings import DataConfig, DataSettings

COLUMNS = (
    "image_column",
    "condition_column",
    "labels_column",
    "person_column",
    "exemplar_column",
    "exemplar_condition_column",
    "exemplar_labels_column",
    "exemplar_person_column",
    "id_column",
)
DESCRIBES_DATA = (
    "source",
    "config_name",
    "condition_source",
    "condition_domain",
    "domain_column",
    "label_classes",
    "label_groups",
    "keep_aspect",
    *COLUMNS,
)
"""What a command takes from the recipe of a training."""


def add_source(group: argparse._ArgumentGroup, split: str, split_help: str) -> None:
    """The options that say which data are meant, and what their columns hold."""
    add = group.add_argument
    add("--data", dest="source", help="folder, Hub id, parquet or tar files, or synthetic")
    add("--config", nargs="+", default=(), metavar="RECIPE", help="the recipe of a training")
    add("--config-name", metavar="NAME", help="which of several data sets under one Hub id")
    add("--split", default=split, help=split_help)
    for name in COLUMNS:
        group.add_argument(
            f"--{name.replace('_', '-')}",
            metavar="NAME",
            help=f"default: {getattr(DataSettings, name)}",
        )
    group.add_argument(
        "--label-classes", type=int, metavar="N", help="number of classes of the labels column"
    )
    group.add_argument(
        "--label-groups",
        type=label_groups,
        metavar="[[0],[1,2]]",
        help="the label values that make up each class",
    )


def described_data(options: argparse.Namespace) -> dict[str, Any]:
    """What the options and, below them, the recipes of `config` say about the data themselves.

    An option of `DESCRIBES_DATA` that a command does not have says nothing. Raises ValueError if
    nothing says which data, and what `recipe_data` raises.
    """
    given = {name: getattr(options, name, None) for name in DESCRIBES_DATA}
    said = recipe_data(options.config) | {
        name: value for name, value in given.items() if value is not None
    }
    if "source" not in said:
        raise ValueError("nothing says which data: give --data, or --config with a data.source.")
    return said


def label_groups(text: str) -> tuple[tuple[int, ...], ...]:
    """Lists of numbers, written as JSON. Raises ValueError or TypeError for anything else."""
    return tuple(tuple(map(int, group)) for group in json.loads(text))


def recipe_data(files: Sequence[str]) -> dict[str, Any]:
    """What the `data` of recipes, each on top of those before, says about the data themselves.

    Raises ValueError for settings that are none, OSError for files that cannot be read.
    """
    group: dict[str, Any] = {}
    for file in files:
        text = Path(file).read_bytes()
        layer = parsed(text, file)
        if not isinstance(layer, dict) or not isinstance(layer.get("data") or {}, dict):
            raise ValueError(f"{file} must be a recipe with a group `data`, got {layer!r:.60}.")
        group = on_top(layer.get("data") or {}, group)
    settings = build(DataConfig, group, "data.")
    return {name: getattr(settings, name) for name in DESCRIBES_DATA if name in group}
