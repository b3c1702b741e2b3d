"""The networks of a run: made from its config or from a pipeline, and exported as one."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging
from huggingface_hub import snapshot_download
from torch import Tensor, nn

from cocosnet_hf import (
    BlendingTranslationNetwork,
    CoCosPipeline,
    Condition,
    CorrespondenceNetwork,
    MultiscaleDiscriminator,
    ProjectedDiscriminator,
    TranslationNetwork,
)
from cocosnet_hf.bundled import locate
from cocosnet_hf.datasets import DataSettings
from cocosnet_hf.models import EfficientNetLite0Features

from .checkpoints import complete_folder
from .config import DISCRIMINATORS, TRANSLATIONS, TrainConfig, make_network

logger = logging.get_logger(__name__)

DISCRIMINATOR_FOLDER = "discriminator"

MATCHING_USE = {"temperature", "warp", "warp_upsampling"}
"""Settings of a correspondence network that its weights do not depend on."""


@dataclass
class Networks:
    """Everything that is trained, and the condition it is trained for."""

    condition: Condition
    correspondence: CorrespondenceNetwork
    translation: TranslationNetwork | BlendingTranslationNetwork
    discriminator: MultiscaleDiscriminator | ProjectedDiscriminator

    @classmethod
    def build(cls, config: TrainConfig) -> "Networks":
        """New networks, or those of `networks.init_from`, in training mode.

        Raises ValueError for settings that the networks refuse or into which the weights of
        `networks.transfer_from` do not fit, and what `CoCosPipeline.from_pretrained` raises.
        """
        chosen = config.networks
        if chosen.init_from is not None:
            return cls._from_pipeline(config)
        condition = chosen.make_condition()
        channels = condition.channels
        networks = cls(
            condition,
            CorrespondenceNetwork(channels, **chosen.correspondence_arguments()).train(),
            make_network(chosen.translation, TRANSLATIONS, channels).train(),
            make_network(chosen.discriminator, DISCRIMINATORS, channels).train(),
        )
        if chosen.transfer_from is not None:
            networks._transfer(chosen.transfer_from)
        return networks

    @classmethod
    def _from_pipeline(cls, config: TrainConfig) -> "Networks":
        source = config.networks.init_from
        located, variant = locate(source)
        folder = Path(located)
        if not folder.is_dir():
            CoCosPipeline.download(source)  # refuses what cannot be opened safely
            folder = Path(snapshot_download(source, allow_patterns=f"{DISCRIMINATOR_FOLDER}/*"))
        pipe = CoCosPipeline.from_pretrained(folder, variant=variant)
        if (folder / DISCRIMINATOR_FOLDER).is_dir():
            discriminator = open_discriminator(folder / DISCRIMINATOR_FOLDER)
        else:
            logger.warning(f"{source} has no discriminator: a new one is trained.")
            discriminator = make_network(
                config.networks.discriminator, DISCRIMINATORS, pipe.condition.channels
            )
        chosen, channels = config.networks, pipe.condition.channels
        correspondence, translation = pipe.correspondence, pipe.translation
        # How the matching is used has no weights, and may change from stage to stage.
        uses = {
            key: chosen.correspondence[key] for key in MATCHING_USE & chosen.correspondence.keys()
        }
        correspondence.register_to_config(**uses)
        if (
            chosen.translation.get("class", type(translation).__name__)
            != type(translation).__name__
        ):
            translation = make_network(chosen.translation, TRANSLATIONS, channels)
        if chosen.discriminator.get("class", type(discriminator).__name__) != (
            type(discriminator).__name__
        ):
            discriminator = make_network(chosen.discriminator, DISCRIMINATORS, channels)
        return cls(
            pipe.condition, correspondence.train(), translation.train(), discriminator.train()
        )

    def _transfer(self, source: str) -> None:
        folder, variant = locate(source)
        pipe = CoCosPipeline.from_pretrained(folder, variant=variant)
        channels = (pipe.condition.channels, self.condition.channels)
        for name in ("correspondence", "translation"):
            try:
                transfer_weights(getattr(pipe, name), getattr(self, name), *channels)
            except ValueError as error:
                raise ValueError(f"networks.transfer_from '{source}', {name}: {error}") from error

    def modules(self) -> dict[str, nn.Module]:
        """The three networks by name."""
        return {
            "correspondence": self.correspondence,
            "translation": self.translation,
            "discriminator": self.discriminator,
        }


def attach_backbones(
    discriminator: ProjectedDiscriminator, config: TrainConfig, device: torch.device
) -> None:
    """Give a discriminator the frozen networks that it judges by."""
    makers = {
        "efficientnet-lite0": EfficientNetLite0Features.from_package,
        "vgg19-distilled": config.perceptual.load,
    }
    discriminator.attach(
        {name: makers[name]().to(device) for name in discriminator.config.backbones}
    )


def _names_another(options: Mapping[str, Any], network: nn.Module) -> bool:
    """Whether options ask for another class than that of a network."""
    return options.get("class", type(network).__name__) != type(network).__name__


def open_discriminator(folder: Path) -> MultiscaleDiscriminator | ProjectedDiscriminator:
    """A saved discriminator of whichever class its configuration names."""
    name = json.loads((folder / "config.json").read_text()).get("_class_name")
    for cls in DISCRIMINATORS:
        if cls.__name__ == name:
            return cls.from_pretrained(folder)
    raise ValueError(f"{folder} holds a {name}, which is no discriminator of this package.")


@torch.no_grad()
def transfer_weights(source: nn.Module, target: nn.Module, given: int, wanted: int) -> None:
    """Copy source's weights to the same network for another condition.

    given, wanted: channels of source's condition and of target's, the last inputs of every layer
    that reads one. If these differ, a layer of target that reads the condition alone keeps its
    weights; one that reads other inputs too gets those copied and 0 for the condition, so that the
    painter begins with what it makes of the warped exemplar. Settings without weights of their own,
    such as `residual`, are not compared. Raises ValueError, before anything is copied, for weights
    that differ in more.
    """
    old, new = source.state_dict(), target.state_dict()
    resized = {key for key in old.keys() & new.keys() if old[key].shape != new[key].shape}
    readers = {key for key in resized if _reads_condition(old[key], new[key], given, wanted)}
    # The vectors of a spectral norm belong to their weight.
    fresh = {key.removesuffix("original") for key in readers if key.endswith(".original")}
    kept = {key for key in new if key.rpartition(".")[0].rpartition(".")[0] + "." in fresh}
    wrong = sorted((old.keys() ^ new.keys()) | (resized - readers - kept))
    if wrong:
        raise ValueError(
            f"its networks have other settings than this run's: {', '.join(wrong[:3])} differ; "
            "copy its settings under networks.correspondence and networks.translation; neither may "
            "have mix_condition, which makes the condition a part of every shared layer."
        )
    for key in old.keys() - readers - kept:
        new[key].copy_(old[key])
    for key in readers:
        others = old[key].shape[1] - given
        if others > 0:
            new[key][:, :others].copy_(old[key][:, :others])
            new[key][:, others:].zero_()


def _reads_condition(old: Tensor, new: Tensor, given: int, wanted: int) -> bool:
    """Whether these weights of a convolution differ by their condition's channels alone."""
    if old.ndim != 4 or old.shape[1] < given:
        return False
    return new.shape == (old.shape[0], old.shape[1] - given + wanted, *old.shape[2:])


def export_pipeline(networks: Networks, data: DataSettings, target: Path) -> None:
    """Save the networks as a folder that `CoCosPipeline.from_pretrained` loads.

    float32, a float16 variant, and the discriminator beside them for further training. data: what
    it learned from, whose size the pipeline keeps.
    """
    # Copies: the export casts them, and training may go on.
    correspondence = copy.deepcopy(networks.correspondence).eval()
    translation = copy.deepcopy(networks.translation).eval()
    size = data.image_size, data.image_width
    pipe = CoCosPipeline(
        correspondence, translation, networks.condition, *size, data.matching_scale
    )
    with complete_folder(target) as folder:
        pipe.save_pretrained(folder)
        networks.discriminator.save_pretrained(folder / DISCRIMINATOR_FOLDER)
        for network in (correspondence, translation):
            network.half()
        pipe.save_pretrained(folder, variant="fp16")
