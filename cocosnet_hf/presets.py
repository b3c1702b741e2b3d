"""The published configurations, as data (official networks, 4.3, 5 to 8)."""

from dataclasses import dataclass, field
from typing import Any

from .conditions import Condition, MaskCondition, PartEdgeCondition, PoseCondition


@dataclass(frozen=True)
class Preset:
    """One published task.

    condition: how its condition is encoded. correspondence: arguments of `CorrespondenceNetwork` in
    which the task differs from the defaults; the other networks only differ in the condition's
    channels. Everything was trained at image_size pixels.
    """

    condition: Condition
    correspondence: dict[str, Any] = field(default_factory=dict)
    image_size: int = 256

    def network_arguments(self) -> dict[str, Any]:
        """What the translation network and the discriminator need."""
        return {"condition_channels": self.condition.channels}

    def correspondence_arguments(self) -> dict[str, Any]:
        """What the correspondence network needs."""
        return self.network_arguments() | self.correspondence


# The published test commands say kernel 4 for the last three, the training commands 3
# (official networks, 4.4); the converter looks at the weights.
PRESETS = {
    "ade20k": Preset(MaskCondition.ade20k()),
    "ade20k-noise": Preset(MaskCondition.ade20k(), {"exemplar_noise": 0.01}),
    "celebahq": Preset(
        MaskCondition.celebahq(), {"adaptor_kernel_size": 4, "warp_upsampling": "bilinear"}
    ),
    "celebahq-edge": Preset(
        PartEdgeCondition(), {"adaptor_kernel_size": 4, "warp_upsampling": "bilinear"}
    ),
    "deepfashion": Preset(
        PoseCondition(), {"adaptor_kernel_size": 4, "mix_condition": False, "warp": "patch"}
    ),
}
"""The published tasks by name; `ade20k-noise` is the variant that needs no exemplar mask."""


def preset(name: str) -> Preset:
    """The preset of this name; `celebahqedge` and `ade20k_noise` are understood too.

    Raises ValueError for an unknown name.
    """
    spelled = {key.replace("-", ""): key for key in PRESETS}
    key = spelled.get(name.replace("-", "").replace("_", ""))
    if key is None:
        raise ValueError(f"unknown task {name!r}; known are {', '.join(PRESETS)}.")
    return PRESETS[key]
