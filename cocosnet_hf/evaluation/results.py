"""The figures of an evaluation, what they mean, and their way into a file and a model card."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from .intervals import Estimate

RESULTS_FILE = "results.json"


@dataclass(frozen=True)
class Kind:
    """What a metric says; better: whether "higher" or "lower" values are, None if neither is."""

    group: str
    better: str | None
    text: str


SETS = "All pictures against all true photos"
PHOTO = "Each picture against its true photo"
INPUT = "Each picture against its condition and exemplar"
MATCHING = "The correspondence"

KINDS = {
    "FID": Kind(SETS, "lower", "Frechet distance of Inception's features"),
    "FD": Kind(SETS, "lower", "Frechet distance of the named network's features; not an FID"),
    "KID": Kind(SETS, "lower", "kernel distance of features, unbiased at any number of pictures"),
    "SWD": Kind(SETS, "lower", "sliced Wasserstein distance x 1000, mean of the pyramid's levels"),
    "semantic_consistency": Kind(
        PHOTO, "higher", "cosine of features pooled by class (paper, table 2)"
    ),
    "perceptual_distance": Kind(PHOTO, "lower", "1 - cosine of features, position by position"),
    "LPIPS": Kind(PHOTO, "lower", "learned perceptual distance"),
    "SSIM": Kind(PHOTO, "higher", "structural similarity"),
    "PSNR": Kind(PHOTO, "higher", "peak signal to noise ratio in dB"),
    "style_colour": Kind(
        INPUT, "higher", "cosine to the exemplar's features of layer 1, by class (paper, table 3)"
    ),
    "style_texture": Kind(
        INPUT, "higher", "cosine to the exemplar's features of layer 2, by class (paper, table 3)"
    ),
    "copy_score": Kind(INPUT, None, "mean absolute difference to the exemplar, 0..1; 0 is a copy"),
    "diversity": Kind(INPUT, "higher", "perceptual distance of an item's pictures by exemplar"),
    "edge_F1": Kind(INPUT, "higher", "the condition's edges in the picture, 1 pixel tolerance"),
    "mask_accuracy": Kind(INPUT, "higher", "pixels that a segmenter gives the condition's class"),
    "mIoU": Kind(INPUT, "higher", "the segmenter's intersection over union, mean of the classes"),
    "IoU": Kind(INPUT, "higher", "the segmenter's intersection over union"),
    "PCK": Kind(INPUT, "higher", "joints found within 0.1 of the person's extent"),
    "warp_accuracy": Kind(MATCHING, "higher", "labels carried to where the condition has them"),
    "identity_accuracy": Kind(MATCHING, None, "the same for an exemplar left in place"),
    "foreground_warp_accuracy": Kind(
        MATCHING, "higher", "warp_accuracy where the condition is not background"
    ),
    "foreground_identity_accuracy": Kind(
        MATCHING, None, "identity_accuracy where the condition is not background"
    ),
    "confidence": Kind(MATCHING, None, "share of the best match in a position's softmax row"),
    "entropy": Kind(MATCHING, None, "entropy of that row, as a share of its largest value"),
}
"""Metrics by the part of their name before "-"; what follows names the network behind it."""


def kind_of(metric: str) -> Kind:
    """What a metric says, whichever network is behind it."""
    return KINDS[metric.partition("-")[0]]


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

    made: everything that made them. methods: each one's name and what it is. throughput: seconds
    for each pair, by method and stage. absent: metrics that could not be measured, and why.
    peak_memory: MB, see `cocosnet_hf.memory.peak_memory`, of the largest process that took part in
    the last call; empty in files of earlier versions.
    """

    made: dict[str, Any]
    methods: dict[str, str]
    results: list[Result]
    classes: list[ClassResult]
    throughput: dict[str, dict[str, float]]
    absent: dict[str, str] = field(default_factory=dict)
    peak_memory: dict[str, float] = field(default_factory=dict)

    def find(self, method: str, metric: str, format: str = "png") -> Result | None:
        """One figure, None if it was not measured."""
        wanted = (method, format, metric)
        found = [r for r in self.results if (r.method, r.format, r.metric) == wanted]
        return found[0] if found else None

    def metrics(self, group: str) -> list[str]:
        """Names of a group's metrics, in the order of `KINDS`."""
        order = list(KINDS)
        names = {r.metric for r in self.results if kind_of(r.metric).group == group}
        return sorted(names, key=lambda name: (order.index(name.partition("-")[0]), name))

    def save(self, folder: Path) -> None:
        """Write `results.json`. Raises ValueError for a figure that is not finite."""
        text = json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False)
        (folder / RESULTS_FILE).write_text(text)

    @classmethod
    def load(cls, folder: str | Path) -> Evaluation:
        """What `save` wrote. Raises FileNotFoundError if there is nothing."""
        values = json.loads((Path(folder) / RESULTS_FILE).read_text())
        values["results"] = [
            Result(**result | {"estimate": Estimate(**result["estimate"])})
            for result in values["results"]
        ]
        values["classes"] = [ClassResult(**result) for result in values["classes"]]
        return cls(**values)


def exemplar_choice(evaluation: Evaluation) -> str:
    """How the exemplars were chosen: "retrieved", "random" or, in a column or a list, "given"."""
    first = evaluation.made["exemplars"].split()[0]
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
    data = evaluation.made["data"]
    name = dataset_name or str(data["source"]).rstrip("/").rsplit("/", 1)[-1]
    protocol = {
        key: evaluation.made[key] for key in ("items", "exemplars", "size", "resize", "formats")
    }
    choice = exemplar_choice(evaluation)
    entries = []
    for result in evaluation.results:
        if (result.method, result.format) != (method, format):
            continue
        estimate = result.estimate
        arguments = protocol | {"format": format}
        if estimate.low is not None:
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
