"""The data of a run: endless training batches from any step on, and the held-out pairs."""

import atexit
import dataclasses
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, send_to_device
from torch import Tensor
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from cocosnet_hf import Condition
from cocosnet_hf.datasets import (
    EndlessBatches,
    Rows,
    TrainingExamples,
    TrainingStream,
    open_source,
    open_training_data,
    read_stream,
    unpacked,
)
from cocosnet_hf.systems import Batch

from .config import TrainConfig

PICTURES = {"image", "condition", "exemplar", "exemplar_condition"}


class FirstRows:
    """The first rows of a data set, at most `count`."""

    def __init__(self, rows: Rows, count: int):
        self.rows, self.count = rows, min(len(rows), count)

    @property
    def column_names(self) -> list[str]:
        return self.rows.column_names

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.rows[index]


class TrainingData:
    """What `config.data` says, for this process; iterating gives its batches.

    photos: how many there are; None of a stream. seconds_waited: for all batches so far, until
    their way to the device began.

    first_step: steps already trained. stream_states: for a streamed set, `stream_states()` of the
    checkpoint. Raises what `open_training_data` does, ValueError for fewer examples than a step
    takes, for epochs of a stream, whose length is unknown, and for a loss of labels without labels.
    """

    def __init__(
        self,
        config: TrainConfig,
        condition: Condition,
        accelerator: Accelerator,
        first_step: int = 0,
        stream_states: list[Any] | None = None,
    ):
        self.config, self.condition, self.accelerator = config, condition, accelerator
        settings, accumulation = config.data, config.speed.accumulation
        labelled = condition.labelled or settings.labels_column is not None
        if config.losses.need_labels and not labelled:
            raise ValueError(
                "losses.warped_mask and losses.warp_fidelity need to know the classes: set "
                "data.labels_column, or these weights to 0."
            )
        rank, world_size = accelerator.process_index, accelerator.num_processes
        self._leaving = multiprocessing.Value("b", False, lock=False)
        self._workers: list[multiprocessing.process.BaseProcess] = []
        examples = open_training_data(settings, condition, config.seed, rank, world_size)
        options = {
            "num_workers": settings.workers,
            "worker_init_fn": partial(_outlive_signals, self._leaving),
            "pin_memory": accelerator.device.type == "cuda",
        }
        self.is_map = not isinstance(examples, TrainingStream)
        self._pool: Rows | None = None
        self.photos: int | None = None
        self._loader: StatefulDataLoader | DataLoader
        if isinstance(examples, TrainingStream):
            if config.schedule.unit == "epoch":
                raise ValueError(
                    "a stream has no known length: set schedule.unit: step and count in steps."
                )
            self._loader = StatefulDataLoader(examples, settings.batch_size, **options)
            if stream_states is not None:
                _require_same_readers(stream_states, world_size, settings.workers)
                self._loader.load_state_dict(stream_states[rank]["loader"])
            self.steps_per_unit = 1
        else:
            self._pool = examples.rows
            self.photos = len(examples)
            sampler = EndlessBatches(
                len(examples),
                settings.batch_size,
                config.seed,
                rank,
                world_size,
                first_batch=first_step * accumulation,
            )
            self._loader = DataLoader(examples, batch_sampler=sampler, **options)
            per_step = settings.batch_size * world_size * accumulation
            if len(examples) < per_step:
                raise ValueError(
                    f"a step takes {per_step} examples, the data have {len(examples)}; lower "
                    f"data.batch_size or speed.accumulation."
                )
            by_epoch = config.schedule.unit == "epoch"
            self.steps_per_unit = len(examples) // per_step if by_epoch else 1
        self.seconds_waited = 0.0

    def __iter__(self) -> Iterator[Batch]:
        # The loader starts at once: it draws from the generator that every step then seeds.
        others = multiprocessing.active_children()
        loaded = iter(self._loader)
        self._workers = [one for one in multiprocessing.active_children() if one not in others]
        atexit.register(self.close)  # before multiprocessing waits for its children
        return self._timed(loaded)

    def _timed(self, loaded: Iterator[Mapping[str, Tensor]]) -> Iterator[Batch]:
        while True:  # the loader has no end
            start = time.perf_counter()
            batch = self._to_batch(next(loaded))
            self.seconds_waited += time.perf_counter() - start
            yield batch

    def close(self) -> None:
        """End the loading processes, whoever still holds their loader; a second call is none."""
        self._leaving.value = True
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.join()
        self._workers = []
        atexit.unregister(self.close)

    def stream_states(self) -> list[Any] | None:
        """Where a streamed set stands, for each process; None for one read in any order."""
        if not isinstance(self._loader, StatefulDataLoader):
            return None
        state = {"workers": self.config.data.workers, "loader": self._loader.state_dict()}
        return gather_object([state])

    def validation_batches(self) -> Iterator[Batch]:
        """The same held-out pairs at each call; exemplars are retrieved from the training data.

        Of a stream only these pairs are read, once, and their exemplars retrieved among them, as
        are those of data without any source of exemplars.
        Raises ValueError with the remedies for a held-out part that cannot be used.
        """
        return map(self._to_batch, DataLoader(self._held_out, self.config.data.batch_size))

    @cached_property
    def _held_out(self) -> torch.utils.data.Subset:
        data = self.config.data
        count = self.config.output.validation_batches * data.batch_size
        settings = dataclasses.replace(
            data.for_validation(),
            source=data.validation_source or data.source,
            config_name=None if data.validation_source else data.config_name,
            split=data.validation_split,
            exemplar_list=data.validation_exemplar_list,
        )
        try:
            rows = open_source(settings, self.condition, self.config.seed)
            if settings.streaming:
                rows = read_stream(rows, count)
            if not settings.has_real_exemplars and len(rows) > 1:
                # The photo itself would be the answer: another of those that are looked at.
                rows = FirstRows(rows, count)
                settings = dataclasses.replace(settings, retrieve=True)
        except ValueError as error:
            raise ValueError(
                f"{error} That is the held-out part: name one, such as data.split=train[:95%] with "
                f"data.validation_split=train[95%:], or set output.validate_every=0."
            ) from error
        training_photos = data.retrieve or (settings.exemplar_list and not settings.same_look)
        pool = self._pool if training_photos else None
        examples = TrainingExamples(rows, self.condition, settings, self.config.seed, pool)
        return torch.utils.data.Subset(examples, range(min(len(examples), count)))

    def _to_batch(self, loaded: Mapping[str, Tensor]) -> Batch:
        example = send_to_device(dict(loaded), self.accelerator.device, non_blocking=True)
        example = unpacked(example, self.condition, self.config.data.matching_scale)
        if self.config.speed.channels_last:
            for name in PICTURES:
                example[name] = example[name].contiguous(memory_format=torch.channels_last)
        if self.condition.labelled:
            return Batch(**example, classes=self.condition.channels)
        return Batch(**example, classes=self.config.data.label_classes, ignored_label=None)


def _require_same_readers(states: list[dict[str, Any]], processes: int, workers: int) -> None:
    before = (len(states), states[0]["workers"])
    if before != (processes, workers):
        raise ValueError(
            f"the stream was read by {before[0]} processes with data.workers={before[1]}, and can "
            f"only go on so; got {processes} processes and data.workers={workers}."
        )


def _outlive_signals(leaving: Any, _: int) -> None:
    """Keep a loading process, where every process gets a signal, until the trainer has saved.

    Schedulers send SIGTERM to all, terminals Ctrl-C. leaving: a shared flag, from which on nobody
    needs the process; without its trainer it ends by itself, as every loading process of torch.
    """

    def end(*_: Any) -> None:
        if leaving.value:
            os._exit(0)  # torch takes any other end for an error

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
