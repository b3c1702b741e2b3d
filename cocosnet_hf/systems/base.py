"""A system: networks, the terms that teach them, one training step and the pipeline they become.

A training run knows nothing else of what it trains: it averages, saves, resumes, validates and
exports by the names that a system gives its networks. A new system is one file with one class,
named in the recipe by `system:`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from ..conditions import Condition
from ..image_translation import ImageTranslationPipeline
from ..models.network import Network
from ..models.perceptual import PerceptualNetwork
from .batch import Batch, Generated

Networks = Mapping[str, nn.Module]
"""By the names of `System.networks`."""
Terms = dict[str, Tensor]
"""Scalars by name, each times its weight."""


@dataclass(frozen=True)
class LossWeights:
    """Multiplier of each term of a system; a term of weight 0 is not computed."""

    least: ClassVar[float] = 0
    """Below which no weight may be."""
    perceptual_terms: ClassVar[tuple[str, ...]] = ("perceptual",)
    """Those of the terms, where there are any, that compare features of a perceptual network."""

    def __post_init__(self) -> None:
        weights = {item.name: getattr(self, item.name) for item in fields(self)}
        if weights and not any(weights.values()):
            raise ValueError("every weight of losses is 0, so nothing would be learned: set one.")
        for name, weight in weights.items():
            if not weight >= self.least:
                raise ValueError(f"losses.{name} must be at least {self.least}, got {weight}.")

    @property
    def need_perceptual_network(self) -> bool:
        """Whether any term compares features of a perceptual network."""
        return any(getattr(self, name, 0) for name in self.perceptual_terms)

    @property
    def need_labels(self) -> bool:
        """Whether any term looks at class numbers."""
        return False

    @property
    def need_flow(self) -> bool:
        """Whether any term looks at known places in the exemplar."""
        return False

    def applied(self, terms: Mapping[str, Callable[[], Tensor]]) -> Terms:
        """Those of the terms that have a weight, times it."""
        return {
            name: weight * term()
            for name, term in terms.items()
            if (weight := getattr(self, name)) != 0
        }


@dataclass(frozen=True)
class SystemSettings:
    """What a recipe tells its system beside networks and losses.

    image_size, image_width, matching_scale: as of the pipeline. The others are settings of the
    recipe, by their names there; perceptual_layer is a position among the five.
    """

    image_size: int = 256
    image_width: int | None = None
    matching_scale: int = 1
    diff_augment: bool = False
    perceptual_shift: int = 0
    perceptual_layer: int = 3


@dataclass(frozen=True)
class SystemOptions:
    """Settings of one system alone, the fields of a subclass: a recipe's `system_options`."""


class Phase(Protocol):
    """What a trainer hands to `System.step`.

    step: steps that are done. unit: steps or epochs of the schedule that are; share: the same of
    the whole run, 0..1.
    """

    step: int
    unit: int
    share: float

    def __call__(
        self, *names: str, name: str | None = None
    ) -> AbstractContextManager[tuple[Networks, Terms]]:
        """One update of the named networks by the terms that the block puts into the dictionary.

        Within, all other networks pass gradients on and collect none. name: of the phase in logs.
        """


class System(ABC):
    """What is trained together, and how.

    condition: what pictures are made from. networks: by name, in training mode where they are to
    be trained. perceptual: frozen, where the losses need one; may be set later.
    """

    network_classes: ClassVar[Mapping[str, Sequence[type[Network]]]]
    """The classes that each network may have, the usual one first."""
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Arguments of networks, by name, where a recipe says nothing else."""
    averaged: ClassVar[tuple[str, ...]]
    """Networks that make the pictures: their averages are validated and become the pipeline."""
    rates: ClassVar[Mapping[str, float]] = {}
    """Learning rates as multiples of the recipe's, where these are not 1."""
    Losses: ClassVar[type[LossWeights]]
    """The recipe's `losses`."""
    Options: ClassVar[type[SystemOptions]] = SystemOptions
    """The recipe's `system_options`."""
    pipeline_class: ClassVar[type[ImageTranslationPipeline]]

    def __init__(
        self,
        condition: Condition,
        networks: dict[str, Network],
        losses: LossWeights,
        settings: SystemSettings | None = None,
        perceptual: PerceptualNetwork | None = None,
        options: SystemOptions | None = None,
    ):
        self.condition, self.networks, self.losses = condition, networks, losses
        self.settings, self.options = settings or SystemSettings(), options or self.Options()
        self.perceptual = perceptual

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks. options: constructor arguments by network, and the `class` of each."""
        return {name: cls.make(name, options, condition.channels) for name in cls.network_classes}

    @classmethod
    def make(
        cls, name: str, options: Mapping[str, Mapping[str, Any]], *channels: int, **fixed: Any
    ) -> Network:
        """The new network of this name, as its options say.

        channels: of the condition, for one that reads it. fixed: arguments that follow from those
        of other networks. Raises ValueError for a class that there is not, and for options that
        say something else than what is fixed.
        """
        chosen = {**cls.defaults.get(name, {}), **options.get(name, {})}
        for key, value in fixed.items():
            if chosen.setdefault(key, value) != value:
                raise ValueError(
                    f"networks.{name}.{key} must be {value}, which follows from the other "
                    f"networks, got {chosen[key]}: leave it out."
                )
        kind: Callable[..., Network] = class_of(chosen, cls.network_classes[name])
        return kind(*channels, **{key: chosen[key] for key in chosen if key != "class"})

    @classmethod
    def require_known(
        cls,
        options: Mapping[str, Mapping[str, Any]],
        losses: LossWeights,
        perceptual: str,
        own: SystemOptions,
    ) -> None:
        """Raise ValueError for settings of a recipe that do not go together.

        options: as of `make_networks`. perceptual: name of the recipe's perceptual network. own:
        the recipe's `system_options`.
        """
        del options, losses, perceptual, own

    def prepare(
        self, open_perceptual: Callable[[], PerceptualNetwork], device: torch.device | str
    ) -> None:
        """Bring the frozen networks that training looks through to the device.

        open_perceptual: opens the recipe's perceptual network.
        """
        if self.losses.need_perceptual_network:
            self.perceptual = open_perceptual().to(device)

    def use_forms(self, *, contextual_loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Compute terms by another form of their formulas, such as the plain one of `reference`.

        contextual_loss: in the place of that of `losses`, where the system has a term of it; here
        none has, and what has another form, as that of `contextual`, stays as it is.
        """
        del contextual_loss

    @property
    def frozen(self) -> tuple[str, ...]:
        """Networks that stay as they are."""
        return ()

    @property
    def takes_guides(self) -> bool:
        """Whether it looks at the landmarks of a batch."""
        return False

    @property
    def critics(self) -> tuple[str, ...]:
        """Networks with the discriminator's learning rate, which no pipeline has."""
        return tuple(name for name in self.networks if name not in self.averaged)

    @abstractmethod
    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """What these networks make of a batch, as the pipeline does it."""

    @abstractmethod
    def step(self, phase: Phase, batch: Batch) -> Generated:
        """One training step on a batch, phase by phase."""

    def pipeline(self, nets: Mapping[str, Network]) -> ImageTranslationPipeline:
        """The pipeline of the averaged networks."""
        make: Callable[..., ImageTranslationPipeline] = self.pipeline_class  # with its networks
        return make(
            **{name: nets[name] for name in self.averaged},
            condition=self.condition,
            image_size=self.settings.image_size,
            image_width=self.settings.image_width,
        )

    def state_dict(self) -> dict[str, Any]:
        """What beside weights a run must remember to go on exactly, such as a pool of pictures."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        del state


def class_of(options: Mapping[str, Any], classes: Sequence[type[Network]]) -> type[Network]:
    """The class that options name, by default the first. Raises ValueError for another name."""
    by_name = {cls.__name__: cls for cls in classes}
    name = options.get("class", next(iter(by_name)))
    if name not in by_name:
        raise ValueError(f"class must be one of {', '.join(by_name)}, got {name!r}.")
    return by_name[name]
