"""What is compared: the pipeline, and baselines that paint the same pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor

from ..coherence import CoherentFlow
from ..conditions import are_alike
from ..image_translation import ImageTranslationOutput, ImageTranslationPipeline, Pictures
from ..matching import Matching
from ..models.network import size_of
from ..pictures import open_photo, to_image, to_pixels
from ..pipeline import CoCosPipelineOutput
from ..transfer import INDEX_FILE
from .correspondence import carry_labels
from .extractors import import_function
from .fingerprints import files_fingerprint, fingerprint
from .opening import open_pipeline
from .pairs import EvaluationPairs, Pair, Sample
from .picture_sets import SUFFIXES, to_float

TARGET, PIPELINE, WARPED = "target", "pipeline", "warped exemplar"
SHARP, EXEMPLAR, NEAREST = "sharp exemplar", "exemplar", "nearest photo"
BUILT_IN = {"warped": WARPED, "sharp": SHARP, "exemplar": EXEMPLAR, "nearest": NEAREST}
"""Baselines that need nothing but the run, by their name on the command line."""


@dataclass(frozen=True)
class ClassScore:
    """A metric on one class of one item; the class's value is the mean by weight over the items."""

    metric: str
    label: int
    weight: float
    value: float


@dataclass
class Scores:
    """What is known of one item: values by metric, of the whole and of its classes."""

    values: dict[str, float] = field(default_factory=dict)
    classes: list[ClassScore] = field(default_factory=list)


@dataclass(frozen=True)
class GeneratedBatch:
    """Pictures of some pairs, (B, 3, H, W) in 0..1; scores: of the matching, for each pair."""

    pictures: Tensor
    scores: list[Scores]

    @classmethod
    def of(cls, pictures: Tensor | Sequence[Tensor]) -> GeneratedBatch:
        """Of B pictures (3, H, W), uint8 or in 0..1, without scores."""
        stacked = torch.stack([to_float(picture).cpu() for picture in pictures])
        return cls(stacked, [Scores() for _ in pictures])


@dataclass(frozen=True)
class Method:
    """One or several pictures for each pair.

    made_by: the name of each and, in words, what makes it: where pairs, pipeline and words are the
    same, so are the pictures. generate: pairs to one `GeneratedBatch` for each name. uses_exemplar:
    whether another exemplar would give another picture.
    """

    made_by: dict[str, str]
    generate: Callable[[Sequence[Pair]], list[GeneratedBatch]]
    uses_exemplar: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Of the pictures."""
        return tuple(self.made_by)


def pipeline_method(
    pipe: ImageTranslationPipeline,
    name: str,
    baselines: Sequence[str] = ("warped",),
    background: int | None = None,
) -> Method:
    """The pipeline, with its `matching_scores`, and the baselines that its own matching makes.

    baselines: of which "warped" and "sharp" (see `sharp_exemplars`) are painted. Raises ValueError
    for these of a pipeline without matching.
    """
    if not pipe.has_matching:
        if wrong := sorted({"warped", "sharp"} & set(baselines)):
            raise ValueError(
                f"{' and '.join(wrong)} are made by a matching, which a {type(pipe).__name__} has "
                f"not; name other baselines."
            )
        return Method(
            {PIPELINE: name},
            lambda pairs: [generated_pictures(pipe, pairs)],
            uses_exemplar=pipe.uses_exemplar,
        )
    made_by = {PIPELINE: name}
    if "warped" in baselines:
        made_by[WARPED] = "the exemplar seen through the pipeline's matching"
    if "sharp" in baselines:
        made_by[SHARP] = "the exemplar's own pixels, moved as the pipeline's matching says"

    def generate(pairs: Sequence[Pair]) -> list[GeneratedBatch]:
        out = run_pipeline(pipe, pairs)
        scores = matching_scores(matching_of(out), pairs, background, flow_of(out))
        batches = [GeneratedBatch(_tensor(out.images).float().cpu(), scores)]
        if WARPED in made_by:
            batches.append(GeneratedBatch.of(_tensor(out.warped_exemplars)))
        if SHARP in made_by:
            batches.append(GeneratedBatch.of(sharp_exemplars(out, pairs)))
        return batches

    return Method(made_by, generate)


def sharp_exemplars(out: ImageTranslationOutput, pairs: Sequence[Pair]) -> Tensor:
    """The exemplars warped by the coherent flow of the matching, (B, 3, H, W) in 0..1.

    As sharp as the photos, of the size of the pictures, and not trained, whichever warp the
    pipeline learned with; of one that warps coherently these are its warped exemplars.
    """
    photos = torch.stack([to_float(pair.exemplar.photo) for pair in pairs])
    flow = flow_of(out) or matching_of(out).coherent()
    return flow.warp(photos.to(flow.position.device), size_of(_tensor(out.images)))


def generated_pictures(pipe: ImageTranslationPipeline, pairs: Sequence[Pair]) -> GeneratedBatch:
    """What a pipeline makes of some pairs."""
    images = _tensor(run_pipeline(pipe, pairs).images).float().cpu()
    return GeneratedBatch(images, [Scores() for _ in pairs])


def matching_of(out: ImageTranslationOutput) -> Matching:
    """The matching that a pipeline returned. Raises ValueError if there is none."""
    if out.matching is None:
        raise ValueError(
            "the pipeline says `has_matching` and returns none; return it, or do not say so."
        )
    return out.matching


def flow_of(out: ImageTranslationOutput) -> CoherentFlow | None:
    """The flow that a pipeline painted from; None of one that does not warp coherently."""
    return out.flow if isinstance(out, CoCosPipelineOutput) else None


def _tensor(pictures: Pictures) -> Tensor:
    """The pictures of `run_pipeline`, which asks for tensors."""
    return cast(Tensor, pictures)


def run_pipeline(pipe: ImageTranslationPipeline, pairs: Sequence[Pair]) -> ImageTranslationOutput:
    """What the pipeline returns for some pairs, pictures as tensors (B, 3, H, W) in 0..1.

    Noise, where a model has it, depends on the item alone.
    """
    takes_condition = pipe.takes_exemplar_condition
    return pipe(
        [pair.target.source for pair in pairs],
        [to_float(pair.exemplar.photo) for pair in pairs],
        [pair.exemplar.source for pair in pairs] if takes_condition else None,
        generator=[torch.Generator().manual_seed(pair.index) for pair in pairs],
        output_type="pt",
    )


def matching_scores(
    matching: Matching,
    pairs: Sequence[Pair],
    background: int | None = None,
    flow: CoherentFlow | None = None,
) -> list[Scores]:
    """How sure and how right the matching was, for each pair.

    confidence: share of its best match in a position's softmax row; entropy: of that row, as a
    share of its largest value; warp_accuracy and identity_accuracy, see `CarriedLabels`: of the
    flow, for each pixel, where the pictures were painted from one, else of the matching. Of each
    class the accuracies of the positions where it is wanted, and with the class of the background
    those of all other positions together.
    """
    confidence, entropy = matching.confidence(), matching.entropy()
    scores = []
    for index, pair in enumerate(pairs):
        positions = pair.exemplar.photo[0].numel() / matching.stride**2
        values = {
            "confidence": confidence[index].mean().item(),
            "entropy": entropy[index].mean().item() / math.log(positions),
        }
        scores.append(Scores(values))
    labels = stacked_labels(pair.target for pair in pairs)
    exemplar_labels = stacked_labels(pair.exemplar for pair in pairs)
    if labels is None or exemplar_labels is None:
        return scores
    device = confidence.device
    carried = carry_labels(flow or matching, labels.to(device), exemplar_labels.to(device))
    accuracies = {"warp_accuracy": carried.warped == carried.wanted}
    if carried.unmoved is not None:
        accuracies["identity_accuracy"] = carried.unmoved == carried.wanted
    for index, score in enumerate(scores):
        wanted = carried.wanted[index]
        for metric, right in accuracies.items():
            score.values[metric] = right[index].float().mean().item()
            if background is not None and (foreground := wanted != background).any():
                score.values[f"foreground_{metric}"] = (
                    right[index][foreground].float().mean().item()
                )
            for label in wanted.unique():
                there = right[index][wanted == label].float()
                score.classes.append(
                    ClassScore(metric, int(label), float(len(there)), there.mean().item())
                )
    return scores


def stacked_labels(samples: Iterable[Sample]) -> Tensor | None:
    """The labels (B, H, W) of all, or None where one has none."""
    every = [sample.labels for sample in samples]
    known = [labels for labels in every if labels is not None]
    return torch.stack(known) if len(known) == len(every) else None


def target_method() -> Method:
    """The true photo: what a method could reach at best."""
    return Method(
        {TARGET: "the item's own photo"},
        lambda pairs: [GeneratedBatch.of([pair.target.photo for pair in pairs])],
        uses_exemplar=False,
    )


def load_baseline(
    spec: str,
    pairs: EvaluationPairs,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Method:
    """A baseline by its spec.

    "exemplar" (as it is) or "nearest" (the nearest training photo); "NAME=FOLDER", a saved pipeline
    of any system, which works on the device in dtype, or pictures of the evaluation's size called
    like the items; or "NAME=package.module:function", a function
    (condition, exemplar) -> picture that gets the encoded condition (K, H, W) in 0..1 and a PIL
    photo, and returns what `open_photo` reads. Scores are kept for later runs as long as the
    folder's weights or pictures and the function's module are the same; what the module reads and
    imports is not seen. Raises ValueError for another spec and ImportError
    for a function that is not there.
    """
    if spec == "exemplar":
        return Method(
            {EXEMPLAR: "the exemplar, unchanged"},
            lambda some: [GeneratedBatch.of([pair.exemplar.photo for pair in some])],
        )
    if spec == "nearest":
        return Method(
            {
                NEAREST: f"the photo of '{pairs.train_split}' with the nearest layout, content "
                f"{pairs.pool_fingerprint}"
            },
            lambda some: [GeneratedBatch.of([pairs.nearest(pair.index).photo for pair in some])],
            uses_exemplar=False,
        )
    name, _, source = spec.partition("=")
    own = {TARGET, PIPELINE, *BUILT_IN.values()}
    if not any(map(str.isalnum, name)) or name in own or not source:
        raise ValueError(
            f"A baseline is one of {', '.join(BUILT_IN)}, 'NAME=FOLDER' or 'NAME=package.module:"
            f"function' with a name of its own, got {spec!r}."
        )
    if Path(source, INDEX_FILE).is_file():
        return _saved_method(name, source, pairs, device, dtype)
    if Path(source).is_dir():
        return _folder_method(name, Path(source))
    if ":" not in source:
        raise ValueError(f"There is no folder '{source}' for the baseline '{name}'.")
    return _function_method(name, source, import_function(source))


def _saved_method(
    name: str, source: str, pairs: EvaluationPairs, device: torch.device | str, dtype: torch.dtype
) -> Method:
    pipe, digest = open_pipeline(source, None, dtype)
    if not are_alike(pipe.condition, pairs.condition):
        raise ValueError(
            f"The pipeline '{name}' in {source} paints from {pipe.condition!r}, the evaluation has "
            f"{pairs.condition!r}."
        )
    pipe.to(device)
    return Method(
        {name: f"the pipeline {source}, weights {digest}"},
        lambda some: [generated_pictures(pipe, some)],
        uses_exemplar=pipe.uses_exemplar,
    )


def _function_method(name: str, source: str, function: Callable[..., Any]) -> Method:
    def generate(pairs: Sequence[Pair]) -> list[GeneratedBatch]:
        pictures = []
        for pair in pairs:
            exemplar = to_image(pair.exemplar.photo)
            made = open_photo(function(pair.target.condition, exemplar), f"picture of {name}")
            pictures.append(_fitting(made, pair, name))
        return [GeneratedBatch.of(pictures)]

    return Method({name: f"the function {source}, content {fingerprint(source)}"}, generate)


def _folder_method(name: str, folder: Path) -> Method:
    files: dict[str, list[Path]] = {}
    for path in folder.iterdir():
        if path.suffix.lower() in SUFFIXES:
            files.setdefault(path.stem, []).append(path)

    shown: dict[Path, str] = {}

    def generate(pairs: Sequence[Pair]) -> list[GeneratedBatch]:
        pictures = []
        for pair in pairs:
            wanted = pair.target.name.rsplit("/", 1)[-1]
            found = files.get(wanted) or files.get(Path(wanted).stem) or []
            if len(found) != 1:
                raise ValueError(
                    f"The baseline '{name}' must have one picture for each item; {folder} has "
                    f"{len(found)} called '{wanted}'."
                )
            if shown.setdefault(found[0], pair.target.name) != pair.target.name:
                raise ValueError(
                    f"The baseline '{name}' has one picture, '{found[0].name}', for two items, "
                    f"'{shown[found[0]]}' and '{pair.target.name}'; name its pictures and the "
                    f"items (--id-column) without folders, each differently."
                )
            pictures.append(_fitting(open_photo(found[0]), pair, name))
        return [GeneratedBatch.of(pictures)]

    paths = [path for some in files.values() for path in some]
    kinds = ", ".join(sorted({path.suffix.lower() for path in paths}))
    made_by = f"{kinds} files of {folder}, content {files_fingerprint(paths, folder)}"
    return Method({name: made_by}, generate, uses_exemplar=False)


def _fitting(picture: Image.Image, pair: Pair, name: str) -> Tensor:
    height, width = pair.target.photo.shape[1:]
    if picture.size != (width, height):
        raise ValueError(
            f"The baseline '{name}' made a picture of {picture.width} x {picture.height} px for "
            f"'{pair.target.name}', the evaluation's are {width} x {height}; resize it with a "
            "filter that you name."
        )
    return to_pixels(picture)
