"""Official CoCosNet checkpoints to a saved pipeline.

python -m cocosnet_hf.convert CHECKPOINT_FOLDER OUTPUT_FOLDER [--task ade20k_noise] [--ema]
python -m cocosnet_hf.convert --perceptual 5SE.pth vgg19_distilled16x_relu5_1.safetensors
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from .cards import CardDetails, write_card
from .models import CorrespondenceNetwork, MultiscaleDiscriminator, TranslationNetwork
from .models.network import Network
from .models.perceptual import DistilledVGG19Features
from .official_files import (
    CORRESPONDENCE_NAMES,
    DISCRIMINATOR_NAMES,
    TRANSLATION_NAMES,
    Checkpoint,
)
from .pipeline import CoCosPipeline
from .presets import PRESETS, Preset, preset
from .transfer import LIBRARY

Architecture = dict[str, Any]

logger = logging.getLogger(__name__)

OFFICIAL_RELEASE = "https://github.com/microsoft/CoCosNet"
FACES = (
    "[CelebAMask-HQ](https://github.com/switchablenorms/CelebAMask-HQ), which is available for "
    "non-commercial research purposes only"
)
OFFICIAL_DATA = {
    "ade20k": (
        "[ADE20K](https://groups.csail.mit.edu/vision/datasets/ADE20K/), under its "
        "[terms of use](http://groups.csail.mit.edu/vision/datasets/ADE20K/terms)"
    ),
    "celebahq": FACES,
    "celebahq-edge": FACES,
    "deepfashion": (
        "[DeepFashion](http://mmlab.ie.cuhk.edu.hk/projects/DeepFashion.html), whose use is "
        "restricted to non-commercial research and educational purposes"
    ),
}
"""What the official networks were trained on, by preset."""


def convert_checkpoint(
    folder: str | Path,
    output: str | Path,
    task: str | None = None,
    epoch: str | int = "latest",
    ema: bool = False,
) -> Path:
    """Write the official networks in `folder` to `output`, for `CoCosPipeline.from_pretrained`.

    The card there says under which terms they are.

    folder: with <epoch>_net_G.pth and <epoch>_net_Corr.pth, or with ema their averaged forms
    <epoch>_net_G_ema.pth and <epoch>_net_netCorr_ema.pth. If <epoch>_net_D.pth is there too, it
    goes to `output`/discriminator, which the pipeline itself does not need.
    task: a name in `PRESETS`; by default recognised from the condition channels. Only the noise
    variant of ade20k must be named, as its weights look like ade20k's. All widths and the adaptor's
    kernel are read from the weights.

    Returns `output`. Raises FileNotFoundError if a file is not there, FileExistsError if `output`
    holds files, and ValueError if a file is not a plain state dict or not exactly the expected one.
    Nothing that a file contains is executed. Source: official networks, 4.
    """
    folder, output = Path(folder), Path(output)
    wanted = None if task is None else preset(task)
    correspondence_file, translation_file, discriminator_file = _files(folder, epoch, ema)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(f"{output} exists and is not an empty folder; choose another one.")

    checkpoint = Checkpoint.read(correspondence_file)
    architecture = _correspondence_architecture(checkpoint)
    task, chosen = _fitting_preset(architecture, wanted)
    channels, kernel = architecture["condition_channels"], architecture["adaptor_kernel_size"]
    logger.info("task %s: %s condition channels, adaptor kernel %s", task, channels, kernel)
    correspondence = checkpoint.network(
        CorrespondenceNetwork, chosen.correspondence | architecture, CORRESPONDENCE_NAMES
    )
    checkpoint = Checkpoint.read(translation_file)
    architecture = _translation_architecture(checkpoint)
    translation = checkpoint.network(TranslationNetwork, architecture, TRANSLATION_NAMES)
    _require_one_condition(correspondence, translation)
    if discriminator_file.exists():
        checkpoint = Checkpoint.read(discriminator_file)
        architecture = _discriminator_architecture(checkpoint)
        discriminator = checkpoint.network(
            MultiscaleDiscriminator, architecture, DISCRIMINATOR_NAMES
        )
        _require_one_condition(correspondence, discriminator)
        discriminator.save_pretrained(output / "discriminator")
    pipeline = CoCosPipeline(correspondence, translation, chosen.condition, chosen.image_size)
    pipeline.save_pretrained(output)
    write_card(output, pipeline, details=official_details(pipeline))
    logger.info("saved to %s", output)
    return output


def convert_perceptual(file: str | Path, output: str | Path) -> Path:
    """Write the distilled VGG-19 as `DistilledVGG19Features.from_file` reads it.

    file: `trained_models/wct_se_16x_new/5SE.pth` of Collaborative-Distillation, with the layers
    conv0, conv11, ..., conv51. output: a new safetensors file, which is returned. Raises
    FileNotFoundError, FileExistsError, and ValueError for a file that holds another network.
    """
    file, output = Path(file), Path(output)
    if not file.is_file():
        raise FileNotFoundError(f"expected 5SE.pth of Collaborative-Distillation, no file {file}.")
    if output.exists():
        raise FileExistsError(f"{output} exists; choose another name.")
    state = Checkpoint.read(file, "model", "SE").state
    named = {re.sub(r"^conv(\d)(\d)(?=[_.])", r"conv\1_\2", key): state[key] for key in state}
    save_file({key: value.float().contiguous() for key, value in named.items()}, output)
    try:
        DistilledVGG19Features.from_file(output)
    except ValueError as error:
        output.unlink()
        raise ValueError(f"{file} is not the network that was expected: {error}") from error
    return output


def official_details(pipe: CoCosPipeline) -> CardDetails:
    """What the card of converted official networks says of where they come from."""
    data = next(
        text for name, text in OFFICIAL_DATA.items() if PRESETS[name].condition == pipe.condition
    )
    return CardDetails(
        license="other",
        license_name="cocosnet-official-release",
        license_link=OFFICIAL_RELEASE,
        data=(
            f"The weights are those of the [official release]({OFFICIAL_RELEASE}) by its authors, "
            f"in another file format. They trained on {data}."
        ),
        limits=(
            f"- The weights keep the terms of [their release]({OFFICIAL_RELEASE}) and of the "
            f"pictures they were trained on; the licence of `{LIBRARY}` does not extend to them."
        ),
    )


def _files(folder: Path, epoch: str | int, ema: bool) -> tuple[Path, Path, Path]:
    """The paths of netCorr, netG and netD, the last of which may not exist."""
    required = ("netCorr_ema", "G_ema") if ema else ("Corr", "G")
    paths = [folder / f"{epoch}_net_{name}.pth" for name in (*required, "D")]
    for path in paths[:2]:
        if not path.is_file():
            found = ", ".join(sorted(p.name for p in folder.glob("*.pth"))) or "no .pth file"
            raise FileNotFoundError(
                f"expected {path.name} in {folder}, found {found}; --epoch and --ema choose others."
            )
    return paths[0], paths[1], paths[2]


def _fitting_preset(architecture: Architecture, wanted: Preset | None) -> tuple[str, Preset]:
    """The preset whose condition the weights were made for; the first one if several fit."""
    found = architecture["condition_channels"], architecture["mix_condition"]
    for name, candidate in PRESETS.items():
        expected = candidate.condition.channels, candidate.correspondence.get("mix_condition", True)
        if expected == found and wanted in (None, candidate):
            return name, candidate
    known = ", ".join(f"{name} {p.condition.channels}" for name, p in PRESETS.items())
    raise ValueError(
        f"the weights do not fit the {'known tasks' if wanted is None else 'task asked for'}: they "
        f"have {found[0]} condition channels, {'mixed' if found[1] else 'not mixed'} into the "
        f"features. Known are {known}, mixed in by all but deepfashion; name the task that the "
        f"weights were trained for."
    )


def _correspondence_architecture(checkpoint: Checkpoint) -> Architecture:
    adaptor = "adaptive_model_seg"
    base, condition, *_ = checkpoint.shape(f"{adaptor}.layer1.0.weight_orig", 4)
    features, mixed, *_ = checkpoint.shape("theta.weight", 4)
    return {
        "condition_channels": condition,
        "base_channels": base,
        "feature_channels": features,
        "spade_channels": checkpoint.shape(f"{adaptor}.head_0.norm_0.mlp_shared.1.weight", 4)[0],
        "adaptor_kernel_size": checkpoint.shape(f"{adaptor}.layer2.0.weight_orig", 4)[3],
        "mix_condition": mixed > features,
    }


def _translation_architecture(checkpoint: Checkpoint) -> Architecture:
    first, guide, *_ = checkpoint.shape("fc.weight", 4)
    blocks = ("G_middle_0", "up_0", "up_1", "up_2", "up_3")
    return {
        "condition_channels": guide - 3,
        "channels": (first, *(checkpoint.shape(f"{b}.conv_1.bias", 1)[0] for b in blocks)),
        "spade_channels": checkpoint.shape("head_0.norm_0.mlp_shared.1.weight", 4)[0],
    }


def _discriminator_architecture(checkpoint: Checkpoint) -> Architecture:
    base, judged, *_ = checkpoint.shape("discriminator_0.model0.0.weight", 4)
    return {"condition_channels": judged - 3, "base_channels": base}


def _require_one_condition(correspondence: Network, other: Network) -> None:
    expected, got = (model.config.condition_channels for model in (correspondence, other))
    if expected != got:
        raise ValueError(
            f"the files are of different models: {type(correspondence).__name__} has {expected} "
            f"condition channels, {type(other).__name__} {got}; take all files from one training."
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; `arguments` default to the process's own."""
    parser = argparse.ArgumentParser(
        prog="python -m cocosnet_hf.convert",
        description="Convert official CoCosNet checkpoints to a pipeline folder.",
    )
    parser.add_argument("folder", type=Path, help="folder with the official .pth files")
    parser.add_argument("output", type=Path, help="new folder for the pipeline")
    parser.add_argument(
        "--perceptual", action="store_true", help="from 5SE.pth, the VGG-19 of recipes, to one file"
    )
    parser.add_argument("--task", help=f"one of {', '.join(PRESETS)}; recognised by default")
    parser.add_argument("--epoch", default="latest", help='"latest" (default) or a number')
    parser.add_argument("--ema", action="store_true", help="take the averaged weights")
    options = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    for source in (__name__, __package__):  # started as a module, this one is not in the package
        logging.getLogger(source).setLevel(logging.INFO)
    chosen = vars(options)
    try:
        if chosen.pop("perceptual"):
            convert_perceptual(options.folder, options.output)
        else:
            convert_checkpoint(**chosen)
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
