"""What can be trained: a file for each system, chosen by `system: NAME` in a recipe."""

import importlib
from pathlib import Path

from ..image_translation import ImageTranslationPipeline
from ..saved_files import INDEX_FILE, read_json
from .adversarial import AdversarialSystem, PictureLosses
from .base import LossWeights, Networks, Phase, System, SystemSettings, Terms
from .batch import Batch, Generated
from .cocosnet import CoCosNet, CoCosNetLosses
from .style_vector import StyleVector, StyleVectorPipeline

SYSTEMS: dict[str, type[System]] = {"cocosnet": CoCosNet, "style_vector": StyleVector}


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


def saved_class(folder: str | Path) -> type[ImageTranslationPipeline]:
    """The class of the pipeline that a folder holds, of this package or of an imported module.

    Raises ValueError for a class that neither has, and for an index that is none.
    """
    name = read_json(Path(folder, INDEX_FILE), str(folder)).get("_class_name")
    kinds = [ImageTranslationPipeline]
    for kind in kinds:  # which grows by those derived from each
        kinds += kind.__subclasses__()
    for kind in kinds:
        if kind.__name__ == name:
            return kind
    raise ValueError(
        f"{folder} holds a {name}, which is no pipeline of this package; import the module that "
        f"defines it first, or derive it from ImageTranslationPipeline."
    )


__all__ = [
    "SYSTEMS",
    "AdversarialSystem",
    "Batch",
    "CoCosNet",
    "CoCosNetLosses",
    "Generated",
    "LossWeights",
    "Networks",
    "Phase",
    "PictureLosses",
    "StyleVector",
    "StyleVectorPipeline",
    "System",
    "SystemSettings",
    "Terms",
    "find_system",
    "saved_class",
]
