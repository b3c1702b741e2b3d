"""Train a pipeline from one YAML file.

    accelerate launch train/train.py --config train/configs/quickstart.yaml
    accelerate launch train/train.py --config ... --resume latest --output.keep=5
    accelerate launch train/train.py --config ... --config train/configs/layers/8gb.yaml
    accelerate launch train/train.py --config ... --stage painter
    python train/train.py --config ... --dry-run
    python train/train.py --config ... --check-data
    python train/train.py --config ... --find-lr
    python train/train.py --config ... --find-batch

The output folder then holds `pipeline/`, which `CoCosPipeline.from_pretrained` loads, `best/`, the
same at the best validation, `pictures/` to look at, `checkpoints/` and TensorBoard's `logs/`. A
recipe with `stages` (see `load_stages`) is as many runs one after another: each has all this in a
folder of its name, and the last one's pipeline comes to the output folder.

The process returns 0 when all is trained, 2 for a mistake in settings or data, 1 for a run that
failed otherwise, 143 after SIGTERM and 130 after Ctrl-C. Except for a mistake in the settings, what
has been trained is saved before.
"""

import argparse
import dataclasses
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NoReturn

if __package__ in (None, ""):  # started as a file, whose folder is then searched for modules
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
import yaml
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from train.check import check_stages
from train.checkpoints import complete_folder
from train.config import TrainConfig, load_config, to_dict
from train.find_batch import find_batch
from train.find_lr import STEPS, find_lr
from train.mistakes import Diverged, is_mistake, message_of
from train.networks import build_system
from train.places import place_of
from train.stages import Stage, load_stages
from train.stopping import BROKEN_OFF, Stopping
from train.trainer import Trainer, optimize, refuse_checkpoints, reserve_repository


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = make_parser(__doc__)
    add_resume(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="print the resolved run and the parameter counts"
    )
    parser.add_argument(
        "--check-data", action="store_true", help="read every row once and say what is wrong"
    )
    parser.add_argument(
        "--find-lr",
        type=int,
        nargs="?",
        const=STEPS,
        metavar="STEPS",
        help=f"say which learning rates to take, by a trial of {STEPS} steps or as many as said",
    )
    parser.add_argument(
        "--find-batch", action="store_true", help="say which batch size to take, by short trials"
    )
    parser.add_argument("--stage", metavar="NAME", help="only this one of the recipe's stages")
    parser.add_argument(
        "--traceback", action="store_true", help="show where in the code an error was raised"
    )
    known, overrides = parser.parse_known_args(arguments)
    stopping = Stopping()
    try:
        stages = load_stages(known.config, overrides, known.stage)
        if len(stages) > 1 and known.resume not in (None, "latest"):
            raise ValueError(
                "a checkpoint is of one stage: say --resume latest, or which by --stage."
            )
        if known.check_data:
            raise SystemExit(check_stages(stages))
        if (known.find_lr is not None or known.find_batch) and len(stages) > 1:
            raise ValueError("--find-lr and --find-batch try one stage: say which by --stage.")
        if known.find_lr is not None:
            print(find_lr(stages[0].config, known.find_lr))
        elif known.find_batch:
            print(find_batch(stages[0].config))
        elif known.dry_run:
            print(describe_stages(stages))
        elif stages[0].name is None:
            train(stages[0].config, known.resume, stopping)
        else:
            train_stages(stages, known.resume, stopping)
    except KeyboardInterrupt:
        parser.exit(128 + signal.SIGINT, "stopped by Ctrl-C at once; nothing was saved by it.\n")
    except Exception as error:
        if known.traceback or not is_mistake(error):
            raise
        refuse(parser, error, place_of(message_of(error), known.config, overrides))
    if stopping.received:
        raise SystemExit(stopping.exit_code)


def refuse(parser: argparse.ArgumentParser, error: Exception, place: str | None = None) -> NoReturn:
    """End with the message of a mistake, and the code that the module's docstring says.

    place: file and line of the setting that it is about.
    """
    text = message_of(error) + (f" ({place})" if place else "")
    if isinstance(error, (Diverged, torch.OutOfMemoryError)):
        parser.exit(BROKEN_OFF, f"{parser.prog}: error: {text}\n")
    parser.error(text)


def make_parser(doc: str) -> argparse.ArgumentParser:
    """For `parse_config`; doc: the script's, of which the first line is shown."""
    parser = argparse.ArgumentParser(
        description=doc.partition("\n")[0],
        epilog="Any setting of the files may be given as --group.name=value. All of them, with "
        "what they mean: train/config.py, and of the data cocosnet_hf/datasets/settings.py.",
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
    starts: dict[str | None, tuple[str | None, str | None]] = {}
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
    counted = build_system(dataclasses.replace(config, networks=networks)).networks
    counts = {
        name: sum(parameter.numel() for parameter in network.parameters())
        for name, network in counted.items()
    }
    lines = [f"# {name}: {count:,} parameters" for name, count in counts.items()]
    return yaml.safe_dump(to_dict(config), sort_keys=False) + "\n".join(lines)


def train(
    config: TrainConfig, resume: str | None = None, stopping: Stopping | None = None
) -> Path | None:
    """Run to the end, or until SIGTERM or Ctrl-C, which `stopping` then knows.

    resume: "latest" or a checkpoint's path. Returns the folder of the exported pipeline; None after
    a signal. Raises FileExistsError for a new run where there are checkpoints, and what its parts
    raise for settings, data and disks that cannot be used.
    """
    return run(Trainer(config, resume, stopping))


def run(trainer: Trainer) -> Path | None:
    """Every step that is left, and its end: what `train` says."""
    with closing(trainer):
        folder = complete(trainer)
    PartialState().destroy_process_group()
    return folder


def complete(trainer: Trainer) -> Path | None:
    """Every step that is left, and what is written after them, on a signal or on an error."""
    try:
        for batch, generated in optimize(trainer):
            trainer.report(batch, generated)
            if trainer.told_to_stop():
                trainer.stop()
                return None
            if trainer.has_converged():
                break
        return trainer.finish()
    except Exception as error:
        trainer.rescue(error)
        raise


def train_stages(
    stages: Sequence[Stage], resume: str | None = None, stopping: Stopping | None = None
) -> Path | None:
    """Stage after stage in one process, to the end or until a signal, which `stopping` then knows.

    resume: as of `train`; then those that are complete are skipped. Returns the folder of the last
    pipeline, None after a signal. Raises what `train` raises, FileExistsError before any training.
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
        folder = train_stage(stage, resume, stopping)
        if folder is None:
            break
    state.destroy_process_group()
    return folder


def train_stage(stage: Stage, resume: str | None, stopping: Stopping | None) -> Path | None:
    """One stage, after which the process is ready for the next; None if none may follow."""
    with closing(Trainer(stage.config, resume, stopping)) as trainer:
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
    return folder


if __name__ == "__main__":
    main()
