"""The data of a run: endless training batches from any step on, and the held-out pairs."""

import dataclasses
import signal
from collections.abc import Iterator, Mapping
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
    TrainingExamples,
    TrainingStream,
    open_source,
    open_training_data,
)

from .config import TrainConfig
from .objective import Batch

PICTURES = {"image", "condition", "exemplar", "exemplar_condition"}


class TrainingData:
    """What `config.data` says, for this process; iterating gives its batches.

    first_step: steps already trained. stream_states: for a streamed set, `stream_states()` of the
    checkpoint. Raises what `open_training_data` does, ValueError for fewer examples than a step
    takes, and for epochs of a stream, whose length is unknown.
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
        rank, world_size = accelerator.process_index, accelerator.num_processes
        examples = open_training_data(settings, condition, config.seed, rank, world_size)
        options = {"num_workers": settings.workers, "worker_init_fn": _die_on_sigterm}
        self.streamed = isinstance(examples, TrainingStream)
        if self.streamed:
            if config.schedule.unit == "epoch":
                raise ValueError(
                    "a stream has no known length: set schedule.unit: step and count in steps."
                )
            self._loader = StatefulDataLoader(examples, settings.batch_size, **options)
            if stream_states is not None:
                self._loader.load_state_dict(stream_states[rank])
            self.steps_per_unit = 1
        else:
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
        self._pool = None if self.streamed else examples.rows

    def __iter__(self) -> Iterator[Batch]:
        return map(self._to_batch, self._loader)

    def stream_states(self) -> list[Any] | None:
        """Where a streamed set stands, for each process; None for one read in any order."""
        return gather_object([self._loader.state_dict()]) if self.streamed else None

    def validation_batches(self) -> Iterator[Batch]:
        """The same held-out pairs at each call; exemplars are retrieved from the training data."""
        data = self.config.data
        settings = dataclasses.replace(
            data.for_validation(),
            source=data.validation_source or data.source,
            split=data.validation_split,
            streaming=False,
        )
        rows = open_source(settings, self.condition, self.config.seed)
        pool = self._pool if settings.retrieve or settings.exemplar_list else None
        examples = TrainingExamples(rows, self.condition, settings, self.config.seed, pool)
        count = min(len(examples), self.config.output.validation_batches * data.batch_size)
        chosen = torch.utils.data.Subset(examples, range(count))
        return map(self._to_batch, DataLoader(chosen, data.batch_size))

    def _to_batch(self, example: Mapping[str, Tensor]) -> Batch:
        example = send_to_device(dict(example), self.accelerator.device)
        if self.config.speed.channels_last:
            for name in PICTURES:
                example[name] = example[name].contiguous(memory_format=torch.channels_last)
        return Batch(**example)


def _die_on_sigterm(_: int) -> None:
    """Loading processes must not inherit the trainer's handler, which only takes a note."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
