"""Train a pipeline from one YAML file.

    accelerate launch train/train.py --config train/configs/quickstart.yaml
    accelerate launch train/train.py --config ... --resume latest --output.keep=5
    accelerate launch train/train.py --config ... --config train/configs/layers/8gb.yaml
    accelerate launch train/train.py --config ... --stage painter
    python train/train.py --config ... --dry-run

The output folder then holds `pipeline/`, which `CoCosPipeline.from_pretrained` loads, `best/`, the
same at the best validation, `pictures/` to look at, `checkpoints/` and TensorBoard's `logs/`. A
recipe with `stages` (see `load_stages`) is as many runs one after another: each has all this in a
folder of its name, and the last one's pipeline comes to the output folder.
"""

import argparse
import dataclasses
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # started as a file, whose folder is then searched for modules
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
import yaml
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import ProjectConfiguration, parse_flag_from_env
from torch import Tensor, nn

from cocosnet_hf import CoCosPipeline, ProjectedDiscriminator
from cocosnet_hf.hub import create_repository, write_card
from cocosnet_hf.hub.publish import publish_folder
from train.card import run_details
from train.checkpoints import (
    complete_folder,
    find_checkpoint,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from train.config import MAY_CHANGE_ON_RESUME, TrainConfig, load_config, to_dict
from train.data import TrainingData
from train.ema import ModuleEMA
from train.networks import Networks, attach_backbones, export_pipeline
from train.objective import Batch, Painting, discriminator_terms, generator_terms, paint
from train.recompute import recompute_activations
from train.report import Report, picture_grid
from train.stages import Stage, load_stages
from train.validation import batch_metrics, validate

BEST_METRICS = {"warp_accuracy": 1, "target_l1": -1}
"""What the best pipeline is chosen by, the first that the data allow, and its sign."""

GRID_ROWS = 6


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = make_parser(__doc__)
    add_resume(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="print the resolved run and the parameter counts"
    )
    parser.add_argument("--stage", metavar="NAME", help="only this one of the recipe's stages")
    known, overrides = parser.parse_known_args(arguments)
    try:
        stages = load_stages(known.config, overrides, known.stage)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if len(stages) > 1 and known.resume not in (None, "latest"):
        parser.error("a checkpoint is of one stage: say --resume latest, or which by --stage.")
    if known.dry_run:
        print(describe_stages(stages))
    elif stages[0].name is None:
        train(stages[0].config, known.resume)
    else:
        train_stages(stages, known.resume)


def make_parser(doc: str) -> argparse.ArgumentParser:
    """For `parse_config`; doc: the script's, of which the first line is shown."""
    parser = argparse.ArgumentParser(
        description=doc.partition("\n")[0],
        epilog="Any setting of the files may be given as --group.name=value.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        action="append",
        required=True,
        help="YAML file of the run; each further one changes what those before it set",
    )
    return parser


def add_resume(parser: argparse.ArgumentParser) -> None:
    """The option of a script that goes on with a run."""
    parser.add_argument(
        "--resume", metavar="latest|CHECKPOINT", help="go on; from the start if there is none yet"
    )


def parse_config(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> tuple[argparse.Namespace, TrainConfig]:
    """The parser's own arguments, and the run that `--config` and all others describe."""
    known, overrides = parser.parse_known_args(arguments)
    try:
        return known, load_config(known.config, overrides)
    except (ValueError, OSError) as error:
        parser.error(str(error))


def describe_stages(stages: Sequence[Stage]) -> str:
    """Each resolved run as a document of YAML."""
    texts: list[str] = []
    starts: dict[str, tuple[str | None, str | None]] = {}
    for stage in stages:
        networks = stage.config.networks
        # A pipeline that is still to be trained has the networks that its own stage starts with.
        start = starts.get(networks.init_from, (networks.init_from, networks.transfer_from))
        if not stage.pipeline.is_dir():
            starts[str(stage.pipeline)] = start
        heading = f"# stage {stage.name}\n" if stage.name is not None else ""
        texts.append(heading + describe(stage.config, start))
    return "\n---\n".join(texts)


def describe(config: TrainConfig, start: tuple[str | None, str | None]) -> str:
    """The resolved run as YAML, and how many parameters it trains.

    start: init_from and transfer_from of the networks that are counted.
    """
    networks = dataclasses.replace(config.networks, init_from=start[0], transfer_from=start[1])
    counted = Networks.build(dataclasses.replace(config, networks=networks))
    counts = {
        name: sum(parameter.numel() for parameter in network.parameters())
        for name, network in counted.modules().items()
    }
    lines = [f"# {name}: {count:,} parameters" for name, count in counts.items()]
    return yaml.safe_dump(to_dict(config), sort_keys=False) + "\n".join(lines)


def train(config: TrainConfig, resume: str | None = None) -> Path | None:
    """Run to the end, or until SIGTERM.

    resume: "latest" or a checkpoint's path. Returns the folder of the exported pipeline; None after
    SIGTERM. Raises FileExistsError for a new run where there are checkpoints, and what its parts
    raise for settings, data and disks that cannot be used.
    """
    return run(Trainer(config, resume))


def run(trainer: "Trainer") -> Path | None:
    """Every step that is left, and its end: what `train` says."""
    folder = complete(trainer)
    trainer.close()
    PartialState().destroy_process_group()
    return folder


def complete(trainer: "Trainer") -> Path | None:
    """Every step that is left, and what is written after them or on SIGTERM."""
    for batch, painting in optimize(trainer):
        trainer.report(batch, painting)
        if trainer.told_to_stop():
            trainer.save()
            return None
    return trainer.finish()


def train_stages(stages: Sequence[Stage], resume: str | None = None) -> Path | None:
    """Stage after stage in one process, to the end or until SIGTERM.

    resume: as of `train`; then those that are complete are skipped. Returns the folder of the last
    pipeline, None after SIGTERM. Raises what `train` raises, FileExistsError before any training.
    """
    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
    left = [stage for stage in stages if not (resume and stage.is_complete)]
    for stage in stages:
        if stage not in left:
            state.print(f"stage {stage.name} is complete: {stage.pipeline}", flush=True)
    for stage in left:  # here, not after hours in the stages before it
        if resume is None:
            refuse_checkpoints(stage.config)
        if state.is_main_process:
            reserve_repository(stage.config)
    state.wait_for_everyone()  # nothing is written before all have seen what is there
    folder: Path | None = stages[-1].copy_to or stages[-1].pipeline
    for stage in left:
        folder = train_stage(stage, resume)
        if folder is None:
            break
    state.destroy_process_group()
    return folder


def train_stage(stage: Stage, resume: str | None) -> Path | None:
    """One stage, after which the process is ready for the next; None if none may follow."""
    trainer = Trainer(stage.config, resume)
    folder = complete(trainer)
    if folder is not None and stage.copy_to is not None:
        if trainer.accelerator.is_main_process:
            with complete_folder(stage.copy_to) as copied:
                shutil.copytree(folder, copied, dirs_exist_ok=True)
        folder = stage.copy_to
    elif folder is not None:
        trainer.accelerator.wait_for_everyone()  # until the next stage's start is written
        if trainer.told_to_stop():  # while the last lines were written
            folder = None
    trainer.close()
    return folder


def optimize(trainer: "Trainer") -> Iterator[tuple[Batch, Painting]]:
    """The algorithm, step after step; each time with its last batch and what was painted."""
    for batches in trainer.steps():
        for batch in batches:
            with trainer.accumulated():
                painting = trainer.generator_step(batch)
                trainer.discriminator_step(batch, painting)
        trainer.update()
        yield batch, painting


class Trainer:
    """The state of a run, and one method for each line of the training loop."""

    def __init__(self, config: TrainConfig, resume: str | None):
        self.config = config
        self.folder = Path(config.output_dir)
        self.accelerator = make_accelerator(config)
        if self.accelerator.is_main_process:
            reserve_repository(config)
        torch.manual_seed(config.seed)
        self.networks = self.build_networks()
        self.perceptual = (
            config.perceptual.load() if config.losses.need_perceptual_network else None
        )
        if self.perceptual is not None:
            self.perceptual.to(self.accelerator.device)
        if isinstance(self.networks.discriminator, ProjectedDiscriminator):
            attach_backbones(self.networks.discriminator, config, self.accelerator.device)
        self._prepare_networks()
        self.step = 0
        self.best: float | None = None
        stream_states = self._restore(resume)
        self.data = TrainingData(
            config, self.networks.condition, self.accelerator, self.step, stream_states
        )
        self.tracker = Report(self.accelerator, self.folder, self.step)
        self._terminated = False
        self._handler = signal.signal(signal.SIGTERM, self._on_sigterm)

    # The lines of the loop -----------------------------------------------------------------------

    def steps(self) -> Iterator[Iterator[Batch]]:
        """The batches of each step that is left, after setting rates and random numbers for it."""
        if self.step == 0 and self.config.output.validate_every:
            self.validate()  # what has been learned is seen beside this
        batches = iter(self.data)
        self._logged = self._progress()
        for step in range(self.step, self.config.schedule.total * self.data.steps_per_unit):
            unit = step // self.data.steps_per_unit
            for optimizer, rate in self._optimizers.values():
                for group in optimizer.param_groups:
                    group["lr"] = rate * self.config.schedule.rate(unit)
            self._warmed_up = unit >= self.config.schedule.mask_warmup
            # Numbers that depend on the step alone: nothing to restore when a run is resumed.
            torch.manual_seed(seed_of(self.config.seed, step, self.accelerator.process_index))
            self.values: dict[str, Tensor] = {}
            yield islice(batches, self.config.speed.accumulation)

    def accumulated(self) -> Any:
        """One context for both networks' gradients: two would leave one never synchronised."""
        return self.accelerator.accumulate(*self._prepared.values())

    def generator_step(self, batch: Batch) -> Painting:
        """Paint the batch; add up the gradients of the two painting networks."""
        config = self.config
        # Frozen, the discriminator passes gradients on and collects none.
        self.networks.discriminator.requires_grad_(False)
        with self.accelerator.autocast():
            painting = self.paint(batch)
            terms = generator_terms(
                config.losses,
                painting,
                batch,
                self.networks.discriminator,
                self.perceptual,
                config.perceptual.layer_index,
                config.diff_augment,
                config.perceptual_shift,
            )
        self.accelerator.backward(sum(terms.values()))
        self.networks.discriminator.requires_grad_(True)
        self._note("generator", terms)
        return painting

    def discriminator_step(self, batch: Batch, painting: Painting) -> None:
        """Add up the discriminator's gradients, on the very picture that the generator made."""
        if not self.config.losses.adversarial:
            return
        with self.accelerator.autocast():
            terms = discriminator_terms(
                self.config.losses,
                painting,
                batch,
                self._prepared["discriminator"],
                self.config.diff_augment,
            )
        self.accelerator.backward(sum(terms.values()))
        self._note("discriminator", terms)

    def update(self) -> None:
        """Both optimisers' steps, then the averages'. The generator's went first in the official
        code, which is the same: the discriminator's gradient was taken on a finished picture."""
        scaler, limit = self.accelerator.scaler, self.config.optimizer.max_grad_norm
        for name, (optimizer, _) in self._optimizers.items():
            if scaler is not None:
                scaler.unscale_(optimizer)
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            norm = nn.utils.clip_grad_norm_(parameters, float("inf") if limit is None else limit)
            if scaler is None:  # which leaves out steps whose gradient overflowed
                self.values[f"{name}/gradient_norm"] = norm
        self._require_finite()
        for optimizer, _ in self._optimizers.values():
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
        if scaler is not None:
            scaler.update()
        for optimizer, _ in self._optimizers.values():
            optimizer.zero_grad()
        self.averages["correspondence"].step(self.networks.correspondence)
        self.averages["translation"].step(self.networks.translation)
        self.step += 1

    def report(self, batch: Batch, painting: Painting) -> None:
        """Log, draw, validate and save, whichever is due."""
        output = self.config.output
        if self._due(output.log_every):
            self._log(batch, painting)
        if self._due(output.grid_every):
            self._draw("training", batch, painting)
        if self._due(output.validate_every):
            self.validate()
        if self._due(output.checkpoint_every):
            self.save()

    def told_to_stop(self) -> bool:
        """Whether any process got SIGTERM; all of them then stop after the same step."""
        if self.accelerator.num_processes == 1:
            return self._terminated
        flag = torch.tensor(float(self._terminated), device=self.accelerator.device)
        return self.accelerator.reduce(flag, "sum").item() > 0

    def finish(self) -> Path:
        """Validate, save and export the averaged networks; upload them if the config says so."""
        output = self.config.output
        if output.validate_every and not self._due(output.validate_every):
            self.validate()
        if not self._due(output.checkpoint_every):
            self.save()
        target = self.folder / "pipeline"
        if self.accelerator.is_main_process:
            self._export(target)
            details = run_details(self.config, self.folder)
            write_card(target, CoCosPipeline.from_pretrained(target), output.push_to_hub, details)
            if output.push_to_hub is not None:
                self._publish(target, output.push_to_hub)
        return target

    def close(self) -> None:
        """Release what stands in the way of another trainer; the processes stay connected."""
        for tracker in self.accelerator.trackers:
            tracker.finish()
        self.accelerator.free_memory()
        AcceleratorState._reset_state()  # which keeps the precision of the first run
        GradientState._reset_state()
        if self.config.speed.compile:
            torch.compiler.reset()
        if not self._terminated:  # a second signal does not cut off the way out
            signal.signal(signal.SIGTERM, self._handler)

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

    def build_networks(self) -> Networks:
        """What is trained."""
        return Networks.build(self.config)

    def paint(self, batch: Batch) -> Painting:
        """What the networks in training make of a batch."""
        return paint(
            self._prepared["correspondence"],
            self._prepared["translation"] if self.config.losses.need_picture else None,
            self.networks.correspondence,
            batch,
            exemplar_noise=self._warmed_up
            and self.networks.correspondence.config.exemplar_noise > 0,
            target=batch.for_matching().image if self.config.losses.domain_alignment else None,
            crop=self.config.crop,
            frozen=self.config.networks.freeze_correspondence,
        )

    def save(self) -> None:
        """Write a checkpoint from which `--resume` goes on exactly."""
        stream_states = self.data.stream_states()
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            state = {
                "networks": {
                    name: network.state_dict() for name, network in self.networks.modules().items()
                },
                "averages": {name: ema.state_dict() for name, ema in self.averages.items()},
                "optimizers": {
                    name: optimizer.state_dict()
                    for name, (optimizer, _) in self._optimizers.items()
                },
                "scaler": None if scaler is None else scaler.state_dict(),
                "stream": stream_states,
                "best": self.best,
            }
            keep = self.config.output.keep
            path = save_checkpoint(self._checkpoints, self.step, state, self._described(), keep)
            self.accelerator.print(f"saved {path}", flush=True)
        self.accelerator.wait_for_everyone()

    def validate(self) -> None:
        """Measure the averaged networks on held-out pairs; keep them if they are the best so far.

        Only the main process does, on the same pairs each time.
        """
        if self.accelerator.is_main_process:
            metrics, batch, painting = validate(
                self.averages["correspondence"].module,
                self.averages["translation"].module,
                self.data.validation_batches(),
                self.perceptual,
            )
            values = {f"validation/{name}": value for name, value in metrics.items()}
            self.tracker.scalars(self.step, values)
            self._draw("validation", batch, painting)
            name = next(name for name in BEST_METRICS if name in metrics)
            score = BEST_METRICS[name] * metrics[name]
            if self.best is None or score > self.best:
                self.best = score
                self._export(self.folder / "best")
        self.accelerator.wait_for_everyone()

    @property
    def _checkpoints(self) -> Path:
        return checkpoints_folder(self.config)

    def _due(self, every: int) -> bool:
        return every > 0 and self.step % every == 0

    def _prepare_networks(self) -> None:
        """Averages, optimisers, and the networks as accelerate wraps them for several processes."""
        speed, rates = self.config.speed, self.config.optimizer
        networks = self.networks.modules()
        for network in networks.values():
            network.to(self.accelerator.device)
            if speed.channels_last:
                network.to(memory_format=torch.channels_last)
        self.averages = {
            name: ModuleEMA(networks[name], self.config.ema)
            for name in ("correspondence", "translation")
        }
        for network in networks.values():
            if speed.gradient_checkpointing:
                recompute_activations(network)
            if speed.compile:
                network.compile()
        trained = dict(networks)
        if self.config.networks.freeze_correspondence:
            # In evaluation mode: each use would move its spectral norms.
            trained.pop("correspondence").eval().requires_grad_(False)
        prepared = self.accelerator.prepare(*trained.values())
        self._prepared = networks | dict(zip(trained, prepared, strict=True))
        painters = [trained[name] for name in ("correspondence", "translation") if name in trained]
        adam, betas = torch.optim.Adam, rates.betas
        # With the full rate, to which the schedule is applied before every step.
        self._optimizers: dict[str, tuple[torch.optim.Optimizer, float]] = {
            "generator": (
                adam(
                    [{"params": list(network.parameters())} for network in painters],
                    betas=betas,
                    eps=rates.generator_epsilon,
                ),
                rates.generator_rate,
            )
        }
        if self.config.losses.adversarial:
            self._optimizers["discriminator"] = (
                adam(
                    networks["discriminator"].parameters(),
                    betas=betas,
                    eps=rates.discriminator_epsilon,
                ),
                rates.discriminator_rate,
            )

    def _restore(self, resume: str | None) -> list[Any] | None:
        """Take over a checkpoint, if there is one; where a streamed data set stood."""
        if resume is None:
            refuse_checkpoints(self.config)
        path = find_checkpoint(self._checkpoints, resume) if resume else None
        if path is None:
            return None
        self.step, state = load_checkpoint(path, self._described(), MAY_CHANGE_ON_RESUME)
        for name, network in self.networks.modules().items():
            network.load_state_dict(state["networks"][name])
        for name, average in self.averages.items():
            average.load_state_dict(state["averages"][name])
        for name, (optimizer, _) in self._optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.best = state["best"]
        self.accelerator.print(f"resumed from {path}", flush=True)
        return state["stream"]

    def _described(self) -> dict[str, Any]:
        """What must be the same for a resumed run to be the same run."""
        return to_dict(self.config) | {"processes": self.accelerator.num_processes}

    def _note(self, group: str, terms: dict[str, Tensor]) -> None:
        for name, term in terms.items():
            self.values[f"{group}/{name}"] = term.detach()

    def _log(self, batch: Batch, painting: Painting) -> None:
        measured = batch_metrics(batch, painting)
        values = self.values | {
            f"training/{name}": torch.tensor(value, device=self.accelerator.device)
            for name, value in measured.items()
        }
        values = {
            name: self.accelerator.reduce(value, "mean").item() for name, value in values.items()
        }
        before, self._logged = self._logged, self._progress()
        seconds, steps, waited = (b - a for a, b in zip(before, self._logged, strict=True))
        values |= {"seconds_per_step": seconds / steps, "data_waiting_share": waited / seconds}
        self.tracker.scalars(self.step, values)

    def _progress(self) -> tuple[float, int, float]:
        """The clock, the steps so far, and for how many seconds they waited for their data."""
        return time.perf_counter(), self.step, self.data.seconds_waited

    def _draw(self, name: str, batch: Batch, painting: Painting) -> None:
        batch = painting.batch or batch
        count = min(GRID_ROWS, len(batch.image))
        grid = picture_grid(
            self.networks.condition,
            batch.condition[:count],
            batch.exemplar[:count],
            painting.warped_exemplar[:count],
            painting.image[:count],
            batch.image[:count],
        )
        self.tracker.pictures(self.step, name, grid)

    def _require_finite(self) -> None:
        """Before a step: what is lost by it would be lost in the averages too."""
        if torch.stack(list(self.values.values())).isfinite().all():
            return
        named = {name: value.item() for name, value in self.values.items()}
        broken = [f"{name} = {value}" for name, value in named.items() if not isfinite(value)]
        raise RuntimeError(
            f"step {self.step} diverged: {', '.join(broken)}. Lower optimizer.generator_rate and "
            f"optimizer.discriminator_rate, or set optimizer.max_grad_norm, and go on with "
            f"--resume latest; or start again with lower weights of the losses."
        )

    def _export(self, target: Path) -> None:
        averaged = Networks(
            self.networks.condition,
            self.averages["correspondence"].module,
            self.averages["translation"].module,
            self.networks.discriminator,
        )
        export_pipeline(averaged, self.config.data, target)

    def _on_sigterm(self, *_: Any) -> None:
        self._terminated = True


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

    Raises RuntimeError if the launcher started several processes that do not know of each other,
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
        raise RuntimeError(
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


if __name__ == "__main__":
    main()
