"""The networks of a run: made from its config or from a pipeline, and exported as one."""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.utils import logging
from huggingface_hub import snapshot_download

from cocosnet_hf import (
    CoCosPipeline,
    Condition,
    CorrespondenceNetwork,
    MultiscaleDiscriminator,
    TranslationNetwork,
)

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

        Raises ValueError for settings that the networks refuse, and what
        `CoCosPipeline.from_pretrained` raises.
        """
        chosen = config.networks
        if chosen.init_from is not None:
            return cls._from_pipeline(config)
        condition = chosen.make_condition()
        channels = condition.channels
        return cls(
            condition,
            CorrespondenceNetwork(channels, **chosen.correspondence_arguments()).train(),
            TranslationNetwork(channels, **chosen.translation).train(),
            MultiscaleDiscriminator(channels, **chosen.discriminator).train(),
        )

    @classmethod
    def _from_pipeline(cls, config: TrainConfig) -> "Networks":
        source = config.networks.init_from
        folder = Path(source)
        if not folder.is_dir():
            CoCosPipeline.download(source)  # refuses what cannot be opened safely
            folder = Path(snapshot_download(source, allow_patterns=f"{DISCRIMINATOR_FOLDER}/*"))
        pipe = CoCosPipeline.from_pretrained(folder)
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

    def modules(self) -> dict[str, torch.nn.Module]:
        """The three networks by name."""
        return {
            "correspondence": self.correspondence,
            "translation": self.translation,
            "discriminator": self.discriminator,
        }


def export_pipeline(networks: Networks, image_size: int, target: Path) -> None:
    """Save the networks as a folder that `CoCosPipeline.from_pretrained` loads.

    float32, a float16 variant, and the discriminator beside them for further training.
    """
    # Copies: the export casts them, and training may go on.
    correspondence = copy.deepcopy(networks.correspondence).eval()
    translation = copy.deepcopy(networks.translation).eval()
    pipe = CoCosPipeline(correspondence, translation, networks.condition, image_size)
    with complete_folder(target) as folder:
        pipe.save_pretrained(folder)
        networks.discriminator.save_pretrained(folder / DISCRIMINATOR_FOLDER)
        for network in (correspondence, translation):
            network.half()
        pipe.save_pretrained(folder, variant="fp16")
