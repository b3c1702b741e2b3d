"""Descriptors of a collection too large for memory: made in parts on disk, found by FAISS.

The parts may be made by several processes, in any order and after any interruption. Without faiss
the search is exact and reads every part; with it an index in memory (64 bytes a picture instead of
four for each number) names candidates, whose descriptors are then compared exactly.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .retrieval import EXACT_LIMIT, ExemplarIndex, has_faiss
from .whole_files import whole

PART = 4096
"""Descriptors in one file."""

INDEX_FILE = "index.faiss"

CODE_BYTES = 64
"""Of a descriptor in the index, at most."""

PER_LIST = 39
"""Examples for each centre that is learned, as FAISS asks for."""

ROUNDS = 10
"""Of learning the centres."""

CANDIDATES = 256
"""How many that the index names are compared exactly."""

PROBES = 64
"""Lists of the index that a search looks into."""

NOTHING = -1
"""The index of no picture."""


class DescriptorStore:
    """The descriptors of `count` pictures in a folder, as float16 in files of `part` rows.

    Each is of norm 1; a row of zeros stands for a picture that cannot be read and is never found.
    The folder belongs to one collection: `cache_key` makes a name of it.
    """

    def __init__(self, folder: str | os.PathLike[str], count: int, part: int = PART) -> None:
        if count < 1:
            raise ValueError(f"A descriptor store needs at least one picture, got {count}.")
        self.folder = Path(folder)
        self.count = count
        self.part = part

    def __len__(self) -> int:
        return self.count

    @property
    def parts(self) -> int:
        """Number of files."""
        return math.ceil(self.count / self.part)

    def rows(self, number: int) -> range:
        """The indices in the collection that part `number` describes."""
        return range(number * self.part, min((number + 1) * self.part, self.count))

    def has(self, number: int) -> bool:
        """Whether part `number` is there."""
        return self._file(number).is_file()

    def write(self, number: int, vectors: Iterable[np.ndarray | None]) -> None:
        """Write part `number`, whole or not at all.

        vectors: (D,) of norm 1 for each of its rows; None for a picture that cannot be read. Raises
        ValueError for another number of them.
        """
        found = list(vectors)
        if len(found) != len(self.rows(number)):
            raise ValueError(
                f"Part {number} has {len(self.rows(number))} pictures, got {len(found)} "
                "descriptors; give one for each, or None."
            )
        length = next((len(vector) for vector in found if vector is not None), 0)
        rows = [np.zeros(length, np.float32) if one is None else one for one in found]
        with whole(self._file(number)) as path, path.open("wb") as file:
            np.save(file, np.stack(rows).astype(np.float16))

    def build(self) -> None:
        """Make the FAISS index, in one pass over the parts, unless it is there or not needed.

        Not needed: without faiss, and for up to `EXACT_LIMIT` pictures. Raises ValueError where
        parts are missing or no picture could be read.
        """
        self.require_whole()
        path = self.folder / INDEX_FILE
        if path.is_file() or self.count <= EXACT_LIMIT or not has_faiss():
            return
        import faiss

        index = trained_index(self._sample(self._lists * PER_LIST), self._lists)
        for number in range(self.parts):
            index.add(self._rows_at(np.asarray(self.rows(number))))
        with whole(path) as unfinished:
            faiss.write_index(index, str(unfinished))

    def require_whole(self) -> None:
        """Raise ValueError unless every part is there and at least one picture can be found."""
        missing = [number for number in range(self.parts) if not self.has(number)]
        if missing:
            raise ValueError(
                f"{self.folder} lacks {len(missing)} of {self.parts} parts of the exemplars' "
                f"descriptors, such as part {missing[0]}; where several machines share the work, "
                "this folder must be one that all of them see."
            )
        if self.dimension == 0:
            raise ValueError("None of the exemplars can be read; check their source and columns.")

    @cached_property
    def dimension(self) -> int:
        """Numbers in a descriptor; 0 if no picture could be read."""
        return max(self._read(number).shape[1] for number in range(self.parts))

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Places (Q, k) and scores (Q, k) for descriptors (Q, D), best first.

        Exact unless `build` has made an index: then the best `CANDIDATES` of it are compared.
        -1 where there is no further picture. Raises ValueError for descriptors of another length.
        """
        vectors = np.ascontiguousarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise ValueError(
                f"The queries' descriptors are {vectors.shape}, those of the exemplars have "
                f"{self.dimension} numbers; both must be described by one condition."
            )
        if self._index is None:
            return self.exact_search(vectors, k)
        _, candidates = self._index.search(vectors, max(k, CANDIDATES))
        indices, scores = no_answers(len(vectors), k)
        for number, found in enumerate(candidates):
            found = np.sort(found[found >= 0])
            rows = self._rows_at(found)
            usable = rows.any(1)
            best = best_of(found[usable], rows[usable] @ vectors[number], k)
            indices[number, : len(best[0])], scores[number, : len(best[0])] = best
        return indices, scores

    def exact_search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `search`, comparing with every picture, a part at a time."""
        indices, scores = no_answers(len(vectors), k)
        for number in range(self.parts):
            rows = self._read(number)
            if rows.shape[1] == 0:  # nothing of this part could be read
                continue
            index = ExemplarIndex(rows, [""] * len(rows), np.asarray)
            found, found_scores = index.search(vectors, k)
            found = np.where(found >= 0, found + self.rows(number).start, NOTHING)
            indices, scores = (
                np.hstack(pair) for pair in ((indices, found), (scores, found_scores))
            )
            scores[indices < 0] = -np.inf
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            indices, scores = (np.take_along_axis(one, order, 1) for one in (indices, scores))
        return indices, scores

    # Its parts ----------------------------------------------------------------------------------

    @cached_property
    def _index(self) -> Any:
        path = self.folder / INDEX_FILE
        if not path.is_file() or not has_faiss():
            return None
        import faiss

        index = faiss.read_index(str(path))
        faiss.extract_index_ivf(index).nprobe = PROBES
        return index

    @property
    def _lists(self) -> int:
        """Of the index: some two times the root of the pictures, a power of two."""
        return 2 ** round(math.log2(2 * math.sqrt(self.count)))

    def _file(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.npy"

    def _read(self, number: int) -> np.ndarray:
        return np.load(self._file(number), mmap_mode="r")

    @cached_property
    def _opened(self) -> list[np.ndarray]:
        return [self._read(number) for number in range(self.parts)]

    def _rows_at(self, indices: np.ndarray) -> np.ndarray:
        """The descriptors of these indices, (n, D) float32; a part without any has zeros."""
        rows = np.zeros((len(indices), self.dimension), np.float32)
        for number, index in enumerate(indices.tolist()):
            row = self._opened[index // self.part][index % self.part]
            rows[number, : len(row)] = row
        return rows

    def _sample(self, wanted: int) -> np.ndarray:
        """Every n-th descriptor of the collection that is not empty, (n, D) float32."""
        step = max(1, self.count // wanted)
        rows = self._rows_at(np.arange(0, self.count, step))
        return rows[rows.any(1)]


def trained_index(sample: np.ndarray, lists: int) -> Any:
    """A FAISS index by scalar product: an inverted file of product codes, trained and empty.

    sample: (n, D) descriptors that stand for the collection; lists: of the inverted file.
    """
    import faiss

    dimension = sample.shape[1]
    codes = max(size for size in range(1, CODE_BYTES + 1) if dimension % size == 0)
    index = faiss.index_factory(dimension, f"IVF{lists},PQ{codes}", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = index.pq.cp.niter = ROUNDS
    index.train(sample)
    return index


def no_answers(queries: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Places and scores (Q, k) of nothing found."""
    return np.full((queries, k), NOTHING), np.full((queries, k), -np.inf, np.float32)


def best_of(indices: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of these indices, best first; of equal ones the first."""
    order = np.argsort(-scores, kind="stable")[:k]
    return indices[order], scores[order]
