"""What an evaluation is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..datasets import DataSettings
from .pairs import RANDOM, RETRIEVAL


@dataclass(frozen=True)
class EvaluationSettings:
    """An evaluation.

    pipeline: folder, Hub id or bundled name; variant: of its weights, such as fp16. data: the data;
    `split` is the tested part. size: side of all pictures in pixels; None for the pipeline's own.
    output: the folder everything is written to. exemplars, train_split, seed, limit, pool_limit:
    see `EvaluationPairs`.
    baselines: see `load_baseline`, and "warped", the exemplar seen through the pipeline's matching,
    and "sharp", see `sharp_exemplars`; None for all built-in ones that make sense but "sharp".
    extractors: of Frechet and kernel distance, see `load_extractor`. perceptual: see
    `load_perceptual`. lpips: whether there is to be LPIPS. Where these three are "auto", Inception,
    VGG19 from the Hub and LPIPS are taken if they can be loaded here.
    segmenter, pose_finder: see `load_segmenter` and `load_pose_finder`.
    diversity: exemplars that each of the first `diversity_items` items is painted with; 0 for none.
    background: the class around the subject, without which the matching is measured once more.
    batch_size: pairs in each forward pass. dtype: what the pipeline computes in.
    """

    pipeline: str
    data: DataSettings
    output: str = "evaluation"
    size: int | None = None
    exemplars: str = RETRIEVAL
    train_split: str = "train"
    seed: int = 0
    limit: int | None = None
    pool_limit: int | None = None
    baselines: tuple[str, ...] | None = None
    extractors: tuple[str, ...] | Literal["auto"] = "auto"
    perceptual: str | None = "auto"
    lpips: bool | Literal["auto"] = "auto"
    segmenter: str | None = None
    pose_finder: str | None = None
    diversity: int = 4
    diversity_items: int = 16
    background: int | None = None
    batch_size: int = 4
    dtype: str = "float32"
    variant: str | None = None

    def __post_init__(self) -> None:
        if self.diversity == 1 or min(self.diversity, self.diversity_items) < 0:
            raise ValueError(
                "'diversity' must be 0 or at least 2 exemplars, for 0 or more items, got "
                f"{self.diversity} and {self.diversity_items}."
            )
        if self.batch_size < 1:
            raise ValueError(f"'batch_size' must be at least 1, got {self.batch_size}.")

    @property
    def chosen_baselines(self) -> tuple[str, ...]:
        """`baselines`, or the built-in ones; "nearest" where it is not the exemplar itself."""
        if self.baselines is not None:
            return self.baselines
        from_pool = self.exemplars == RANDOM or Path(self.exemplars).is_file()
        return ("warped", "exemplar", "nearest") if from_pool else ("warped", "exemplar")
