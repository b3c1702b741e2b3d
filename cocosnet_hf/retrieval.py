"""Finding exemplars: the pictures of a collection whose layout or content is nearest to a query."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub.constants import HF_HOME
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .conditions import Condition
from .conditions.descriptors import (
    gradient_descriptor,
    layout_descriptor,
    normalized,
    pose_descriptor,
)
from .whole_files import whole

__all__ = [
    "ExemplarIndex",
    "Descriptor",
    "Match",
    "cache_key",
    "gradient_descriptor",
    "layout_descriptor",
    "pose_descriptor",
    "normalized",
]

Descriptor = Callable[[Any], np.ndarray]
"""Makes a vector of a mask, pose or photo; equal lengths within one index."""

VERSION = 1
"""Part of every cache key: raise it when a descriptor of a condition changes."""

EXACT_LIMIT = 50_000
"""Collections above this are searched with FAISS where it is installed."""

BLOCK = 512
"""Queries that are compared with the whole collection at once."""


@dataclasses.dataclass(frozen=True)
class Match:
    """One found picture: its index in the collection, its name, its similarity (1: the same)."""

    index: int
    name: str
    score: float


class ExemplarIndex:
    """The descriptors of a collection, searched by their scalar product.

    descriptors: (N, D) float32, each row of norm 1; a row of zeros is never found. names: (N,).
    describe: makes a query's descriptor from what `nearest` is given.
    """

    def __init__(self, descriptors: np.ndarray, names: list[str], describe: Descriptor) -> None:
        if descriptors.ndim != 2 or len(descriptors) != len(names) or not names:
            raise ValueError(
                "An exemplar index needs one descriptor and one name per picture and at least one "
                f"picture, got descriptors {descriptors.shape} and {len(names)} names."
            )
        self.descriptors = np.ascontiguousarray(descriptors, dtype=np.float32)
        self.names = names
        self.describe = describe
        self._faiss: Any = None

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def build(
        cls,
        sources: Iterable[Any],
        condition: Condition,
        names: list[str] | None = None,
    ) -> ExemplarIndex:
        """Describe a collection.

        sources: masks, poses or photos as `condition.descriptor` takes them; None holds the place
        of a picture that cannot be read. Raises ValueError for an empty collection.
        """
        describe = condition.descriptor
        found = [None if source is None else normalized(describe(source)) for source in sources]
        length = next((len(vector) for vector in found if vector is not None), 0)
        if length == 0:
            raise ValueError("An exemplar index needs at least one picture that can be read.")
        rows = [np.zeros(length, np.float32) if vector is None else vector for vector in found]
        names = [str(number) for number in range(len(rows))] if names is None else names
        return cls(np.stack(rows), names, describe)

    @classmethod
    def cached(
        cls,
        key: str,
        build: Callable[[], ExemplarIndex],
        describe: Descriptor,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> ExemplarIndex:
        """The index stored under `key`, or the one that `build` makes, which is then stored.

        key: from `cache_key`. A damaged or half-written file is replaced. Whoever makes the index
        reads it back, because the file is rounded and all shall find the same.
        """
        folder = Path(HF_HOME) / "cocosnet_hf" if cache_dir is None else Path(cache_dir)
        path = folder / f"exemplars-{key}.safetensors"
        if path.is_file():
            try:
                return cls._read(path, describe)
            except (SafetensorError, KeyError, TypeError, ValueError):
                path.unlink(missing_ok=True)
        build().save(path)
        return cls._read(path, describe)

    @classmethod
    def _read(cls, path: Path, describe: Descriptor) -> ExemplarIndex:
        with safe_open(path, framework="np") as file:
            names = json.loads(file.metadata()["names"])
            return cls(file.get_tensor("descriptors"), names, describe)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write descriptors (as float16) and names to one safetensors file, all or nothing."""
        tensors = {"descriptors": self.descriptors.astype(np.float16)}
        with whole(Path(path)) as unfinished:
            save_file(tensors, unfinished, {"names": json.dumps(self.names)})

    def nearest(self, query: Any, k: int = 1, exclude: Collection[int] = ()) -> list[Match]:
        """The `k` nearest pictures, best first; fewer where the collection is smaller.

        query: a mask, pose or photo like those of the collection, or a descriptor (D,). exclude:
        indices in the collection that must not be found, such as the query's own.
        """
        is_vector = isinstance(query, np.ndarray) and query.ndim == 1
        vector = normalized(query if is_vector else self.describe(query))
        if len(vector) != self.descriptors.shape[1]:
            raise ValueError(
                f"The query's descriptor has {len(vector)} numbers, the index "
                f"{self.descriptors.shape[1]}; use the condition of the index."
            )
        indices, scores = self.search(vector[None], k + len(exclude))
        found = [
            Match(int(index), self.names[index], float(score))
            for index, score in zip(indices[0], scores[0], strict=True)
            if index >= 0 and index not in exclude
        ]
        return found[:k]

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices (Q, k) and scores (Q, k) for descriptors (Q, D), best first.

        Exact up to `EXACT_LIMIT` pictures or without FAISS. -1 where there is no further picture.
        """
        k = min(k, len(self))
        if len(self) > EXACT_LIMIT and has_faiss():
            return self._search_faiss(vectors, k)
        indices, scores = [], []
        for start in range(0, len(vectors), BLOCK):
            score = vectors[start : start + BLOCK] @ self.descriptors.T
            score[:, ~self.usable] = -np.inf
            best = np.argpartition(-score, k - 1, axis=1)[:, :k]
            best.sort(axis=1)
            order = np.argsort(-np.take_along_axis(score, best, 1), axis=1, kind="stable")
            best = np.take_along_axis(best, order, 1)
            indices.append(best)
            scores.append(np.take_along_axis(score, best, 1))
        index, score = np.concatenate(indices), np.concatenate(scores)
        return np.where(np.isfinite(score), index, -1), score

    @cached_property
    def usable(self) -> np.ndarray:
        """Which pictures can be found, (N,) bool."""
        return np.any(self.descriptors, axis=1)

    def neighbours(self, k: int) -> np.ndarray:
        """The `k` nearest others of each picture of the collection, best first: (N, k), or -1."""
        indices, _ = self.search(self.descriptors, k + 1)
        own = indices == np.arange(len(self))[:, None]
        # Where a twin has pushed the picture itself out of its list, the last one goes.
        own[~own.any(1), -1] = True
        indices = indices[~own].reshape(len(self), -1)
        missing = k - indices.shape[1]
        return np.pad(indices, ((0, 0), (0, missing)), constant_values=-1) if missing else indices

    def _search_faiss(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        if self._faiss is None:
            self._faiss = faiss_dataset(self.descriptors)
        found = self._faiss.search_batch("descriptor", vectors, k=k)
        indices, scores = np.array(found.total_indices), np.array(found.total_scores)
        usable = (indices >= 0) & self.usable[indices]
        return np.where(usable, indices, -1), scores


def cache_key(fingerprint: str, condition: Condition) -> str:
    """The name under which an index is stored.

    fingerprint: of the data, such as `Dataset._fingerprint`.
    """
    parts = [VERSION, fingerprint, condition.unguided().to_config()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def has_faiss() -> bool:
    """Whether the faiss library is installed."""
    try:
        import faiss  # noqa: F401
    except ImportError:
        return False
    return True


def faiss_dataset(descriptors: np.ndarray) -> Any:
    """The descriptors as a `datasets.Dataset` with a FAISS index by scalar product."""
    import datasets
    import faiss

    rows = datasets.Dataset.from_dict({"index": np.arange(len(descriptors))})
    rows.add_faiss_index_from_external_arrays(
        descriptors, "descriptor", metric_type=faiss.METRIC_INNER_PRODUCT
    )
    return rows
