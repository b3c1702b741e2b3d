"""Conditions: what the user gives (mask, edges, pose) to and from the tensor the networks read."""

from collections.abc import Mapping
from typing import Any

from .base import Condition, Picture, open_image, open_photo
from .edge import EdgeCondition, PartEdgeCondition
from .mask import MaskCondition
from .pose import Pose, PoseCondition

CONDITIONS: dict[str, type[Condition]] = {
    condition.type: condition
    for condition in (MaskCondition, EdgeCondition, PartEdgeCondition, PoseCondition)
}
"""Every condition by the `type` under which a pipeline's configuration names it."""


def condition_from_config(config: Mapping[str, Any]) -> Condition:
    """Rebuild a condition from `Condition.to_config`'s dict, choosing the class by its `type`.

    Raises ValueError on a missing or unknown type, an unknown key or a value of the wrong type.
    """
    if not isinstance(config, Mapping):
        raise ValueError(
            f"A condition's configuration must be a dict as its to_config() makes, got {config!r}."
        )
    kind = config.get("type")
    if kind not in CONDITIONS:
        raise ValueError(f"A condition's 'type' must be one of {sorted(CONDITIONS)}, got {kind!r}.")
    return CONDITIONS[kind].from_config(config)


__all__ = [
    "CONDITIONS",
    "Condition",
    "EdgeCondition",
    "MaskCondition",
    "PartEdgeCondition",
    "Picture",
    "Pose",
    "PoseCondition",
    "condition_from_config",
    "open_image",
    "open_photo",
]
