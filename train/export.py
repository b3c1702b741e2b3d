"""Make a pipeline of a run's checkpoint, such as of one that was interrupted.

python train/export.py out/run                                    # its newest checkpoint
python train/export.py out/run/checkpoints/checkpoint-00002000 -o out/at-2000
python train/export.py out/run --strength 0.9  # of a painter that blends: more of the exemplar
"""

import argparse
import sys
from pathlib import Path
from typing import cast

if __package__ in (None, ""):  # started as a file, whose folder is then searched for modules
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from cocosnet_hf.cards import write_card
from cocosnet_hf.models import BlendingTranslationNetwork
from cocosnet_hf.models.blending import set_strength
from cocosnet_hf.models.network import Network
from train.card import run_details
from train.checkpoints import RUN_FILE, list_checkpoints, read_run, read_state
from train.config import TrainConfig, build_config
from train.ema import averaged_copy
from train.networks import build_system, export_pipeline


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a run or a stage, or one checkpoint")
    parser.add_argument(
        "-o", "--output", type=Path, help="default: pipeline-STEP in the folder of the run"
    )
    parser.add_argument(
        "--strength", type=float, default=0.5, help="of calls, that is to be the pipeline's own"
    )
    options = parser.parse_args(arguments)
    try:
        print(export_checkpoint(options.run, options.output, options.strength))
    except (ValueError, OSError) as error:
        parser.error(str(error))


def export_checkpoint(run: Path, target: Path | None = None, strength: float = 0.5) -> Path:
    """Save the averaged networks of a checkpoint as a pipeline with its card, and say where.

    run: the checkpoint, or the folder of a run, whose newest is taken. target: must not be there
    yet; default: pipeline-STEP beside the checkpoints. strength: see `set_strength`.
    Raises FileNotFoundError where there is no checkpoint, FileExistsError for a target that is
    there, ValueError for settings that are no longer understood and for another strength than 0.5
    of a system whose painter does not blend.
    """
    path = newest_checkpoint(run)
    step, recorded = read_run(path)
    settings = make_config(recorded)
    target = target or path.parent.parent / f"pipeline-{step}"
    if target.exists():
        raise FileExistsError(f"{target} is there already; name another folder by --output.")
    system, state = build_system(settings), read_state(path)
    for name, network in system.networks.items():
        network.load_state_dict(state["networks"][name])
    averages = {
        name: averaged_copy(system.networks[name], settings.ema) for name in system.averaged
    }
    for name, average in averages.items():
        average.load_state_dict(state["averages"][name])
    averaged = {name: cast(Network, average.module) for name, average in averages.items()}
    if strength != 0.5:
        painter = averaged.get("translation")
        if not isinstance(painter, BlendingTranslationNetwork):
            raise ValueError("--strength is for a BlendingTranslationNetwork, which this has not.")
        set_strength(painter, strength)
    export_pipeline(system, averaged, target)
    pipe = system.pipeline_class.from_pretrained(target)
    write_card(target, pipe, None, run_details(settings, path.parent.parent))
    return target


def newest_checkpoint(run: Path) -> Path:
    """A checkpoint itself, or the newest of a run. Raises FileNotFoundError where none is."""
    if (run / RUN_FILE).is_file():
        return run
    found = list_checkpoints(run / "checkpoints")
    if not found:
        raise FileNotFoundError(
            f"{run} is neither a checkpoint nor the folder of a run that has saved one; a recipe "
            f"with stages has a folder for each of them."
        )
    return found[-1]


def make_config(settings: dict) -> TrainConfig:
    """The run that a checkpoint's settings describe."""
    return build_config({name: value for name, value in settings.items() if name != "processes"})


if __name__ == "__main__":
    main()
