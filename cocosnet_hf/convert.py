"""Official CoCosNet checkpoints to a saved pipeline.

python -m cocosnet_hf.convert CHECKPOINT_FOLDER OUTPUT_FOLDER [--task ade20k_noise] [--ema]
python -m cocosnet_hf.convert --perceptual 5SE.pth vgg19_distilled16x_relu5_1.safetensors
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from .cards import CardDetails, write_card
from .models import CorrespondenceNetwork, MultiscaleDiscriminator, TranslationNetwork
from .models.network import Network
from .models.perceptual import DistilledVGG19Features
from .pipeline import CoCosPipeline
from .presets import PRESETS, Preset, preset
from .transfer import LIBRARY

Architecture = dict[str, Any]
Names = tuple[tuple[str, str], ...]
NetworkT = TypeVar("NetworkT", bound=Network)

logger = logging.getLogger(__name__)

# Part of our key -> part of the official key, applied from top to bottom.
LAYER_NAMES: Names = (
    (".parametrizations.weight.original", ".weight_orig"),
    (".parametrizations.weight.0._u", ".weight_u"),
    (".parametrizations.weight.0._v", ".weight_v"),
    ("style_encoder.", "mlp_shared.1."),
    ("attention.query.", "attn.theta."),
    ("attention.key.", "attn.phi."),
    ("attention.value.", "attn.g."),
    ("attention.out.", "attn.o."),
    ("attention.gamma", "attn.gamma"),
)
CORRESPONDENCE_NAMES: Names = (
    *LAYER_NAMES,
    ("residual_blocks.", "layer."),
    ("condition_adaptor.", "adaptive_model_seg."),
    ("exemplar_adaptor.", "adaptive_model_img."),
    ("layers.0.", "layer1.0."),
    ("layers.1.", "layer2.0."),
    ("layers.2.", "layer3.0."),
    ("layers.3.", "layer4.0."),
    ("layers.4.", "layer5.0."),
    ("blocks.0.", "head_0."),
    ("blocks.1.", "G_middle_0."),
    ("blocks.2.", "G_middle_1."),
    ("content_projection.", "theta."),
    ("style_projection.", "phi."),
)
TRANSLATION_NAMES: Names = (
    *LAYER_NAMES,
    ("input_conv.", "fc."),
    ("blocks.0.", "head_0."),
    ("blocks.1.", "G_middle_0."),
    ("blocks.2.", "G_middle_1."),
    ("blocks.3.", "up_0."),
    ("blocks.4.", "up_1."),
    ("blocks.5.", "up_2."),
    ("blocks.6.", "up_3."),
    ("output_conv.", "conv_img."),
)
DISCRIMINATOR_NAMES: Names = (
    *LAYER_NAMES,
    ("discriminators.0.", "discriminator_0."),
    ("discriminators.1.", "discriminator_1."),
    ("layers.0.", "model0.0."),
    ("layers.1.", "model1.0.0."),
    ("layers.2.", "model2.0.0."),
    ("layers.3.", "model3.0.0."),
    ("layers.4.", "model4.0."),
)
# One of our layers holds two official ones, one after the other along the output channels.
JOINED = ("modulation.", ("mlp_gamma.", "mlp_beta."))
# Official keys without effect (official networks, 4.3): biases that an instance norm removes again,
# and a decoder that is never called.
UNUSED = {
    CorrespondenceNetwork: r"^layer\.\d\.conv[12]\.bias$",
    MultiscaleDiscriminator: r"^discriminator_\d\.dec\.",
}
NEVER = "(?!)"

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

    checkpoint = _Checkpoint.read(correspondence_file)
    architecture = _correspondence_architecture(checkpoint)
    task, chosen = _fitting_preset(architecture, wanted)
    channels, kernel = architecture["condition_channels"], architecture["adaptor_kernel_size"]
    logger.info("task %s: %s condition channels, adaptor kernel %s", task, channels, kernel)
    correspondence = checkpoint.network(
        CorrespondenceNetwork, chosen.correspondence | architecture, CORRESPONDENCE_NAMES
    )
    checkpoint = _Checkpoint.read(translation_file)
    architecture = _translation_architecture(checkpoint)
    translation = checkpoint.network(TranslationNetwork, architecture, TRANSLATION_NAMES)
    _require_one_condition(correspondence, translation)
    if discriminator_file.exists():
        checkpoint = _Checkpoint.read(discriminator_file)
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
    state = _Checkpoint.read(file, "model", "SE").state
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


def _correspondence_architecture(checkpoint: _Checkpoint) -> Architecture:
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


def _translation_architecture(checkpoint: _Checkpoint) -> Architecture:
    first, guide, *_ = checkpoint.shape("fc.weight", 4)
    blocks = ("G_middle_0", "up_0", "up_1", "up_2", "up_3")
    return {
        "condition_channels": guide - 3,
        "channels": (first, *(checkpoint.shape(f"{b}.conv_1.bias", 1)[0] for b in blocks)),
        "spade_channels": checkpoint.shape("head_0.norm_0.mlp_shared.1.weight", 4)[0],
    }


def _discriminator_architecture(checkpoint: _Checkpoint) -> Architecture:
    base, judged, *_ = checkpoint.shape("discriminator_0.model0.0.weight", 4)
    return {"condition_channels": judged - 3, "base_channels": base}


def _require_one_condition(correspondence: Network, other: Network) -> None:
    expected, got = (model.config.condition_channels for model in (correspondence, other))
    if expected != got:
        raise ValueError(
            f"the files are of different models: {type(correspondence).__name__} has {expected} "
            f"condition channels, {type(other).__name__} {got}; take all files from one training."
        )


@dataclass
class _Checkpoint:
    """One official .pth file: its path and its tensors, given up as a network takes them over."""

    path: Path
    state: dict[str, Tensor]

    @classmethod
    def read(cls, path: Path, *inside: str) -> _Checkpoint:
        """Open a state dict in the zip or the legacy format without running any of it.

        inside: keys under which the state dict may lie.
        """
        try:
            # Only the zip format can be mapped: its tensors stay on disk until they are used.
            mapped = zipfile.is_zipfile(path)
            if mapped:
                _require_whole(path)
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except Exception as error:  # torch raises whatever a broken or hostile file leads it to
            reason = _without_advice(error)
            raise ValueError(
                f"{path} could not be read as plain tensors ({reason}). Expected a state dict as "
                f"torch.save writes it; anything else could run code and is refused. Download or "
                f"save the file again."
            ) from error
        for key in inside:
            if isinstance(state, dict) and isinstance(state.get(key), dict):
                state = state[key]
        if not isinstance(state, dict) or not state:
            raise ValueError(
                f"{path} must hold a dict of key to tensor, got "
                f"{'an empty one' if state == {} else type(state).__name__}; save the network's "
                f"state_dict()."
            )
        for key, value in state.items():
            if not isinstance(key, str) or not isinstance(value, Tensor):
                raise ValueError(
                    f"{path} must hold a flat dict of key to tensor, but {key!r} is a "
                    f"{type(value).__name__}; save the network's state_dict() alone."
                )
            strided = value.layout == torch.strided and not value.is_meta
            # A few bytes can stand for a tensor of any size, which would then be made.
            if not strided or value.nbytes > value.untyped_storage().nbytes():
                raise ValueError(
                    f"{path}: {key} must be a plain tensor whose numbers are all in the file; save "
                    f"state_dict() as it is."
                )
            if not value.is_floating_point() or not torch.isfinite(value).all():
                raise ValueError(f"{path}: {key} must hold finite floating-point numbers only.")
        return cls(path, dict(state))

    def shape(self, key: str, dimensions: int) -> torch.Size:
        """The shape of one tensor, from which an architecture is read."""
        if key not in self.state or self.state[key].ndim != dimensions:
            found = f"of shape {tuple(self.state[key].shape)}" if key in self.state else "missing"
            raise ValueError(
                f"{self.path} does not hold the official network: {key} must have {dimensions} "
                f"dimensions and is {found}. The file's keys are {_first(sorted(self.state))}."
            )
        return self.state[key].shape

    def network(self, network: type[NetworkT], config: dict[str, Any], names: Names) -> NetworkT:
        """A network around the tensors. Raises ValueError unless they fit it exactly."""
        count = len(self.state)
        with torch.device("meta"):
            model = network(**config)
        model.load_state_dict(self._renamed(model, names), assign=True)
        logger.info("%s: %s with %s keys", self.path.name, network.__name__, count)
        return model.eval()

    def _renamed(self, model: Network, names: Names) -> dict[str, Tensor]:
        self._complete_v()
        expected = model.state_dict()
        sources = {key: _official_keys(key, names) for key in expected}
        self._require_exactly(model, expected, sources)
        return {
            key: _joined([self.state.pop(official).float().contiguous() for official in officials])
            for key, officials in sources.items()
        }

    def _complete_v(self) -> None:
        """Recompute v = W^T u / |W^T u| where an old torch stored `weight` instead (4.2)."""
        for key in [key for key in self.state if key.endswith(".weight_u")]:
            layer, u = key.removesuffix("_u"), self.state[key]
            original = self.state.get(f"{layer}_orig")
            if f"{layer}_v" in self.state or original is None or original.shape[:1] != u.shape:
                continue
            v = original.float().reshape(len(u), -1).t() @ u.float()
            self.state[f"{layer}_v"] = F.normalize(v, dim=0, eps=1e-12)
            self.state.pop(layer, None)

    def _require_exactly(
        self, model: Network, expected: dict[str, Tensor], sources: dict[str, list[str]]
    ) -> None:
        shapes: dict[str, tuple[int, ...]] = {}
        for key, officials in sources.items():
            shape: tuple[int, ...] = tuple(expected[key].shape)
            if len(officials) > 1:
                shape = (shape[0] // len(officials), *shape[1:])
            shapes |= dict.fromkeys(officials, shape)
        found = {key: tuple(value.shape) for key, value in self.state.items()}
        unused = re.compile(UNUSED.get(type(model), NEVER))
        problems = {
            "missing": sorted(shapes.keys() - found.keys()),
            "left over": sorted(k for k in found.keys() - shapes.keys() if not unused.search(k)),
            "of another shape": [
                f"{key} {found[key]} instead of {shape}"
                for key, shape in shapes.items()
                if key in found and found[key] != shape
            ],
        }
        if any(problems.values()):
            raise ValueError(
                f"{self.path} does not hold the official weights of a {type(model).__name__}: "
                + "; ".join(f"{len(v)} {k}: {_first(v)}" for k, v in problems.items() if v)
                + ". Check that the file is whole and comes from a published configuration."
            )


def _require_whole(path: Path) -> None:
    """Raise BadZipFile for a file of which a part was changed; torch looks at no checksum.

    A file whose checksums are all wrong was written without, which is said.
    """
    damaged, sound = [], 0
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            try:
                with archive.open(entry) as stream:
                    while stream.read(1 << 20):
                        pass
                sound += entry.file_size > 0
            except zipfile.BadZipFile:
                damaged.append(entry.filename)
    if damaged and sound:
        raise zipfile.BadZipFile(f"{damaged[0]} in it is damaged")
    if damaged:
        logger.warning("%s has no checksums: damage in it would go unnoticed.", path.name)


def _without_advice(error: Exception) -> str:
    """What torch says of a file, without how to open it so that its code runs."""
    found = re.search(r"WeightsUnpickler error: ([^\n]*?)\.?( Please use|\n|$)", str(error))
    if found:
        return found[1]
    reason = str(error).partition("\n")[0].partition("(1) ")[0].strip()
    advises = re.search("weights_only|torch.load", reason)
    return type(error).__name__ if advises or not reason else reason


def _official_keys(key: str, names: Names) -> list[str]:
    """The official key, or the two that ours joins."""
    for ours, official in names:
        key = key.replace(ours, official)
    ours, officials = JOINED
    return [key.replace(ours, official) for official in officials] if ours in key else [key]


def _joined(parts: list[Tensor]) -> Tensor:
    """The tensor itself; or gamma and beta in one, the bias of gamma with the 1 of "1 + gamma"."""
    if len(parts) == 1:
        return parts[0]
    gamma, beta = parts
    return torch.cat([gamma + 1 if gamma.ndim == 1 else gamma, beta])


def _first(keys: list[str], count: int = 3) -> str:
    return ", ".join(keys[:count]) + (", ..." if len(keys) > count else "")


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
    logger.setLevel(logging.INFO)
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
