"""What finding exemplars among a million photos costs: memory, time, and what it misses.

    python -m tools.measure_retrieval --photos 1000000 --folder out/retrieval

The descriptors are made up, like those of real layouts in what matters to an index: each is a
mixture of a few of many prototypes, blurred by noise, and half of the queries are near one of the
collection. Exact search reads all of them; recall is the share of queries whose exact nearest the
index finds too.
"""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from cocosnet_hf.descriptor_store import INDEX_FILE, DescriptorStore
from cocosnet_hf.memory import process_peak

PROTOTYPES = 3000
MIXED = 3
"""Prototypes in one descriptor."""
NOISE = 0.35
"""Length of the noise beside a descriptor of length 1: even in 0..x it is x sqrt(D / 3)."""


def drawn(start: int, count: int, dimension: int) -> np.ndarray:
    """Descriptors (count, D) of norm 1, the same for the same `start`; not negative, as ours."""
    of_all, rng = prototypes(dimension), np.random.default_rng([1, start])
    vectors = np.zeros((count, dimension), np.float32)
    weights = rng.dirichlet(np.ones(MIXED), count).astype(np.float32)
    for weight in weights.T:
        vectors += weight[:, None] * of_all[rng.integers(0, PROTOTYPES, count)]
    noise = rng.random(vectors.shape, np.float32) * np.float32(NOISE * (3 / dimension) ** 0.5)
    return normed(normed(vectors) + noise)


@functools.cache
def prototypes(dimension: int) -> np.ndarray:
    """What all descriptors are mixed from, (P, D) of norm 1."""
    made = np.abs(np.random.default_rng(0).normal(size=(PROTOTYPES, dimension))) ** 3
    return normed(made)


def normed(vectors: np.ndarray) -> np.ndarray:
    """Rows of norm 1, float32."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def queries(store: DescriptorStore, count: int, dimension: int) -> np.ndarray:
    """Half near one of the collection, half on their own."""
    near = drawn(0, store.part, dimension)[: count // 2]
    rng = np.random.default_rng(2)
    near = near + rng.random(near.shape) * NOISE * (3 / dimension) ** 0.5
    return np.concatenate([normed(near), drawn(10**9, count - len(near), dimension)])


def measure(folder: Path, photos: int, dimension: int, asked: int) -> dict[str, Any]:
    """Build, search with the index and exactly, compare. Needs faiss to have an index."""
    store = DescriptorStore(folder, photos)
    start = time.perf_counter()
    for number in range(store.parts):
        if not store.has(number):
            rows = store.rows(number)
            store.write(number, list(drawn(rows.start, len(rows), dimension)))
    made = time.perf_counter()
    store.build()
    built = time.perf_counter()
    vectors = queries(store, asked, dimension)
    store.search(vectors[:1], 1)  # reads the index
    ready = time.perf_counter()
    found, _ = store.search(vectors, 10)
    searched = time.perf_counter()
    indexed_peak = process_peak()
    exact, _ = store.exact_search(vectors, 10)
    compared = time.perf_counter()
    index = folder / INDEX_FILE
    overlap = [len({*a} & {*b}) / 10 for a, b in zip(found.tolist(), exact.tolist(), strict=True)]
    return {
        "photos": photos,
        "numbers": dimension,
        "descriptors_MB": sum(path.stat().st_size for path in folder.glob("*.npy")) / 1e6,
        "index_MB": index.stat().st_size / 1e6 if index.is_file() else None,
        "writing_seconds": made - start,
        "index_seconds": built - made,
        "search_ms_each": 1000 * (searched - ready) / asked,
        "exact_ms_each": 1000 * (compared - searched) / asked,
        "recall_of_nearest": float((found[:, 0] == exact[:, 0]).mean()),
        "recall_of_ten": float(np.mean(overlap)),
        "peak_MB": indexed_peak,
    }


def main(argv: list[str] | None = None) -> None:
    """Measure as the command line says and print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--numbers", type=int, default=512, help="in a descriptor; edges have 512")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--folder", type=Path, default=Path("out/retrieval"))
    parser.add_argument("--keep", action="store_true", help="leave the descriptors there")
    options = parser.parse_args(argv)
    if min(options.photos, options.numbers, options.queries) < 1:
        parser.error("--photos, --numbers and --queries must be at least 1.")
    figures = measure(options.folder, options.photos, options.numbers, options.queries)
    print(json.dumps(figures, indent=1))
    if not options.keep:
        shutil.rmtree(options.folder)


if __name__ == "__main__":
    main()
