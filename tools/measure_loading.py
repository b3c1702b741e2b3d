"""What the loader of a training does: examples a second of one core, and readers that share a set.

    python -m tools.measure_loading --config train/configs/edge-to-face.yaml --data.source=FOLDER
    python -m tools.measure_loading --readers 64

The first reads, cuts and packs training examples of a recipe in this process, as one loader worker
does, and says how many GPUs' worth of workers that is. The second takes the readers of a run of
that many processes one after the other, over a stream in parquet files and over a set that is read
in any order: each row must come once, and a reader that stops anywhere must go on exactly there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from cocosnet_hf import EdgeCondition
from cocosnet_hf.datasets import (
    DataSettings,
    EndlessBatches,
    TrainingStream,
    open_source,
    open_training_data,
    split_by_node,
)
from cocosnet_hf.datasets.sources import import_datasets
from train.config import load_config
from train.networks import build_system

SIDE = 8


def throughput(config: Any, seconds: float) -> dict[str, float]:
    """Examples a second of this process, after a first one.

    Of a core: by the time that the processor worked for it, on a machine that others use too.
    """
    torch.set_num_threads(1)
    condition = build_system(config).condition
    examples = open_training_data(config.data, condition, config.seed)
    if isinstance(examples, TrainingStream):
        stream = iter(examples)
    else:
        order = EndlessBatches(len(examples), 1, config.seed)
        stream = (examples[key] for keys in order for key in keys)
    first: dict[str, Any] = dict(next(stream))
    count, start, worked = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        next(stream)
        count += 1
    taken, worked = time.perf_counter() - start, time.process_time() - worked
    size = sum(one.numel() * one.element_size() for one in first.values())
    return {
        "examples": count,
        "examples_a_second": count / taken,
        "ms_an_example": 1000 * taken / max(count, 1),
        "examples_a_second_of_a_core": count / worked,
        "MB_an_example_to_the_GPU": size / 1e6,
    }


def streamed_readers(folder: Path, readers: int, files: int, rows_each: int) -> dict[str, Any]:
    """One pass of every reader over a stream; one of them stops and goes on.

    Raises RuntimeError where a row is lost or doubled, or a reader does not go on exactly.
    """
    write_files(folder, files, rows_each)
    settings = DataSettings(source=str(folder), streaming=True, image_size=SIDE, load_size=SIDE)
    source: Any = open_source(settings, EdgeCondition())
    found = [[row["id"] for row in split_by_node(source, rank, readers)] for rank in range(readers)]
    require_once([name for names in found for name in names], files * rows_each)
    resumed = files * rows_each // readers // 2
    for rank in {0, readers // 2, readers - 1}:
        require_exact(source, settings, rank, readers, resumed)
    return {
        "files": files,
        "rows": files * rows_each,
        "rows_a_reader": [min(map(len, found)), max(map(len, found))],
    }


def require_exact(source: Any, settings: DataSettings, rank: int, readers: int, stop: int) -> None:
    """Raise RuntimeError unless a reader that stops goes on as one that does not."""
    straight, stopped, resumed = (
        TrainingStream(source, EdgeCondition(), settings, 0, rank, readers) for _ in range(3)
    )
    expected: list[Any] = list(islice(straight, 2 * stop + 2))
    list(islice(stopped, stop))
    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    rest: list[Any] = list(islice(resumed, stop + 2))
    pairs = zip(expected[stop:], rest, strict=True)
    if not all(torch.equal(one[key], other[key]) for one, other in pairs for key in one):
        raise RuntimeError(f"Reader {rank} of {readers} went on elsewhere after {stop} rows.")


def mapped_readers(readers: int, rows: int, batch: int) -> dict[str, Any]:
    """The keys that all readers take from a set that is read in any order, for two epochs.

    Raises RuntimeError where a row of an epoch is lost or doubled, or a reader goes on elsewhere.
    """
    steps = -(-2 * rows // (readers * batch))
    orders = [
        list(islice(EndlessBatches(rows, batch, 0, rank, readers), steps))
        for rank in range(readers)
    ]
    keys = [key for order in orders for keys in order for key in keys]
    for epoch in (0, 1):
        require_once([index for of, index in keys if of == epoch], rows)
    rank, middle = readers // 2, steps // 2
    after = islice(
        EndlessBatches(rows, batch, 0, rank, readers, first_batch=middle), steps - middle
    )
    if list(after) != orders[rank][middle:]:
        raise RuntimeError(f"Reader {rank} of {readers} went on elsewhere after {middle} batches.")
    return {"rows": rows, "batch": batch, "steps": steps}


def require_once(names: Sequence[Any], rows: int) -> None:
    """Raise RuntimeError unless there are so many different names, each once."""
    counts = Counter(names)
    doubled = [name for name, count in counts.items() if count > 1]
    if doubled or len(counts) != rows:
        raise RuntimeError(
            f"{rows} rows became {len(counts)}; {len(doubled)} came more than once, such as "
            f"{doubled[:3]}."
        )


def write_files(folder: Path, files: int, rows_each: int) -> None:
    """Parquet files of small grey photos with the column `id`."""
    datasets = import_datasets()
    features = datasets.Features({"image": datasets.Image(), "id": datasets.Value("int64")})
    noise = np.random.default_rng(0)
    for number in range(files):
        rows = [
            {
                "image": Image.fromarray(noise.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)),
                "id": row,
            }
            for row in range(number * rows_each, (number + 1) * rows_each)
        ]
        table = datasets.Dataset.from_list(rows, features=features)
        table.to_parquet(str(folder / f"train-{number:05d}.parquet"))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure or simulate, as the command line says, and print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", nargs="+", metavar="RECIPE", help="measure its loader")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the measurement")
    parser.add_argument("--readers", type=int, help="simulate so many processes")
    parser.add_argument("--files", type=int, help="of the stream; default: two for each reader")
    parser.add_argument("--rows", type=int, default=20, help="in each file; default: 20")
    options, changes = parser.parse_known_args(argv)
    if (options.config is None) == (options.readers is None):
        parser.error("give --config to measure, or --readers to simulate.")
    if options.config is not None:
        print(json.dumps(throughput(load_config(options.config, changes), options.seconds)))
        return
    if changes or options.readers < 1 or options.rows < 4:
        parser.error(f"--readers needs one or more, and --rows 4 or more; got also {changes}.")
    files = options.files or 2 * options.readers
    with tempfile.TemporaryDirectory() as folder:
        figures = {
            "readers": options.readers,
            "streamed": streamed_readers(Path(folder), options.readers, files, options.rows),
            "in_any_order": mapped_readers(options.readers, files * options.rows, 3),
        }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
