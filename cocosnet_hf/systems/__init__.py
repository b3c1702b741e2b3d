"""What can be trained: a file for each system, chosen by `system: NAME` in a recipe."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..image_translation import ImageTranslationPipeline
from ..transfer import fetch_index, read_index
from .adain import AdaIN, AdaINLosses, AdaINPipeline
from .adversarial import AdversarialSystem, PictureLosses
from .base import LossWeights, Networks, Phase, System, SystemOptions, SystemSettings, Terms
from .batch import Batch, Generated
from .bicyclegan import BicycleGAN, BicycleGANLosses, BicycleGANPipeline
from .cocosnet import CoCosNet, CoCosNetLosses
from .cogan import CoGAN, CoGANLosses, CoGANPipeline
from .contextual import (
    Contextual,
    ContextualLosses,
    ContextualOptions,
    ContextualPipeline,
)
from .cyclegan import CycleGAN, CycleGANLosses, CycleGANPipeline
from .discogan import DiscoGAN, DiscoGANLosses, DiscoGANOptions, DiscoGANPipeline
from .egsc_it import EGSCIT, EGSCITLosses, EGSCITOptions, EGSCITPipeline
from .fader import Fader, FaderLosses, FaderOptions, FaderPipeline
from .gcgan import GcGAN, GcGANLosses, GcGANOptions, GcGANPipeline
from .judged import JudgedLosses, JudgedSystem
from .munit import MUNIT, MUNITLosses, MUNITPipeline
from .paired import PairedLosses, PairedPipeline, PairedSystem
from .pix2pix import Pix2Pix, Pix2PixPipeline
from .pix2pixhd import Pix2PixHD, Pix2PixHDPipeline
from .sims import SIMS, SIMSLosses, SIMSOptions, SIMSPipeline
from .spade import Spade, SpadePipeline, SpadePlain, SpadePlainPipeline
from .stargan_v2 import StarGANv2, StarGANv2Losses, StarGANv2Pipeline
from .style_vector import StyleVector, StyleVectorPipeline
from .unit import UNIT, UNITLosses, UNITPipeline

SYSTEMS: dict[str, type[System]] = {
    "adain": AdaIN,
    "bicyclegan": BicycleGAN,
    "cocosnet": CoCosNet,
    "cogan": CoGAN,
    "contextual": Contextual,
    "cyclegan": CycleGAN,
    "discogan": DiscoGAN,
    "egsc-it": EGSCIT,
    "fader": Fader,
    "gcgan": GcGAN,
    "munit": MUNIT,
    "pix2pix": Pix2Pix,
    "pix2pixhd": Pix2PixHD,
    "sims": SIMS,
    "spade": Spade,
    "spade_plain": SpadePlain,
    "stargan-v2": StarGANv2,
    "style_vector": StyleVector,
    "unit": UNIT,
}


def find_system(name: str) -> type[System]:
    """The system of this name, or of "package.module:Class".

    Raises ValueError for a name that is unknown and for a class that is not there or no system.
    """
    if name in SYSTEMS:
        return SYSTEMS[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ValueError(
            f"system must be one of {', '.join(SYSTEMS)} or package.module:Class, got '{name}'."
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"system '{name}' is not there: {error}.") from error
    if not (isinstance(found, type) and issubclass(found, System)):
        raise ValueError(f"system '{name}' must be a subclass of cocosnet_hf.systems.System.")
    return found


def saved_class(source: str | Path, **hub: Any) -> type[ImageTranslationPipeline]:
    """The class of the pipeline in a folder or on the Hub, of this package or an imported module.

    source: the folder or Hub id; hub: as of `cocosnet_hf.transfer.fetch_pipeline`. Raises
    ValueError for a class that neither has, FileNotFoundError for a folder without a pipeline, and
    what `cocosnet_hf.transfer.fetch_index` raises.
    """
    there = Path(source).is_dir()
    index = read_index(source, str(source)) if there else fetch_index(str(source), **hub)
    return class_named(index, str(source))


def class_named(index: Mapping[str, Any], source: str) -> type[ImageTranslationPipeline]:
    """The class that a pipeline's index names, as `saved_class` finds it; source: for messages."""
    name = index.get("_class_name")
    kinds = [ImageTranslationPipeline]
    for kind in kinds:  # which grows by those derived from each
        kinds += kind.__subclasses__()
    for kind in kinds:
        if kind.__name__ == name:
            return kind
    raise ValueError(
        f"{source} holds a {name}, which is no pipeline of this package; import the module that "
        f"defines it first, or derive it from ImageTranslationPipeline."
    )


__all__ = [
    "AdaINPipeline",
    "AdaINLosses",
    "AdaIN",
    "CoGANPipeline",
    "CoGANLosses",
    "CoGAN",
    "UNITPipeline",
    "UNITLosses",
    "UNIT",
    "ContextualPipeline",
    "ContextualOptions",
    "ContextualLosses",
    "Contextual",
    "FaderPipeline",
    "FaderOptions",
    "FaderLosses",
    "Fader",
    "GcGANPipeline",
    "GcGANOptions",
    "GcGANLosses",
    "GcGAN",
    "DiscoGANPipeline",
    "DiscoGANOptions",
    "DiscoGANLosses",
    "DiscoGAN",
    "CycleGANPipeline",
    "CycleGANLosses",
    "CycleGAN",
    "EGSCIT",
    "MUNIT",
    "SIMS",
    "SIMSLosses",
    "SIMSOptions",
    "SIMSPipeline",
    "SYSTEMS",
    "AdversarialSystem",
    "Batch",
    "BicycleGAN",
    "BicycleGANLosses",
    "BicycleGANPipeline",
    "CoCosNet",
    "CoCosNetLosses",
    "EGSCITLosses",
    "EGSCITOptions",
    "EGSCITPipeline",
    "Generated",
    "JudgedLosses",
    "JudgedSystem",
    "LossWeights",
    "MUNITLosses",
    "MUNITPipeline",
    "Networks",
    "PairedLosses",
    "PairedPipeline",
    "PairedSystem",
    "Phase",
    "PictureLosses",
    "Pix2Pix",
    "Pix2PixHD",
    "Pix2PixHDPipeline",
    "Pix2PixPipeline",
    "Spade",
    "SpadePipeline",
    "SpadePlain",
    "SpadePlainPipeline",
    "StarGANv2",
    "StarGANv2Losses",
    "StarGANv2Pipeline",
    "StyleVector",
    "StyleVectorPipeline",
    "System",
    "SystemOptions",
    "SystemSettings",
    "Terms",
    "class_named",
    "find_system",
    "saved_class",
]
