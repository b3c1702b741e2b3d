"""From the files of a run to its figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..conditions import Condition
from .distances import frechet_distance, is_rank_deficient, kernel_distance
from .extractors import Extractor
from .intervals import Estimate, mean_estimate
from .methods import TARGET
from .results import ClassResult, Evaluation, Result
from .storage import FORMATS, RunFolder

if TYPE_CHECKING:
    from pandas import DataFrame

TO_THE_TARGET = ("semantic_consistency", "perceptual_distance", "LPIPS", "SSIM", "PSNR")
"""Metrics that compare with the true photo, which are of no use for itself."""

_NOT_SCORES = ("index", "item", "exemplar", "method", "format", "classes")


def collect(
    folder: RunFolder,
    made: dict[str, Any],
    methods: dict[str, str],
    extractors: Sequence[Extractor],
    condition: Condition,
) -> Evaluation:
    """All figures of a run; the scores of all methods are also written as `scores.parquet`.

    methods: what made the pictures of each name, the true photos' among them.
    """
    import pandas

    items = made["items"]
    tables = {name: folder.scores(name, items) for name in methods}
    everything = pandas.concat(tables.values(), ignore_index=True)
    columns = [*_NOT_SCORES[:-1], *score_columns(everything)]
    everything[columns].to_parquet(folder.path / "scores.parquet")
    names = getattr(condition, "classes", ())
    results, classes = [], []
    for kind in FORMATS:
        targets = of_format(tables[TARGET], kind)
        for name, table in tables.items():
            table = of_format(table, kind)
            found = list(item_results(table, made["seed"]))
            by_class = list(class_results(table, list(names)))
            if name == TARGET:
                found, by_class = (
                    [one for one in some if one[0].partition("-")[0] not in TO_THE_TARGET]
                    for some in (found, by_class)
                )
            else:
                levels = json.loads(folder.levels_file(name, kind).read_text())["levels"]
                found += set_results(table, targets, extractors, levels, made["seed"])
            results += [Result(name, kind, *one) for one in found]
            classes += [ClassResult(name, kind, *one) for one in by_class]
    throughput = {name: seconds(folder, name, table) for name, table in tables.items()}
    return Evaluation(made, methods, results, classes, throughput)


def item_results(table: DataFrame, seed: int) -> Iterator[tuple[str, Estimate, str]]:
    """Metric, estimate and note of everything that is a mean over the items."""
    for metric in score_columns(table):
        estimate = mean_estimate(table[metric].to_numpy(np.float64), seed)
        if estimate is not None:
            left_out = len(table) - estimate.count
            yield metric, estimate, f"{left_out} items without a score" if left_out else ""
    for metric, values in class_values(table).items():
        if metric.startswith("IoU-"):
            mean = fmean(value for value, _ in values.values())
            yield f"m{metric}", Estimate(mean, len(table)), f"{len(values)} classes"


def set_results(
    table: DataFrame,
    targets: DataFrame,
    extractors: Sequence[Extractor],
    levels: dict[str, float],
    seed: int,
) -> Iterator[tuple[str, Estimate, str]]:
    """Metric, estimate and note of everything that compares all pictures with all true photos."""
    count = len(table)
    note = ", ".join(f"{side} px: {value:.1f}" for side, value in levels.items())
    yield "SWD", Estimate(fmean(levels.values()), count), note
    for extractor in extractors if count > 1 else ():
        features, target_features = (
            torch.from_numpy(np.stack(some[f"features-{extractor.name}"].to_list()))
            for some in (table, targets)
        )
        distance = frechet_distance(features, target_features)
        dimensions = features.shape[1]
        short = is_rank_deficient(count, dimensions)
        note = f"rank-deficient: {count} pictures, {dimensions} features" if short else ""
        yield extractor.frechet, Estimate(distance, count), note
        yield extractor.kernel, kernel_distance(features, target_features, seed), ""


def class_results(table: DataFrame, names: list[str]) -> Iterator[tuple[str, int, str, float, int]]:
    """Metric, label, its name, value and number of items of everything measured by class."""
    for metric, values in class_values(table).items():
        for label, (value, items) in sorted(values.items()):
            yield metric, label, names[label] if label < len(names) else str(label), value, items


def class_values(table: DataFrame) -> dict[str, dict[int, tuple[float, int]]]:
    """For each metric and label the weighted mean over the items, and in how many it was found."""
    sums: dict[str, dict[int, list[float]]] = {}
    for classes in table["classes"]:
        for score in classes:
            entry = sums.setdefault(score["metric"], {}).setdefault(score["label"], [0.0, 0.0, 0])
            entry[0] += score["weight"] * score["value"]
            entry[1] += score["weight"]
            entry[2] += 1
    return {
        metric: {
            int(label): (float(total / weight), items)
            for label, (total, weight, items) in labels.items()
        }
        for metric, labels in sums.items()
    }


def seconds(folder: RunFolder, name: str, table: DataFrame) -> dict[str, float]:
    """What one picture took to be painted, scored and compared with the set, on average."""
    taken = {stage: float(table[f"seconds_{stage}"].mean()) for stage in ("painting", "scoring")}
    if name != TARGET:
        levels = [json.loads(folder.levels_file(name, kind).read_text()) for kind in FORMATS]
        taken["swd"] = fmean(one["seconds"] for one in levels) / (len(table) / len(FORMATS))
    return taken


def of_format(table: DataFrame, kind: str) -> DataFrame:
    """The rows of one file format."""
    return table[table["format"] == kind].reset_index(drop=True)


def score_columns(table: DataFrame) -> list[str]:
    """The columns that hold one score for each item."""
    return [
        name
        for name in table.columns
        if name not in _NOT_SCORES and not name.startswith(("features-", "seconds_"))
    ]
