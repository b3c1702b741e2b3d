"""The trainer: what a run is made of, and one method for each line of its loop."""

import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import ProjectConfiguration

from cocosnet_hf import ProjectedDiscriminator
from cocosnet_hf.cards import write_card
from cocosnet_hf.hub.publish import publish_folder
from cocosnet_hf.models.network import Network
from cocosnet_hf.systems import Batch, Generated
from cocosnet_hf.transfer import create_repository

from .card import run_details
from .checkpoints import (
    find_checkpoint,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
    upgrade,
)
from .config import MAY_CHANGE_ON_RESUME, TrainConfig, to_dict
from .data import TrainingData
from .ema import averaged_copy
from .mistakes import Diverged, RunError, message_of
from .networks import attach_backbones, build_system, export_pipeline
from .phases import Phases
from .recompute import recompute_activations
from .report import Report, picture_grid
from .stopping import Interrupted, Stopping
from .validation import batch_metrics, validate

BEST_METRICS = {"warp_accuracy": 1, "target_l1": -1}
"""What the best pipeline is chosen by, the first that the data allow, and its sign."""

GRID_ROWS = 6


def optimize(trainer: "Trainer") -> Iterator[tuple[Batch, Generated]]:
    """The algorithm, step after step; each time with its last batch and what was made of it."""
    for batches in trainer.steps():
        for batch in batches:
            generated = trainer.learn(batch)
        trainer.advance()
        yield batch, generated


class Trainer:
    """The state of a run, and one method for each line of the training loop."""

    def __init__(self, config: TrainConfig, resume: str | None, stopping: Stopping | None = None):
        self.config = config
        self.stopping = stopping or Stopping()
        self.folder = Path(config.output_dir)
        self.accelerator = make_accelerator(config)
        if self.accelerator.is_main_process:
            reserve_repository(config)
        torch.manual_seed(config.seed)
        self.system = build_system(config)
        if config.losses.need_perceptual_network:
            self.system.perceptual = config.perceptual.load().to(self.accelerator.device)
        for network in self.system.networks.values():
            if isinstance(network, ProjectedDiscriminator):
                attach_backbones(network, config, self.accelerator.device)
        self._prepare_networks()
        self.step = 0
        self.best: float | None = None
        self.validated = -1
        stream_states = self._restore(resume)
        self._saved = self.step
        self._within_step = False
        self.data = TrainingData(
            config, self.system.condition, self.accelerator, self.step, stream_states
        )
        self.tracker = Report(self.accelerator, self.folder, self.step)

    # The lines of the loop -----------------------------------------------------------------------

    def steps(self) -> Iterator[Iterator[Batch]]:
        """The batches of each step that is left, after setting rates and random numbers for it."""
        # At step 0, beside which is seen what has been learned, and where one was interrupted.
        if self._due(self.config.output.validate_every) and self.validated != self.step:
            self.validate()
        batches = iter(self.data)
        self.stopping.watch()
        self._logged = self._progress()
        total = self.config.schedule.total * self.data.steps_per_unit
        for step in range(self.step, total):
            unit = step // self.data.steps_per_unit
            for optimizer, rate in self._optimizers.values():
                for group in optimizer.param_groups:
                    group["lr"] = rate * self.config.schedule.rate(unit)
            self.phases.begin_step(step, unit, step / total)
            # Numbers that depend on the step alone: nothing to restore when a run is resumed.
            torch.manual_seed(seed_of(self.config.seed, step, self.accelerator.process_index))
            yield islice(batches, self.config.speed.accumulation)

    def learn(self, batch: Batch) -> Generated:
        """All phases of the system's step on one batch; the last batch's make the updates."""
        self._within_step = True
        with self.accelerator.accumulate(*self._prepared.values()):
            self.phases.begin_batch()
            return self.system.step(self.phases, batch)

    def advance(self) -> None:
        """After the updates of a step: the averages follow."""
        for name, average in self.averages.items():
            average.update_parameters(self.system.networks[name])
        self.step += 1
        self._within_step = False

    def report(self, batch: Batch, generated: Generated) -> None:
        """Log, draw, validate and save, whichever is due."""
        output = self.config.output
        if self._due(output.log_every):
            self._log(batch, generated)
        if self._due(output.grid_every):
            self._draw("training", batch, generated)
        if self._due(output.validate_every):
            self.validate()
        if self._due(output.checkpoint_every):
            self.save()

    def told_to_stop(self) -> bool:
        """Whether any process got a signal; all of them then stop after the same step."""
        if self.accelerator.num_processes > 1:
            flag = torch.tensor([self.stopping.received], device=self.accelerator.device)
            self.stopping.received = int(self.accelerator.gather(flag).max())
        return self.stopping.received > 0

    def stop(self) -> None:
        """After a signal: what has been trained is saved, and how it goes on is said."""
        if self._saved != self.step:
            self.save()
        self.accelerator.print(
            f"stopped at step {self.step} by {self.stopping.name}; the same command with "
            f"--resume latest goes on",
            flush=True,
        )

    def rescue(self, error: Exception) -> None:
        """After an error: save what has been trained, unless it is what failed.

        By the main process alone, as the others may be gone; of a stream in several processes that
        is too little to go on from.
        """
        alone = self.accelerator.num_processes == 1
        lost = isinstance(error, Diverged) or not (alone or self.data.is_map)
        if lost or self._saved == self.step or not self.accelerator.is_main_process:
            return
        try:
            self._write(self.data.stream_states() if alone else None)
        except Exception as failure:
            print(f"nothing could be saved after the error: {message_of(failure)}", flush=True)
            return
        if self._within_step:
            print(
                f"the error came within step {self.step + 1}, so that a run which goes on from "
                f"here is not bit for bit the one without the error",
                flush=True,
            )

    def finish(self) -> Path:
        """Validate, save and export the averaged networks; upload them if the config says so."""
        output = self.config.output
        if output.validate_every and not self._due(output.validate_every):
            self.validate()
        if not self._due(output.checkpoint_every):
            self.save()
        target = self.folder / "pipeline"
        if self.accelerator.is_main_process:
            export_pipeline(self.system, self._averaged, target)
            details = run_details(self.config, self.folder)
            pipe = self.system.pipeline_class.from_pretrained(target)
            write_card(target, pipe, output.push_to_hub, details)
            if output.push_to_hub is not None:
                self._publish(target, output.push_to_hub)
        return target

    def close(self) -> None:
        """Release what stands in the way of another trainer; the processes stay connected."""
        self.data.close()
        for tracker in self.accelerator.trackers:
            tracker.finish()
        self.accelerator.free_memory()
        AcceleratorState._reset_state()  # which keeps the precision of the first run
        GradientState._reset_state()
        if self.config.speed.compile:
            torch.compiler.reset()
        self.stopping.close()

    def _publish(self, folder: Path, repo_id: str) -> None:
        try:
            publish_folder(folder, repo_id)
        except (OSError, ValueError):
            self.accelerator.print(
                f"the training is complete and saved in {folder}; to share it later: "
                f"python -m cocosnet_hf.hub folder {folder} {repo_id}",
                flush=True,
            )
            raise

    # Their parts ---------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint from which `--resume` goes on exactly."""
        stream_states = self.data.stream_states()
        if self.accelerator.is_main_process:
            self._write(stream_states)
        self._saved = self.step
        self.accelerator.wait_for_everyone()

    def _write(self, stream_states: list[Any] | None) -> None:
        networks = {name: network.state_dict() for name, network in self.system.networks.items()}
        optimizers = {name: one.state_dict() for name, (one, _) in self._optimizers.items()}
        state = {
            "networks": networks,
            "averages": {name: average.state_dict() for name, average in self.averages.items()},
            "optimizers": optimizers,
            "scaler": self.phases.state_dict(),
            "system": self.system.state_dict(),
            "stream": stream_states,
            "best": self.best,
            "validated": self.validated,
        }
        keep = self.config.output.keep
        path = save_checkpoint(self._checkpoints, self.step, state, self._described(), keep)
        self.accelerator.print(f"saved {path}", flush=True)

    def validate(self) -> None:
        """Measure the averaged networks on held-out pairs; keep them if they are the best so far.

        Only the main process does, on the same pairs each time. A signal ends it without a result.
        """
        if self.accelerator.is_main_process:
            batches = self.stopping.interrupts(self.data.validation_batches())
            try:
                metrics, batch, generated = validate(self.system, self._averaged, batches)
            except Interrupted:
                pass
            else:
                self._take(metrics, batch, generated)
        self.accelerator.wait_for_everyone()

    def _take(self, metrics: dict[str, float], batch: Batch, generated: Generated) -> None:
        """A validation's results."""
        self.validated = self.step
        values = {f"validation/{name}": value for name, value in metrics.items()}
        self.tracker.scalars(self.step, values)
        self._draw("validation", batch, generated)
        name = next(name for name in BEST_METRICS if name in metrics)
        score = BEST_METRICS[name] * metrics[name]
        if self.best is None or score > self.best:
            self.best = score
            export_pipeline(self.system, self._averaged, self.folder / "best")

    @property
    def _averaged(self) -> dict[str, Network]:
        return {name: cast(Network, average.module) for name, average in self.averages.items()}

    @property
    def _checkpoints(self) -> Path:
        return checkpoints_folder(self.config)

    def _due(self, every: int) -> bool:
        return every > 0 and self.step % every == 0

    def _prepare_networks(self) -> None:
        """Averages, optimisers, and the networks as accelerate wraps them for several processes."""
        speed, system = self.config.speed, self.system
        for network in system.networks.values():
            network.to(self.accelerator.device)
            if speed.channels_last:
                network.to(memory_format=torch.channels_last)
        self.averages = {
            name: averaged_copy(system.networks[name], self.config.ema) for name in system.averaged
        }
        for network in system.networks.values():
            if speed.gradient_checkpointing:
                recompute_activations(network)
            if speed.compile:
                network.compile()
        trained = dict(system.networks)
        for name in system.settings.frozen:
            if name in trained:  # in evaluation mode: each use would move its spectral norms
                trained.pop(name).eval().requires_grad_(False)
        prepared = self.accelerator.prepare(*trained.values())
        if len(trained) == 1:
            prepared = (prepared,)
        self._prepared = dict(zip(trained, prepared, strict=True))
        # With the full rate, to which the schedule is applied before every step.
        self._optimizers = {name: self._optimizer(name) for name in trained}
        self.phases = Phases(
            self.accelerator,
            system,
            self._prepared,
            {name: optimizer for name, (optimizer, _) in self._optimizers.items()},
            self.config.optimizer.max_grad_norm,
        )

    def _optimizer(self, name: str) -> tuple[torch.optim.Optimizer, float]:
        """A network's optimiser and its full rate."""
        config, is_critic = self.config.optimizer, name in self.system.critics
        optimizer = torch.optim.Adam(
            self.system.networks[name].parameters(),
            betas=config.betas,
            eps=config.discriminator_eps if is_critic else config.generator_eps,
        )
        rate = config.discriminator_lr if is_critic else config.generator_lr
        return optimizer, rate * self.system.rates.get(name, 1.0)

    def _restore(self, resume: str | None) -> list[Any] | None:
        """Take over a checkpoint, if there is one; where a streamed data set stood."""
        if resume is None:
            refuse_checkpoints(self.config)
        path = find_checkpoint(self._checkpoints, resume) if resume else None
        if path is None:
            return None
        self.step, state = load_checkpoint(path, self._described(), MAY_CHANGE_ON_RESUME)
        state = upgrade(state, self.system.settings.frozen)
        for name, network in self.system.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, average in self.averages.items():
            average.load_state_dict(state["averages"][name])
        for name, (optimizer, _) in self._optimizers.items():
            if name in state["optimizers"]:
                optimizer.load_state_dict(state["optimizers"][name])
        self.phases.load_state_dict(state["scaler"])
        self.system.load_state_dict(state["system"])
        self.best = state["best"]
        self.validated = state.get("validated", self.step)
        self.accelerator.print(f"resumed from {path}", flush=True)
        return state["stream"]

    def _described(self) -> dict[str, Any]:
        """What must be the same for a resumed run to be the same run."""
        return to_dict(self.config) | {"processes": self.accelerator.num_processes}

    def _log(self, batch: Batch, generated: Generated) -> None:
        measured = batch_metrics(batch, generated)
        found = self.phases.values | {
            f"training/{name}": torch.tensor(value, device=self.accelerator.device)
            for name, value in measured.items()
        }
        values = {
            name: self.accelerator.reduce(value, "mean").item() for name, value in found.items()
        }
        before, self._logged = self._logged, self._progress()
        seconds, steps, waited = (b - a for a, b in zip(before, self._logged, strict=True))
        values |= {"seconds_per_step": seconds / steps, "data_waiting_share": waited / seconds}
        self.tracker.scalars(self.step, values)

    def _progress(self) -> tuple[float, int, float]:
        """The clock, the steps so far, and for how many seconds they waited for their data."""
        return time.perf_counter(), self.step, self.data.seconds_waited

    def _draw(self, name: str, batch: Batch, generated: Generated) -> None:
        batch = generated.batch or batch
        count = min(GRID_ROWS, len(batch.image))
        grid = picture_grid(
            self.system.condition,
            batch.condition[:count],
            batch.exemplar[:count],
            None if generated.warped_exemplar is None else generated.warped_exemplar[:count],
            generated.image[:count],
            batch.image[:count],
        )
        self.tracker.pictures(self.step, name, grid)


def checkpoints_folder(config: TrainConfig) -> Path:
    """Where a run writes its checkpoints."""
    return Path(config.output_dir, "checkpoints")


def refuse_checkpoints(config: TrainConfig) -> None:
    """Raises FileExistsError if a new run would write where another has been."""
    if list_checkpoints(checkpoints_folder(config)):
        raise FileExistsError(
            f"{config.output_dir} holds checkpoints already; go on with --resume latest, or choose "
            f"another output_dir."
        )


def reserve_repository(config: TrainConfig) -> None:
    """What may not be written to fails now, not after the training."""
    if config.output.push_to_hub is not None:
        create_repository(config.output.push_to_hub, private=config.output.private or None)


def make_accelerator(config: TrainConfig) -> Accelerator:
    """accelerate's view of the machine.

    Raises RunError if the launcher started several processes that do not know of each other,
    ValueError for fp16 without a GPU, where accelerate would quietly compute in float32.
    """
    accelerator = Accelerator(
        mixed_precision=config.speed.mixed_precision,
        gradient_accumulation_steps=config.speed.accumulation,
        log_with="tensorboard",
        project_config=ProjectConfiguration(config.output_dir, f"{config.output_dir}/logs"),
    )
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != launched:
        raise RunError(
            f"{launched} processes were launched but accelerate sees {accelerator.num_processes}, "
            f"so each would train by itself; on CPUs set ACCELERATE_USE_CPU=true and launch with "
            f"torchrun or accelerate launch --multi_gpu."
        )
    if config.speed.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise ValueError("speed.mixed_precision=fp16 needs a GPU; on a CPU set bf16 or no.")
    return accelerator


def seed_of(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
