"""The trainer: what a run is made of, and one method for each line of its loop."""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.state import AcceleratorState, GradientState

from cocosnet_hf.cards import write_card
from cocosnet_hf.hub.publish import publish_folder
from cocosnet_hf.models.network import Network
from cocosnet_hf.systems import Batch, Generated
from cocosnet_hf.transfer import create_repository

from .card import run_details
from .check import first_look
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
from .header import header
from .machine import largest, make_accelerator, make_optimizer, seed_of, wrapped
from .mistakes import Diverged, message_of
from .networks import build_system, export_pipeline
from .page import write_page
from .phases import Phases
from .report import Report
from .stopping import Interrupted, Stopping
from .validation import batch_metrics, validate
from .watch import Watch

BEST_METRICS = {"warp_accuracy": 1, "target_l1": -1}
"""What the best pipeline is chosen by, the first that the data allow, and its sign."""


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
        self.system.prepare(config.perceptual.load, self.accelerator.device)
        self._prepare_networks()
        self.step = 0
        self.best: float | None = None
        self.validated, self.stale, self._photos = -1, 0, None
        stream_states = self._restore(resume)
        self._saved = self.step
        self._within_step = False
        self._header = ""
        condition = self.system.condition
        if not self.system.takes_guides:
            condition = condition.unguided()
        self.data = TrainingData(config, condition, self.accelerator, self.step, stream_states)
        require_same_data(self._photos, self.data.photos)
        self.total = config.schedule.total * self.data.steps_per_unit
        self.tracker = Report(self.accelerator, config, self.step, self.total)
        self.watch = Watch(self.total)

    # One step ------------------------------------------------------------------------------------

    def steps(self) -> Iterator[Iterator[Batch]]:
        """The batches of each step that is left, after setting rates and random numbers for it."""
        if self.accelerator.is_main_process:
            facts = self.data.photos, self.total, self.step
            self._header = header(self.config, self.accelerator, self.system.networks, *facts)
            self.tracker.say(self._header)
            if self.config.output.check_rows and not self.step:
                self.tracker.say(first_look(self.config, self.system.condition))
        # At step 0, beside which is seen what has been learned, and where one was interrupted.
        if self._due(self.config.output.validate_every) and self.validated != self.step:
            self.validate()
        batches = iter(self.data)
        self.stopping.watch()
        self._logged = self._progress()
        self.tracker.start(self.step)
        for step in range(self.step, self.total):
            unit = step // self.data.steps_per_unit
            for optimizer, rate in self._optimizers.values():
                for group in optimizer.param_groups:
                    group["lr"] = rate * self.config.schedule.rate(unit)
            self.phases.begin_step(step, unit, step / self.total)
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
        self.tracker.advance()

    def report(self, batch: Batch, generated: Generated) -> None:
        """Log, draw, validate and save, whichever is due."""
        output = self.config.output
        if self._due(output.log_every):
            self._log(batch, generated)
        if self._due(output.grid_every):
            self.tracker.draw(self.step, "training", self.system.condition, batch, generated)
        if self._due(output.validate_every):
            self.validate()
        if self._due(output.checkpoint_every):
            self.save()

    def told_to_stop(self) -> bool:
        """Whether any process got a signal; all of them then stop after the same step."""
        self.stopping.received = largest(self.accelerator, self.stopping.received)
        return self.stopping.received > 0

    def has_converged(self) -> bool:
        """Whether the last `schedule.patience` validations were no better than one before."""
        patience = self.config.schedule.patience
        if not patience or not self._due(self.config.output.validate_every):
            return False
        return largest(self.accelerator, self.stale) >= patience

    def stop(self) -> None:
        """After a signal: what has been trained is saved, and how it goes on is said."""
        if self._saved != self.step:
            self.save()
        how = f"stopped at step {self.step} by {self.stopping.name}"
        if self.accelerator.is_main_process:
            write_page(self.config, self._header, how)
        self.tracker.say(f"{how}; the same command with --resume latest goes on")

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
            self.tracker.say(f"nothing could be saved after the error: {message_of(failure)}")
            return
        if self._within_step:
            self.tracker.say(
                f"the error came within step {self.step + 1}, so that a run which goes on from "
                f"here is not bit for bit the one without the error"
            )

    def finish(self) -> Path:
        """Validate, save and export the averaged networks; upload them if the config says so."""
        output = self.config.output
        if output.validate_every and not self._due(output.validate_every):
            self.validate()
        if self._saved != self.step:
            self.save()
        target = self.folder / "pipeline"
        if self.accelerator.is_main_process:
            export_pipeline(self.system, self._averaged, target)
            details = run_details(self.config, self.folder)
            pipe = self.system.pipeline_class.from_pretrained(target)
            write_card(target, pipe, output.push_to_hub, details)
            if output.push_to_hub is not None:
                publish(target, output.push_to_hub, self.tracker)
            how = f"step {self.step:,}: the pipeline is in {target}"
            if self.step < self.total:
                how += f", as no validation was better than that of best/ {self.stale} times"
            page = write_page(self.config, self._header, how)
            self.tracker.say(f"{how}, the page on the run in {page}")
        return target

    def close(self) -> None:
        """Release what stands in the way of another trainer; the processes stay connected."""
        self.data.close()
        self.tracker.close()
        for tracker in self.accelerator.trackers:
            tracker.finish()
        self.accelerator.free_memory()
        AcceleratorState._reset_state()  # which keeps the precision of the first run
        GradientState._reset_state()
        if self.config.speed.compile:
            torch.compiler.reset()
        self.stopping.close()

    # Checkpoints, validation and what is logged ---------------------------------------------------

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
            "stale": self.stale,
            "photos": self.data.photos,
        }
        keep = self.config.output.keep
        path = save_checkpoint(
            checkpoints_folder(self.config), self.step, state, self._described(), keep
        )
        self.tracker.say(f"saved {path}")

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
        self.tracker.scores(self.step, values)
        for warning in self.watch.scores(self.step, metrics):
            self.tracker.say(warning)
        self.tracker.draw(self.step, "validation", self.system.condition, batch, generated)
        name = next(name for name in BEST_METRICS if name in metrics)
        score = BEST_METRICS[name] * metrics[name]
        self.stale += 1
        if self.best is None or score > self.best:
            self.best, self.stale = score, 0
            export_pipeline(self.system, self._averaged, self.folder / "best")

    @property
    def _averaged(self) -> dict[str, Network]:
        return {name: cast(Network, average.module) for name, average in self.averages.items()}

    def _due(self, every: int) -> bool:
        return every > 0 and self.step % every == 0

    def _prepare_networks(self) -> None:
        """Averages, optimisers, and the networks as accelerate wraps them for several processes."""
        system = self.system
        for network in system.networks.values():
            network.to(self.accelerator.device)
            if self.config.speed.channels_last:
                network.to(memory_format=torch.channels_last)
        self.averages = {
            name: averaged_copy(system.networks[name], self.config.ema) for name in system.averaged
        }
        self._prepared = wrapped(self.config, system, self.accelerator)
        # With the full rate, to which the schedule is applied before every step.
        self._optimizers = {
            name: make_optimizer(self.config, system, name) for name in self._prepared
        }
        optimizers = {name: optimizer for name, (optimizer, _) in self._optimizers.items()}
        longest = self.config.optimizer.max_grad_norm
        self.phases = Phases(self.accelerator, system, self._prepared, optimizers, longest)

    def _restore(self, resume: str | None) -> list[Any] | None:
        """Take over a checkpoint, if there is one; where a streamed data set stood."""
        if resume is None:
            refuse_checkpoints(self.config)
        path = find_checkpoint(checkpoints_folder(self.config), resume) if resume else None
        if path is None:
            return None
        self.step, state = load_checkpoint(path, self._described(), MAY_CHANGE_ON_RESUME)
        state = upgrade(state, self.system.frozen)
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
        self.stale = state.get("stale", 0)
        self._photos = state.get("photos")
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
        for name, (optimizer, _) in self._optimizers.items():
            values[f"learning_rate/{name}"] = optimizer.param_groups[0]["lr"]
        self.tracker.losses(self.step, values)
        for warning in self.watch.losses(values):
            self.tracker.say(warning)

    def _progress(self) -> tuple[float, int, float]:
        """The clock, the steps so far, and for how many seconds they waited for their data."""
        return time.perf_counter(), self.step, self.data.seconds_waited


def checkpoints_folder(config: TrainConfig) -> Path:
    """Where a run writes its checkpoints."""
    return Path(config.output_dir, "checkpoints")


def require_same_data(before: int | None, now: int | None) -> None:
    """Raise ValueError if a resumed run reads another number of photos: data may move, not change.

    None for a stream, and of checkpoints that do not tell.
    """
    if None not in (before, now) and before != now:
        raise ValueError(
            f"the checkpoint is of a run on {before} photos, data.source and data.split have "
            f"{now}: name the same data, or start a new run with networks.init_from."
        )


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


def publish(folder: Path, repo_id: str, tracker: Report) -> None:
    """Upload a finished pipeline. Raises OSError and ValueError, after how it is shared later."""
    try:
        publish_folder(folder, repo_id)
    except (OSError, ValueError):
        tracker.say(
            f"the training is complete and saved in {folder}; to share it later: "
            f"python -m cocosnet_hf.hub folder {folder} {repo_id}"
        )
        raise
