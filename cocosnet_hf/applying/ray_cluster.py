"""The same work spread by Ray Data over the workers of a cluster."""

from __future__ import annotations

import dataclasses
import importlib
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from .application import Application
from .outputs import finish_output, prepare_output
from .record import Entry
from .running import Summary, summarize
from .settings import ApplySettings


class Worker:
    """One worker: opens everything once, then does what Ray hands it.

    A lane that Ray hands out again, because a machine was lost, goes on behind its last shard.
    modules: with conditions of the user's own.
    """

    def __init__(self, settings: ApplySettings, modules: Sequence[str]) -> None:
        for module in modules:
            importlib.import_module(module)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.application = Application(settings, device, uuid.uuid4().hex)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[str]]:
        """A batch of numbers in the column `task`, of the kind in `kind`: one row for each."""
        rows = zip(batch["kind"].tolist(), batch["task"].tolist(), strict=True)
        return {"done": [json.dumps(self._do(kind, task)) for kind, task in rows]}

    def _do(self, kind: str, task: int) -> list[dict[str, Any]]:
        if kind == "part":
            self.application.describe(task)
            return []
        self.application.require_index()
        entries = self.application.paint(iter([task]), lambda _: None)
        return [dataclasses.asdict(entry) for entry in entries]


def apply_with_ray(
    settings: ApplySettings, workers: int, gpus: float, modules: Sequence[str] = ()
) -> Summary:
    """As `apply`, by `workers` workers with `gpus` GPUs each, which may be a part of one.

    On the cluster of the environment's RAY_ADDRESS, else on this machine. All workers must see the
    data, the work folder and the output. Raises ImportError without Ray, and what `apply` raises.
    """
    if workers < 1 or gpus < 0:
        raise ValueError(f"Ray needs at least one worker, got {workers} with {gpus:g} GPUs each.")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError("--ray needs Ray Data: pip install -U 'ray[data]'") from error
    start = time.perf_counter()
    prepare_output(settings)
    application = Application(settings, torch.device("cpu"), "driver")
    application.record.keep(application.provenance(), writes=True)

    def results(kind: str, tasks: Sequence[int]) -> Iterator[dict[str, Any]]:
        if not tasks:  # no worker is started to find nothing to do
            return
        items = [{"kind": kind, "task": task} for task in tasks]
        done = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            Worker,
            batch_size=1,
            concurrency=min(workers, len(items)),
            num_gpus=gpus,
            fn_constructor_args=(settings, tuple(modules)),
        )
        for row in done.iter_rows():
            yield from json.loads(row["done"])

    list(results("part", application.parts_left))
    application.finish_index()
    finished = [Entry(**one) for one in results("lane", application.lanes_left)]
    finish_output(settings, application.record)
    return summarize(application.record, finished, time.perf_counter() - start, workers)
