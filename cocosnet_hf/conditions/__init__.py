"""Conditions: what the user gives (mask, edges, pose) to and from the tensor the networks read."""

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from ..pictures import Picture, open_image, open_photo
from .asked import AskedPicture, AttributesCondition, DomainCondition
from .base import Condition, ConditionCard, Source, are_alike
from .edge import EdgeCondition
from .joints import Pose
from .mask import MaskCondition
from .part_edge import PartEdgeCondition
from .picture import PictureCondition
from .pose import PoseCondition

CONDITIONS: dict[str, type[Condition]] = {
    condition.type: condition
    for condition in (
        AttributesCondition,
        DomainCondition,
        MaskCondition,
        EdgeCondition,
        PartEdgeCondition,
        PictureCondition,
        PoseCondition,
    )
}
"""Every condition of this package by the `type` under which configurations name it."""


def condition_from_config(config: Mapping[str, Any], import_code: bool = False) -> Condition:
    """Rebuild a condition from `Condition.to_config`'s dict, choosing the class by its `type`.

    The `type` of a class of another package is "module:Class". import_code: whether its module may
    be imported, for configurations that the user has written; with others, as from the Hub, the
    module must have been imported already. Raises ValueError on a missing or unknown type, an
    unknown key or a value of the wrong type.
    """
    if not isinstance(config, Mapping):
        raise ValueError(
            f"A condition's configuration must be a dict as its to_config() makes, got {config!r}."
        )
    kind = config.get("type")
    if isinstance(kind, str) and ":" in kind:
        return foreign_class(kind, import_code).from_config(config)
    if not isinstance(kind, str) or kind not in CONDITIONS:
        raise ValueError(
            f"A condition's 'type' must be one of {sorted(CONDITIONS)}, got {kind!r}; that of a "
            "class of your own is written 'module:Class'."
        )
    return CONDITIONS[kind].from_config(config)


def foreign_class(kind: str, import_code: bool = False) -> type[Condition]:
    """The condition class "module:Class" of another package.

    Raises ValueError for what is no condition, and for a module that is not imported, unless
    import_code says that it may be.
    """
    module, _, name = kind.partition(":")
    if import_code:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ValueError(
                f"The condition '{kind}' cannot be imported: {error}. Install its package, or put "
                "its folder into PYTHONPATH."
            ) from error
    elif module not in sys.modules:
        raise ValueError(
            f"The condition '{kind}' is a class of another package, which is not imported by what "
            f"a configuration says: import {module} first, or pass condition=."
        )
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, Condition)):
        raise ValueError(f"'{kind}' is no condition: the module has no such subclass of Condition.")
    return found


__all__ = [
    "AskedPicture",
    "AttributesCondition",
    "CONDITIONS",
    "Condition",
    "ConditionCard",
    "DomainCondition",
    "EdgeCondition",
    "MaskCondition",
    "PartEdgeCondition",
    "Picture",
    "PictureCondition",
    "Pose",
    "PoseCondition",
    "Source",
    "are_alike",
    "condition_from_config",
    "open_image",
    "open_photo",
]
