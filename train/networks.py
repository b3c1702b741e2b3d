"""The networks of a run: made from its config or from a pipeline, and exported as one."""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.utils import logging
from huggingface_hub import snapshot_download
from torch import Tensor, nn

from cocosnet_hf import (
    CoCosPipeline,
    Condition,
    CorrespondenceNetwork,
    MultiscaleDiscriminator,
    TranslationNetwork,
)
from cocosnet_hf.bundled import locate
from cocosnet_hf.datasets import DataSettings

from .checkpoints import complete_folder
from .config import TrainConfig

logger = logging.get_logger(__name__)

DISCRIMINATOR_FOLDER = "discriminator"


@dataclass
class Networks:
    """Everything that is trained, and the condition it is trained for."""

    condition: Condition
    correspondence: CorrespondenceNetwork
    translation: TranslationNetwork
    discriminator: MultiscaleDiscriminator

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
            TranslationNetwork(channels, **chosen.translation).train(),
            MultiscaleDiscriminator(channels, **chosen.discriminator).train(),
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
            discriminator = MultiscaleDiscriminator.from_pretrained(folder / DISCRIMINATOR_FOLDER)
        else:
            logger.warning(f"{source} has no discriminator: a new one is trained.")
            discriminator = MultiscaleDiscriminator(
                pipe.condition.channels, **config.networks.discriminator
            )
        return cls(
            pipe.condition,
            pipe.correspondence.train(),
            pipe.translation.train(),
            discriminator.train(),
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
    pipe = CoCosPipeline(correspondence, translation, networks.condition, *size)
    with complete_folder(target) as folder:
        pipe.save_pretrained(folder)
        networks.discriminator.save_pretrained(folder / DISCRIMINATOR_FOLDER)
        for network in (correspondence, translation):
            network.half()
        pipe.save_pretrained(folder, variant="fp16")
