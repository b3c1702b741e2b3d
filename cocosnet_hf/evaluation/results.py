"""The figures of an evaluation, what they mean, and their way into a file and a model card."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from ..whole_files import write_whole
from .intervals import Estimate

RESULTS_FILE = "results.json"
EARLIER_NAMES = {"made": "provenance", "absent": "skipped"}


@dataclass(frozen=True)
class Metric:
    """What a metric says; better: whether "higher" or "lower" values are, None if neither is."""

    group: str
    better: str | None
    text: str


SETS = "All pictures against all true photos"
PHOTO = "Each picture against its true photo"
INPUT = "Each picture against its condition and exemplar"
MATCHING = "The correspondence"

METRICS = {
    "FID": Metric(SETS, "lower", "Frechet distance of Inception's features"),
    "FD": Metric(SETS, "lower", "Frechet distance of the named network's features; not an FID"),
    "KID": Metric(SETS, "lower", "kernel distance of features, unbiased at any number of pictures"),
    "SWD": Metric(
        SETS, "lower", "sliced Wasserstein distance x 1000, mean of the pyramid's levels"
    ),
    "semantic_consistency": Metric(
        PHOTO, "higher", "cosine of features pooled by class (paper, table 2)"
    ),
    "perceptual_distance": Metric(PHOTO, "lower", "1 - cosine of features, position by position"),
    "LPIPS": Metric(PHOTO, "lower", "learned perceptual distance"),
    "SSIM": Metric(PHOTO, "higher", "structural similarity"),
    "PSNR": Metric(PHOTO, "higher", "peak signal to noise ratio in dB"),
    "style_color": Metric(
        INPUT, "higher", "cosine to the exemplar's features of layer 1, by class (paper, table 3)"
    ),
    "style_texture": Metric(
        INPUT, "higher", "cosine to the exemplar's features of layer 2, by class (paper, table 3)"
    ),
    "copy_score": Metric(
        INPUT, None, "mean absolute difference to the exemplar, 0..1; 0 is a copy"
    ),
    "diversity": Metric(INPUT, "higher", "perceptual distance of an item's pictures by exemplar"),
    "edge_F1": Metric(INPUT, "higher", "the condition's edges in the picture, 1 pixel tolerance"),
    "mask_accuracy": Metric(INPUT, "higher", "pixels that a segmenter gives the condition's class"),
    "mIoU": Metric(INPUT, "higher", "the segmenter's intersection over union, mean of the classes"),
    "IoU": Metric(INPUT, "higher", "the segmenter's intersection over union"),
    "PCK": Metric(INPUT, "higher", "joints found within 0.1 of the person's extent"),
    "warp_accuracy": Metric(
        MATCHING, "higher", "labels carried, guides included, to where the condition has them"
    ),
    "identity_accuracy": Metric(MATCHING, None, "the same for an exemplar left in place"),
    "foreground_warp_accuracy": Metric(
        MATCHING, "higher", "warp_accuracy where the condition is not background"
    ),
    "foreground_identity_accuracy": Metric(
        MATCHING, None, "identity_accuracy where the condition is not background"
    ),
    "confidence": Metric(MATCHING, None, "share of the best match in a position's softmax row"),
    "entropy": Metric(MATCHING, None, "entropy of that row, as a share of its largest value"),
}
"""Metrics by the part of their name before "-"; what follows names the network behind it."""


def metric_of(metric: str) -> Metric:
    """What a metric says, whichever network is behind it."""
    return METRICS[metric.partition("-")[0]]


@dataclass(frozen=True)
class Result:
    """One figure of one method on pictures of one file format; note: what to mind about it."""

    method: str
    format: str
    metric: str
    estimate: Estimate
    note: str = ""


@dataclass(frozen=True)
class ClassResult:
    """A metric on one class: the mean over the items, weighted by the class's part of each."""

    method: str
    format: str
    metric: str
    label: int
    name: str
    value: float
    items: int


@dataclass(frozen=True)
class Evaluation:
    """All figures of a run.

    provenance: everything that made them. methods: what each name is. throughput: seconds
    for each pair, by method and stage. skipped: metrics that could not be measured, and why.
    peak_memory: MB, see `cocosnet_hf.memory.peak_memory`, of the largest process that took part in
    the last call; empty in files of earlier versions.
    """

    provenance: dict[str, Any]
    methods: dict[str, str]
    results: list[Result]
    classes: list[ClassResult]
    throughput: dict[str, dict[str, float]]
    skipped: dict[str, str] = field(default_factory=dict)
    peak_memory: dict[str, float] = field(default_factory=dict)

    def find(self, method: str, metric: str, format: str = "png") -> Result | None:
        """One figure, None if it was not measured."""
        wanted = (method, format, metric)
        found = [r for r in self.results if (r.method, r.format, r.metric) == wanted]
        return found[0] if found else None

    def metrics(self, group: str) -> list[str]:
        """Names of a group's metrics, in the order of `METRICS`."""
        order = list(METRICS)
        names = {r.metric for r in self.results if metric_of(r.metric).group == group}
        return sorted(names, key=lambda name: (order.index(name.partition("-")[0]), name))

    def save(self, folder: Path) -> None:
        """Write `results.json`. Raises ValueError for a figure that is not finite."""
        text = json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False)
        write_whole(folder / RESULTS_FILE, text)

    @classmethod
    def load(cls, folder: str | Path) -> Evaluation:
        """What `save` wrote, now or earlier. Raises FileNotFoundError if there is nothing."""
        values = json.loads((Path(folder) / RESULTS_FILE).read_text())
        values = {EARLIER_NAMES.get(name, name): value for name, value in values.items()}
        for result in (*values["results"], *values["classes"]):
            result["metric"] = result["metric"].replace("style_colour", "style_color")
        values["results"] = [
            Result(**result | {"estimate": Estimate(**result["estimate"])})
            for result in values["results"]
        ]
        values["classes"] = [ClassResult(**result) for result in values["classes"]]
        return cls(**values)


def exemplar_choice(evaluation: Evaluation) -> str:
    """How the exemplars were chosen: "retrieved", "random" or, in a column or a list, "given"."""
    first = evaluation.provenance["exemplars"].split()[0]
    return {"first": "retrieved", "random": "random"}.get(first, "given")


def eval_results(
    evaluation: Evaluation,
    method: str = "pipeline",
    format: str = "png",
    dataset_name: str | None = None,
) -> list[EvalResult]:
    """The figures of one method as entries of a model card's `model-index`.

    Their names say how the exemplars were chosen: those of two choices stand beside each other.

    dataset_name: for people; default: the last part of the data's source. `ModelCardData` takes
    them as `eval_results=`, with a `model_name=`.
    """
    data = evaluation.provenance["data"]
    name = dataset_name or str(data["source"]).rstrip("/").rsplit("/", 1)[-1]
    protocol = {
        key: evaluation.provenance[key]
        for key in ("items", "exemplars", "size", "resize", "formats")
    }
    choice = exemplar_choice(evaluation)
    entries = []
    for result in evaluation.results:
        if (result.method, result.format) != (method, format):
            continue
        estimate = result.estimate
        arguments = protocol | {"format": format}
        if estimate.low is not None and estimate.high is not None:
            arguments["interval_95"] = [round(estimate.low, 4), round(estimate.high, 4)]
        if result.note:
            arguments["note"] = result.note
        entries.append(
            EvalResult(
                task_type="image-to-image",
                dataset_type=name.lower().replace(" ", "-"),
                dataset_name=name,
                dataset_split=data["split"],
                metric_type=result.metric.lower(),
                metric_name=f"{result.metric} ({format.upper()}, {choice} exemplars)",
                metric_value=round(estimate.value, 4),
                metric_args=arguments,
            )
        )
    return entries
