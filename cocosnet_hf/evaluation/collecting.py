"""From the files of a run to its figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from ..conditions import Condition
from .distances import frechet_distance, is_rank_deficient, kernel_distance
from .extractors import Extractor
from .intervals import Estimate, mean_estimate
from .methods import TARGET
from .results import ClassResult, Evaluation, Result
from .scoring import MetricNetworks
from .storage import FORMATS, RunFolder

if TYPE_CHECKING:
    from pandas import DataFrame

TO_THE_TARGET = ("semantic_consistency", "perceptual_distance", "LPIPS", "SSIM", "PSNR")
"""Metrics that compare with the true photo, which are of no use for itself."""

_NOT_SCORES = ("index", "item", "exemplar", "method", "format")

ClassValues: TypeAlias = dict[int, tuple[float, int]]
"""By label the weighted mean over the items that have it, and how many these are."""


def collect(
    folder: RunFolder,
    provenance: dict[str, Any],
    methods: dict[str, str],
    networks: MetricNetworks,
    condition: Condition,
) -> Evaluation:
    """All figures of a run; the scores of all methods are also written as `scores.parquet`.

    methods: what made the pictures of each name, the true photos' among them. Of every picture only
    scores are held in memory, and of two methods at a time the features.
    """
    import pandas

    names = list(condition.label_names)
    all_targets = folder.scores(TARGET, provenance["items"])
    tables, results, classes, throughput = [], [], [], {}
    for name in methods:
        whole = all_targets if name == TARGET else folder.scores(name, provenance["items"])
        tables.append(whole[[*_NOT_SCORES, *score_columns(whole)]])
        throughput[name] = seconds(folder, name, whole)
        by_format = class_values(folder.chunks(name))
        for kind in FORMATS:
            table, of_classes = of_format(whole, kind), by_format.get(kind, {})
            found = [*item_results(table, provenance["seed"]), *mean_ious(of_classes, len(table))]
            by_class = list(class_results(of_classes, names))
            if name == TARGET:
                found = [one for one in found if not _is_to_the_target(one[0])]
                by_class = [one for one in by_class if not _is_to_the_target(one[0])]
            else:
                levels = json.loads(folder.levels_file(name, kind).read_text())["levels"]
                targets = of_format(all_targets, kind)
                extractors = networks.extractors
                found += set_results(table, targets, extractors, levels, provenance["seed"])
            results += [Result(name, kind, *one) for one in found]
            classes += [ClassResult(name, kind, *one) for one in by_class]
    everything = pandas.concat(tables, ignore_index=True)
    everything.to_parquet(folder.path / "scores.parquet")
    return Evaluation(provenance, methods, results, classes, throughput, networks.skipped)


def item_results(table: DataFrame, seed: int) -> Iterator[tuple[str, Estimate, str]]:
    """Metric, estimate and note of every score's mean over the items."""
    for metric in score_columns(table):
        estimate = mean_estimate(table[metric].to_numpy(np.float64), seed)
        if estimate is not None:
            left_out = len(table) - estimate.count
            yield metric, estimate, f"{left_out} items without a score" if left_out else ""


def mean_ious(
    of_classes: dict[str, ClassValues], items: int
) -> Iterator[tuple[str, Estimate, str]]:
    """Metric, estimate and note of the means over classes; one that no item has does not count."""
    for metric, values in of_classes.items():
        if metric.startswith("IoU-"):
            mean = fmean(value for value, _ in values.values())
            yield f"m{metric}", Estimate(mean, items), f"{len(values)} classes"


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


def class_results(
    of_classes: dict[str, ClassValues], names: list[str]
) -> Iterator[tuple[str, int, str, float, int]]:
    """Metric, label, its name, value and number of items of everything measured by class."""
    for metric, values in of_classes.items():
        for label, (value, items) in sorted(values.items()):
            yield metric, label, names[label] if label < len(names) else str(label), value, items


def _is_to_the_target(metric: str) -> bool:
    return metric.partition("-")[0] in TO_THE_TARGET


def class_values(chunks: Iterable[DataFrame]) -> dict[str, dict[str, ClassValues]]:
    """What is measured by class, by file format and metric."""
    sums: dict[tuple[str, str, int], list[float]] = {}
    for chunk in chunks:
        for kind, classes in zip(chunk["format"], chunk["classes"], strict=True):
            for score in classes:
                key = (kind, score["metric"], int(score["label"]))
                entry = sums.setdefault(key, [0.0, 0.0, 0])
                entry[0] += score["weight"] * score["value"]
                entry[1] += score["weight"]
                entry[2] += 1
    values: dict[str, dict[str, ClassValues]] = {}
    for (kind, metric, label), (total, weight, items) in sums.items():
        of_metric = values.setdefault(kind, {}).setdefault(metric, {})
        of_metric[label] = (float(total / weight), int(items))
    return values


def seconds(folder: RunFolder, name: str, table: DataFrame) -> dict[str, float]:
    """What one pair took on average: to be painted, and in all formats scored and compared."""
    items = len(table) / len(FORMATS)
    taken = {
        "painting": float(table["seconds_painting"].mean()),
        "scoring": float(table["seconds_scoring"].sum() / items),
    }
    if name != TARGET:
        levels = [json.loads(folder.levels_file(name, kind).read_text()) for kind in FORMATS]
        taken["swd"] = sum(one["seconds"] for one in levels) / items
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
