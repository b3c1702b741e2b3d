"""The run: paint every pair with every method, score what was saved, put the figures together.

Work is done in chunks of items, each of which is written whole. So a run that was stopped goes on
where it was, methods can be added to a finished one, and several processes share the chunks.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from accelerate import PartialState
from accelerate.utils import gather_object, parse_flag_from_env
from tqdm.auto import tqdm

from .. import __version__
from ..memory import peak_memory
from ..processes import require_all_seen
from ..whole_files import write_whole
from .collecting import collect
from .distances import swd_levels
from .fingerprints import fingerprint
from .methods import (
    TARGET,
    Method,
    Scores,
    load_baseline,
    pipeline_method,
    target_method,
)
from .metric_networks import load_metric_networks
from .opening import open_pipeline
from .pairs import COLUMN, RANDOM, RETRIEVAL, EvaluationPairs, Pair
from .picture_sets import to_float
from .pictures import diversity
from .report import write_report
from .results import Evaluation
from .scoring import Scorer
from .settings import EvaluationSettings
from .storage import FORMATS, RunFolder, slug, write_rows

logger = logging.getLogger(__name__)

CHUNK = 32
"""Items whose scores are written together."""


def evaluate(settings: EvaluationSettings, with_classes: bool = False) -> Evaluation | None:
    """Evaluate a pipeline and baselines on one set of pairs; None in all processes but the first.

    with_classes: the report shows every metric class by class too. Raises ValueError for settings,
    data and baselines that cannot be used, for pictures of another size than the evaluation's, and
    for an output folder that holds another evaluation, or scores of another baseline of the same
    name.
    """
    return Run(settings).complete(with_classes)


class Run:
    """What is compared, on which pairs, through which networks, and the steps of it."""

    def __init__(self, settings: EvaluationSettings) -> None:
        self.settings = settings
        self.state = shared_state()
        dtype = getattr(torch, settings.dtype)
        self.pipe, weights = open_pipeline(settings.pipeline, settings.variant, dtype)
        self.pipe.to(self.state.device)
        condition = self.pipe.condition
        size = settings.size or self.pipe.config.image_size
        width = settings.data.image_width
        if settings.size is None:
            width = self.pipe.config.image_width
        self.data = dataclasses.replace(
            settings.data, image_size=size, load_size=size, image_width=width
        )
        with self.state.main_process_first():  # the others then find data and index on the disk
            self.pairs = EvaluationPairs(
                self.data,
                condition,
                exemplars=settings.exemplars,
                train_split=settings.train_split,
                seed=settings.seed,
                limit=settings.limit,
                pool_limit=settings.pool_limit,
            )
        classes = condition.channels if condition.labelled else self.data.label_classes or 0
        if settings.background is not None and not 0 <= settings.background < classes:
            raise ValueError(
                f"'background' must be one of the {classes} classes of the labels, got "
                f"{settings.background}."
            )
        networks = load_metric_networks(settings, condition)
        self.scorer = Scorer(condition, networks, self.state.device)
        baselines = settings.chosen_baselines
        if settings.baselines is None and not self.pipe.has_matching:
            baselines = tuple(spec for spec in baselines if spec != "warped")
        self.methods = [
            pipeline_method(self.pipe, settings.pipeline, baselines, settings.background),
            *(
                load_baseline(spec, self.pairs, self.state.device, dtype)
                for spec in baselines
                if spec not in ("warped", "sharp")
            ),
            target_method(),
        ]
        names = [name for method in self.methods for name in method.names]
        if len({slug(name).casefold() for name in names}) < len(names):
            raise ValueError(
                "Every baseline needs a name of its own, of more than punctuation and capitals, "
                f"since it names a folder, got {names}."
            )
        self.names = {
            name: text for method in self.methods for name, text in method.made_by.items()
        }
        self.provenance = self._describe(weights)
        self.folder = RunFolder(Path(settings.output))
        with self.state.main_process_first():  # it may remove what a failed run left
            self.folder.keep(self.provenance, self.state.is_main_process)
        for name, text in self.names.items():
            self.folder.keep_method(name, text, self.state.is_main_process)

    def complete(self, with_classes: bool = False) -> Evaluation | None:
        """Every step that is left; None in all processes but the first."""
        self.paint_and_score()
        self.compare_sets()
        peaks = self.peaks()
        return self.finish(with_classes, peaks) if self.state.is_main_process else None

    def paint_and_score(self) -> None:
        """This process's share of the chunks that are not there yet."""
        count, size = len(self.pairs), self.settings.batch_size
        chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
        mine = self._share(chunks)
        with self._progress("pairs", sum(map(len, mine))) as bar:
            for chunk in mine:
                missing = [method for method in self.methods if not self._has(method, chunk)]
                rows: dict[str, list[dict[str, Any]]] = {}
                for start in range(0, len(chunk), size):
                    batch = chunk[start : start + size]
                    if missing:
                        for name, found in self._rows([self.pairs[i] for i in batch], missing):
                            rows.setdefault(name, []).extend(found)
                    bar.update(len(batch))
                for name, found in rows.items():
                    write_rows(self.folder.scores_file(name, chunk), found)
        self.state.wait_for_everyone()

    def compare_sets(self) -> None:
        """This process's share of the sliced Wasserstein distances that are not there yet."""
        tasks = [(name, kind) for name in self.names if name != TARGET for kind in FORMATS]
        mine = self._share(tasks)
        with self._progress("SWD", len(mine)) as bar:
            for name, kind in mine:
                path = self.folder.levels_file(name, kind)
                if not path.is_file():
                    write_whole(path, json.dumps(self._levels(name, kind)))
                bar.update()
        self.state.wait_for_everyone()

    def peaks(self) -> list[dict[str, float]]:
        """The memory that each process needed so far, see `peak_memory`."""
        return gather_object([peak_memory(self.state.device)])

    def finish(self, with_classes: bool, peaks: Sequence[dict[str, float]]) -> Evaluation:
        """All figures, from the files of all processes; writes results.json and the report."""
        evaluation = collect(
            self.folder,
            self.provenance,
            self.names,
            self.scorer.networks,
            self.pipe.condition,
        )
        peaks = [*peaks, peak_memory(self.state.device)]
        largest = {name: max(peak[name] for peak in peaks) for name in peaks[0]}
        evaluation = dataclasses.replace(evaluation, peak_memory=largest)
        evaluation.save(self.folder.path)
        write_report(evaluation, self.folder, self.pairs, self.pipe, with_classes)
        return evaluation

    # Their parts ----------------------------------------------------------------------------------

    def _share(self, tasks: Sequence[Any]) -> Sequence[Any]:
        return tasks[self.state.process_index :: self.state.num_processes]

    def _progress(self, name: str, total: int) -> tqdm:
        return tqdm(desc=name, total=total, disable=not self.state.is_local_main_process)

    def _levels(self, name: str, kind: str) -> dict[str, Any]:
        """The sliced Wasserstein distances of a method's pictures, and the seconds they took."""
        start = time.perf_counter()
        sets = [self.folder.pictures(one, kind, len(self.pairs)) for one in (name, TARGET)]
        levels = swd_levels(*sets, device=self.state.device)
        return {"levels": levels, "seconds": time.perf_counter() - start}

    def _has(self, method: Method, chunk: range) -> bool:
        return all(self.folder.scores_file(name, chunk).is_file() for name in method.names)

    def _rows(
        self, pairs: list[Pair], methods: Sequence[Method]
    ) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """The name of each method's pictures with a row for each pair and format."""
        stems = [pair.file_stem for pair in pairs]
        photos, exemplars = (
            torch.stack([to_float(sample.photo) for sample in samples])
            for samples in zip(*((pair.target, pair.exemplar) for pair in pairs), strict=True)
        )
        references = {
            kind: self.scorer.references(pairs, saved, exemplars)
            for kind, saved in self.folder.save_pictures(TARGET, stems, photos).items()
        }
        for method in methods:
            start = time.perf_counter()
            batches = method.generate(pairs)
            painting_seconds = (time.perf_counter() - start) / len(pairs)
            varieties = self._diversity(method, pairs)
            for name, batch, variety in zip(method.names, batches, varieties, strict=True):
                saved = self.folder.save_pictures(name, stems, batch.pictures)
                rows = []
                for kind, pictures in saved.items():
                    start = time.perf_counter()
                    scores = self.scorer.score(pictures, references[kind])
                    vectors = self.scorer.vectors(pictures)
                    scoring_seconds = (time.perf_counter() - start) / len(pairs)
                    for index, pair in enumerate(pairs):
                        row = {
                            "index": pair.index,
                            "item": pair.target.name,
                            "exemplar": pair.exemplar.name,
                            "method": name,
                            "format": kind,
                            "seconds_painting": painting_seconds,
                            "seconds_scoring": scoring_seconds,
                        }
                        row |= columns_of(batch.scores[index], variety[index], scores[index])
                        row |= {f"features-{one}": some[index] for one, some in vectors.items()}
                        rows.append(row)
                yield name, rows

    def _diversity(self, method: Method, pairs: Sequence[Pair]) -> list[list[Scores]]:
        """For each of a method's names and each item, how much the exemplar changes the picture.

        Only of the first items. The other exemplars are those of the items that follow.
        """
        count, size = min(self.settings.diversity, len(self.pairs)), self.settings.batch_size
        found = [[Scores() for _ in pairs] for _ in method.names]
        if not method.uses_exemplar or count < 2 or self.scorer.networks.perceptual is None:
            return found
        metric = f"diversity-{self.scorer.perceptual_name}"
        for index, pair in enumerate(pairs):
            if pair.index >= self.settings.diversity_items:
                continue
            others = [self.pairs[(pair.index + step) % len(self.pairs)] for step in range(1, count)]
            same = [pair, *(dataclasses.replace(pair, exemplar=other.exemplar) for other in others)]
            parts = [method.generate(same[start : start + size]) for start in range(0, count, size)]
            for scores, batches in zip(found, zip(*parts, strict=True), strict=True):
                pictures = torch.cat([batch.pictures for batch in batches])
                scores[index].values[metric] = diversity(self.scorer.features(pictures))
        return found

    def _describe(self, weights: str) -> dict[str, Any]:
        """What made the figures: everything but the methods that are compared."""
        settings, data = self.settings, self.data
        shape = "short side, the middle cut out" if data.keep_aspect else "square"
        if data.image_width is not None:
            shape += f" and to {data.image_width} px of width around the middle"
        from_pool = settings.exemplars != COLUMN
        return {
            "pipeline": settings.pipeline,
            "weights": weights,
            "condition": self.pipe.condition.to_config(),
            "data": {
                name: value
                for name, value in dataclasses.asdict(data).items()
                if name in ("source", "config_name", "split", "label_classes")
                or name.endswith("_column")
            }
            | {
                "label_groups": [list(group) for group in data.label_groups],
                "content": self.pairs.fingerprint,
            },
            "items": len(self.pairs),
            "exemplars": self._exemplars(),
            "train_split": settings.train_split if from_pool else None,
            "train_content": self.pairs.pool_fingerprint if from_pool else None,
            "pool_limit": settings.pool_limit,
            "seed": settings.seed,
            "size": data.image_size,
            "resize": f"photos to a {data.image_size} px {shape}, Pillow bicubic; labels nearest",
            "formats": FORMATS,
            **self._metric_networks(),
            "background": settings.background,
            "diversity": [settings.diversity, settings.diversity_items],
            "dtype": settings.dtype,
            "device": self.state.device.type,
            "versions": {
                "cocosnet_hf": __version__,
                "torch": torch.__version__,
                "Pillow": PIL.__version__,
                "numpy": np.__version__,
            },
        }

    def _exemplars(self) -> str:
        """How each item got its exemplar, in words."""
        settings = self.settings
        if settings.exemplars == RETRIEVAL:
            pool = f"'{settings.train_split}', by {self.pairs.retrieved_by} layout"
            return f"first retrieved from {pool}"
        if settings.exemplars == RANDOM:
            return f"random from '{settings.train_split}', seed {settings.seed}"
        if settings.exemplars == COLUMN:
            return f"the column '{self.data.exemplar_column}'"
        name, content = Path(settings.exemplars).name, fingerprint(settings.exemplars)
        return f"the list {name}, content {content}"

    def _metric_networks(self) -> dict[str, Any]:
        """The networks that metrics look through, with what tells their weights apart."""
        settings, networks = self.settings, self.scorer.networks
        perceptual_source = (settings.perceptual or "").partition("=")[2] or None
        return {
            "extractors": {
                one.name: {"resize": one.resize, **described(one.source)}
                for one in networks.extractors
            },
            "perceptual": None
            if networks.perceptual is None
            else {"name": self.scorer.perceptual_name, **described(perceptual_source)},
            "lpips": networks.lpips is not None,
            "segmenter": settings.segmenter and described(settings.segmenter),
            "pose_finder": settings.pose_finder and described(settings.pose_finder),
        }


def described(source: str | None) -> dict[str, str | None]:
    """What a network or function is taken from, and its fingerprint where there is one."""
    return {"source": source, "content": source and fingerprint(source)}


def columns_of(*scores: Scores) -> dict[str, Any]:
    """Several scores of one item in one row."""
    values = {name: value for score in scores for name, value in score.values.items()}
    return values | {
        "classes": [dataclasses.asdict(one) for score in scores for one in score.classes]
    }


def shared_state() -> PartialState:
    """accelerate's view of the processes.

    Raises RuntimeError if the launcher started several that do not know of each other.
    """
    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=timedelta(hours=6))
    require_all_seen(state.num_processes, "evaluate")
    return state
