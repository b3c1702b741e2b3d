"""The rival without correspondence: the same translation network, guided by one style vector.

    accelerate launch train/style_rival.py --config train/configs/edge-to-face.yaml \\
        --output_dir=out/style-rival --data.source=FOLDER --perceptual.source=FILE
    STYLE_RIVAL=out/style-rival/rival python -m cocosnet_hf.evaluate edge-to-face --data FOLDER \\
        --labels-column label --label-classes 19 \\
        --rivals exemplar warped nearest style=train.style_rival:paint

The first trains it by a recipe as train/train.py would, with the same data, steps and networks
beside it; terms of the matching have nothing to act on and are left out. The second, from the root
of the repository, measures it on the same pairs as the recipe's own model. An evaluation does not
see what functions read: a rival that was trained again needs another name or output folder.
"""

import dataclasses
import os
import sys
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

if __package__ in (None, ""):  # started as a file, whose folder is then searched for modules
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ModelMixin  # noqa: F401  (diffusers looks the base class up in this module)
from diffusers.configuration_utils import register_to_config
from PIL import Image
from torch import Tensor, nn

from cocosnet_hf import CorrespondenceOutput, TranslationNetwork
from cocosnet_hf.models.blocks import conv2d, leaky_relu_
from cocosnet_hf.models.network import Network, require_channels
from train.checkpoints import complete_folder
from train.config import MATCHING_TERMS, TrainConfig
from train.networks import Networks
from train.objective import Batch, Painting
from train.report import to_picture
from train.train import Trainer, add_resume, make_parser, parse_config, run
from train.validation import batch_metrics

FOLDER_VARIABLE = "STYLE_RIVAL"


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = make_parser(__doc__)
    add_resume(parser)
    known, config = parse_config(parser, arguments)
    train_rival(config, known.resume)


def train_rival(config: TrainConfig, resume: str | None = None) -> Path | None:
    """As `train.train.train`; returns the folder that `open_rival` reads. It is never uploaded.

    Raises ValueError if all terms are of the matching, which the rival has not.
    """
    if not config.losses.need_picture:
        raise ValueError(
            "the losses must look at the picture, got terms of the matching only, which the rival "
            "has not; leave out layers/correspondence.yaml or set another weight of losses."
        )
    losses = dataclasses.replace(config.losses, **dict.fromkeys(MATCHING_TERMS, 0.0))
    output = dataclasses.replace(config.output, push_to_hub=None)
    return run(RivalTrainer(dataclasses.replace(config, losses=losses, output=output), resume))


def paint(condition: Tensor, exemplar: Image.Image) -> Image.Image:
    """What the rival in the folder `STYLE_RIVAL` paints, on the CPU.

    condition (K, H, W), encoded; exemplar of any size. Raises ValueError if the variable is not
    set, and what `open_rival` raises.
    """
    if FOLDER_VARIABLE not in os.environ:
        raise ValueError(
            f"the environment variable {FOLDER_VARIABLE} must be the folder of a trained rival, "
            f"such as {FOLDER_VARIABLE}=out/style-rival/rival; it is not set."
        )
    encoder, translation = open_rival(os.environ[FOLDER_VARIABLE])
    photo = torch.from_numpy(np.array(exemplar)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        image, _ = paint_in_style(encoder, translation, condition[None], photo)
    return to_picture(image[0])


@cache
def open_rival(folder: str) -> "tuple[StyleEncoder, TranslationNetwork]":
    """A trained rival, folded for inference. Raises what `Network.from_pretrained` raises."""
    return (
        StyleEncoder.from_pretrained(Path(folder, "style_encoder")).fold(),
        TranslationNetwork.from_pretrained(Path(folder, "translation")).fold(),
    )


class StyleEncoder(Network):
    """An exemplar as one vector: its mean colours, their spreads and what strided layers see.

    The layers' share is a projection of the means of all their maps through tanh. Borders wrap
    around, so that the vector knows no places: an exemplar whose sides are multiples of 2^n has the
    same style when it is rolled by such multiples. The colours stand in it as they are, because one
    that was all learned fell into two styles, of light and of dark exemplars.

    style_channels: S. channels: widths of the n layers, each of which halves the map; by default
    with about as many weights as the correspondence network that it replaces in edge-to-face.
    Raises ValueError if S leaves no place for what is learned.
    """

    @register_to_config
    def __init__(self, style_channels: int = 16, channels: Sequence[int] = (32, 64, 128, 256, 512)):
        super().__init__()
        if style_channels <= 6:
            raise ValueError(
                f"style_channels must be over 6, which colours and spreads take, got "
                f"{style_channels}."
            )
        widths = [3, *channels]
        self.layers = nn.ModuleList(
            conv2d(*width, 3, stride=2, spectral=True) for width in pairwise(widths)
        )
        self.projection = nn.Linear(3 + sum(widths), style_channels - 6)

    def forward(self, exemplar: Tensor) -> Tensor:
        """exemplar (B, 3, H, W) in [-1, 1] -> (B, S) in [-1, 1]; the first three its mean colour.

        Raises ValueError for other channels.
        """
        require_channels("exemplar", exemplar, 3)
        maps = [exemplar]
        for layer in self.layers:
            maps.append(leaky_relu_(layer(F.pad(maps[-1], (1, 1, 1, 1), mode="circular"))))
        spread = exemplar.std(dim=(2, 3), correction=0)
        means = [each.mean(dim=(2, 3)) for each in maps]
        learned = torch.tanh(self.projection(torch.cat([spread, *means], dim=1)))
        return torch.cat([means[0], spread, learned], dim=1)


def paint_in_style(
    encoder: nn.Module, translation: nn.Module, condition: Tensor, exemplar: Tensor
) -> tuple[Tensor, Tensor]:
    """The picture (B, 3, H, W) in [-1, 1], and the style over its plane, (B, S, H, W).

    condition (B, K, H, W); exemplar (B, 3, H', W') in [-1, 1]. The translation network reads S - 3
    channels more than the condition has: of the style, the mean colour stands where it expects the
    warped exemplar, the others before the condition; it concatenates both anyway.
    """
    style = encoder(exemplar)[:, :, None, None].expand(-1, -1, *condition.shape[-2:])
    guide = torch.cat([style, condition], dim=1)
    return translation(guide[:, :3], guide[:, 3:]), style


class RivalTrainer(Trainer):
    """The trainer, with a style encoder in the place of the correspondence network."""

    def build_networks(self) -> Networks:
        """The recipe's, except that the translation network reads a style."""
        networks = Networks.build(self.config)
        encoder, before = StyleEncoder(), networks.translation.config
        channels = before.condition_channels + encoder.config.style_channels - 3
        translation = TranslationNetwork.from_config(
            before, condition_channels=channels, residual=False
        )  # there is no warped exemplar to add to
        # Under the name of what it replaces: averages, optimisers and checkpoints go by names.
        return dataclasses.replace(
            networks, correspondence=encoder.train(), translation=translation.train()
        )

    def paint(self, batch: Batch) -> Painting:
        """What the networks in training make of a batch."""
        return paint_batch(self._prepared["correspondence"], self._prepared["translation"], batch)

    @torch.no_grad()
    def validate(self) -> None:
        """Measure and draw the first held-out batch."""
        if self.accelerator.is_main_process:
            batch = next(self.data.validation_batches())
            painting = paint_batch(*self._averaged, batch)
            metrics = batch_metrics(batch, painting)
            values = {f"validation/{name}": value for name, value in metrics.items()}
            self.tracker.scalars(self.step, values)
            self._draw("validation", batch, painting)
        self.accelerator.wait_for_everyone()

    def save(self) -> None:
        """A checkpoint, and the rival so far for `open_rival`."""
        super().save()
        if self.accelerator.is_main_process:
            encoder, translation = self._averaged
            with complete_folder(self._target) as folder:
                encoder.save_pretrained(folder / "style_encoder")
                translation.save_pretrained(folder / "translation")

    def finish(self) -> Path:
        """Validate and save."""
        output = self.config.output
        if output.validate_every and not self._due(output.validate_every):
            self.validate()
        if not self._due(output.checkpoint_every):
            self.save()
        return self._target

    @property
    def _averaged(self) -> list[nn.Module]:
        return [self.averages[name].module for name in ("correspondence", "translation")]

    @property
    def _target(self) -> Path:
        return self.folder / "rival"


def paint_batch(encoder: nn.Module, translation: nn.Module, batch: Batch) -> Painting:
    """A painting without matching; for its warped exemplar stands the exemplar's mean colour."""
    image, style = paint_in_style(encoder, translation, batch.condition, batch.exemplar)
    colour = style[:, :3]
    return Painting(image, colour, colour, None, CorrespondenceOutput())


if __name__ == "__main__":
    main()
