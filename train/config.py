"""A training run as data: one YAML file and command-line overrides into frozen dataclasses."""

import copy
import dataclasses
import difflib
import inspect
import os
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from cocosnet_hf import (
    BlendingTranslationNetwork,
    Condition,
    CorrespondenceNetwork,
    MultiscaleDiscriminator,
    ProjectedDiscriminator,
    TranslationNetwork,
    VGG19Features,
    condition_from_config,
)
from cocosnet_hf.datasets.settings import DataSettings, shares_rows
from cocosnet_hf.models.perceptual import PerceptualNetwork
from cocosnet_hf.models.vgg import open_perceptual
from cocosnet_hf.presets import preset

MATCHING_TERMS = (
    "domain_alignment",
    "cycle",
    "self_warp",
    "warped_mask",
    "known_flow",
    "region_flow",
)
"""The terms that look at the correspondence only, not at what is painted from it."""


@dataclass(frozen=True)
class LossWeights:
    """Multiplier of each term; a term of weight 0 is not computed.

    Zhang et al. 2020, section 3.3; the terms are the functions of `cocosnet_hf.losses`.
    self_pixel: mean absolute difference of picture and target, on self pairs only (not in the
    paper; does for runs without a perceptual network what pseudo_exemplar does).
    self_laplacian: the same band by band. known_flow, region_flow: that the matching finds the
    places that the distortion of a self pair, or the regions of two photos, say; both need
    data.flow_stride. These three are the functions of `cocosnet_hf.sharpness`.

    A run of `MATCHING_TERMS` alone paints no picture: it teaches the correspondence network in a
    fraction of the time and leaves the translation network as it is. Validations still paint.
    """

    adversarial: float = 10.0
    feature_matching: float = 10.0
    pseudo_exemplar: float = 10.0
    perceptual: float = 0.001
    contextual: float = 10.0
    domain_alignment: float = 10.0
    cycle: float = 0.0
    self_warp: float = 0.0
    warped_mask: float = 0.0
    self_pixel: float = 0.0
    self_laplacian: float = 0.0
    known_flow: float = 0.0
    region_flow: float = 0.0

    def __post_init__(self) -> None:
        if self.feature_matching and not self.adversarial:
            raise ValueError(
                "losses.feature_matching needs a discriminator that learns: set losses.adversarial "
                "above 0, or both to 0."
            )
        if not any(getattr(self, item.name) for item in dataclasses.fields(self)):
            raise ValueError("every weight of losses is 0, so nothing would be learned: set one.")
        _require_at_least(self, "losses", 0, *(item.name for item in dataclasses.fields(self)))

    @property
    def need_picture(self) -> bool:
        """Whether any term looks at what the translation network paints."""
        names = (item.name for item in dataclasses.fields(self))
        return any(getattr(self, name) for name in names if name not in MATCHING_TERMS)

    @property
    def need_perceptual_network(self) -> bool:
        """Whether any term compares features of a perceptual network."""
        return any((self.pseudo_exemplar, self.perceptual, self.contextual))


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam with two time scales (Heusel et al. 2017; official networks, 11).

    max_grad_norm: longer gradients are scaled down to this length, each network group by itself.
    """

    generator_rate: float = 1e-4
    discriminator_rate: float = 4e-4
    betas: tuple[float, float] = (0.0, 0.9)
    generator_epsilon: float = 1e-3
    discriminator_epsilon: float = 1e-8
    max_grad_norm: float | None = None

    def __post_init__(self) -> None:
        _require_at_least(self, "optimizer", 0, "generator_rate", "discriminator_rate")
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:
            raise ValueError(f"optimizer.max_grad_norm must be above 0, got {self.max_grad_norm}.")


@dataclass(frozen=True)
class ScheduleConfig:
    """How long to train: `constant` units at the full rates, then `decay` units down to zero.

    unit: "epoch" for passes over the data, at the end of each of which the rates fall, or "step".
    mask_warmup: for how many units a model with exemplar_noise still sees the exemplar's own
    condition (Zhang et al. 2020, supplement, section 5).
    """

    unit: Literal["step", "epoch"] = "step"
    constant: int = 10_000
    decay: int = 10_000
    mask_warmup: int = 0

    def __post_init__(self) -> None:
        _require_at_least(self, "schedule", 0, "constant", "decay", "mask_warmup")
        if self.total == 0:
            raise ValueError("schedule.constant and schedule.decay are both 0: nothing is trained.")

    @property
    def total(self) -> int:
        """Units of the whole run."""
        return self.constant + self.decay

    def rate(self, unit: int) -> float:
        """Share of the full learning rate in this unit, counted from 0."""
        return 1.0 if unit < self.constant else 1 - (unit - self.constant) / self.decay


def _options(*classes: type) -> Any:
    """Constructor arguments of one of these classes, which `class` names; by default the first."""
    return field(default_factory=dict, metadata={"options_of": classes})


TRANSLATIONS = (TranslationNetwork, BlendingTranslationNetwork)
DISCRIMINATORS = (MultiscaleDiscriminator, ProjectedDiscriminator)


def make_network(options: Mapping[str, Any], classes: Sequence[type], channels: int) -> Any:
    """The network that such options describe, for conditions of this many channels."""
    options = dict(options)
    name = options.pop("class", classes[0].__name__)
    (chosen,) = (cls for cls in classes if cls.__name__ == name)
    return chosen(channels, **options)


@dataclass(frozen=True)
class NetworkConfig:
    """What to train.

    task: a published task whose condition and network settings are the defaults below it.
    condition: the condition's `to_config`; lists may be written as lists. The other three are
    constructor arguments of the networks, without the condition's channels; translation and
    discriminator may name a `class` other than the paper's.
    init_from: folder or Hub id of a pipeline to start from: its condition and networks replace all
    of the above, except the discriminator if it has none beside it.
    freeze_correspondence: keep the matching as it is, and train the painting alone.
    transfer_from: bundled name, folder or Hub id of a pipeline with another condition, whose
    weights correspondence and translation start with; see `transfer_weights` for the layers that
    read the condition.
    """

    task: str | None = None
    condition: dict[str, Any] = field(default_factory=dict)
    correspondence: dict[str, Any] = _options(CorrespondenceNetwork)
    translation: dict[str, Any] = _options(*TRANSLATIONS)
    discriminator: dict[str, Any] = _options(*DISCRIMINATORS)
    init_from: str | None = None
    transfer_from: str | None = None
    freeze_correspondence: bool = False

    def __post_init__(self) -> None:
        if self.init_from is not None and self.transfer_from is not None:
            raise ValueError(
                "networks.init_from keeps a pipeline's condition and networks.transfer_from brings "
                "its weights to another condition; give one of them."
            )

    def make_condition(self) -> Condition:
        """The condition object. Raises ValueError if neither task nor condition says which."""
        if not self.condition and self.task is None:
            raise ValueError("networks.task or networks.condition must say what to paint from.")
        if not self.condition:
            return preset(self.task).condition
        return condition_from_config(_without_lists(self.condition))

    def correspondence_arguments(self) -> dict[str, Any]:
        """The task's settings with those of this run on top."""
        return (preset(self.task).correspondence if self.task else {}) | self.correspondence


@dataclass(frozen=True)
class PerceptualConfig:
    """The network behind the perceptual terms, whose weights mean the same with each.

    network: VGG-19, or the small distilled one. source: of its weights, see `open_perceptual`.
    layer: whose squared difference to the target is the perceptual term, by VGG-19's name.
    """

    network: Literal["vgg19", "vgg19-distilled"] = "vgg19"
    source: str = "timm/vgg19.tv_in1k"
    layer: Literal["relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2"] = "relu4_2"

    def load(self) -> PerceptualNetwork:
        """The network, frozen. Raises what `open_perceptual` raises."""
        return open_perceptual(self.network, self.source)

    @property
    def layer_index(self) -> int:
        """Position of `layer` among the five, fine to coarse."""
        return VGG19Features.layers.index(self.layer)


@dataclass(frozen=True)
class SpeedConfig:
    """What changes speed and memory, and the result at most by rounding.

    accumulation: batches whose gradients are averaged for each step. compile: with
    `torch.compile`, which takes minutes in the first step, and on a CPU a C++ compiler.
    gradient_checkpointing: less memory for more time, see `recompute`.
    """

    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    accumulation: int = 1
    channels_last: bool = True
    compile: bool = False
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        _require_at_least(self, "speed", 1, "accumulation")
        if self.compile and self.gradient_checkpointing:
            raise ValueError(
                "speed.compile and speed.gradient_checkpointing exclude each other: the compiler "
                "cannot follow activations that are computed again. Set one of them to false."
            )


@dataclass(frozen=True)
class OutputConfig:
    """What is written, and after how many steps each; 0 for never.

    keep: newest checkpoints that stay, at least 1. validation_batches: held-out batches of each
        validation.
    push_to_hub: Hub id that the finished pipeline is uploaded to; private: for its owner only.
    license, data_terms: what its card says of the weights, by the Hub's name of a licence, and of
    the pictures they learned from. card_pictures: show held-out photos and what was painted from
    them on the card; whoever may see the card sees them.
    """

    log_every: int = 50
    grid_every: int = 500
    checkpoint_every: int = 1000
    keep: int = 3
    validate_every: int = 1000
    validation_batches: int = 8
    push_to_hub: str | None = None
    private: bool = False
    card_pictures: bool = False
    license: str | None = None
    data_terms: str | None = None

    def __post_init__(self) -> None:
        _require_at_least(self, "output", 1, "keep", "validation_batches")
        intervals = ("log_every", "grid_every", "checkpoint_every", "validate_every")
        _require_at_least(self, "output", 0, *intervals)
        if self.license == "other":
            raise ValueError(
                "output.license must be a licence that the Hub knows by name, such as apache-2.0; "
                "leave it out and write the card by hand."
            )


@dataclass(frozen=True)
class DataConfig(DataSettings):
    """The data set (see `DataSettings`), and how it is fed.

    batch_size: examples for each process and forward pass. workers: loading processes each.
    validation_split: the held-out part of the source. validation_source: of another source.
    validation_exemplar_list: as `exemplar_list`, for the held-out photos; its references are
        training photos, or with same_look held-out ones.
    """

    batch_size: int = 4
    workers: int = 2
    validation_split: str = "validation"
    validation_source: str | None = None
    validation_exemplar_list: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validation_exemplar_list is not None and self.exemplar_list is None:
            raise ValueError(
                "data.validation_exemplar_list belongs to a data.exemplar_list, which is not set."
            )


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    ema: decay of the averaged weights, which are what is validated and exported. diff_augment:
    change what the discriminator sees, for small sets. crop: side of the random window that is
    painted of each training picture, in pixels; 0 for all of it. perceptual_shift: most pixels by
    which pictures are moved before the perceptual network sees them, against lattices.
    """

    output_dir: str
    data: DataConfig = field(default_factory=DataConfig)
    seed: int = 0
    ema: float = 0.999
    diff_augment: bool = False
    crop: int = 0
    perceptual_shift: int = 0
    networks: NetworkConfig = field(default_factory=NetworkConfig)
    losses: LossWeights = field(default_factory=LossWeights)
    perceptual: PerceptualConfig = field(default_factory=PerceptualConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    speed: SpeedConfig = field(default_factory=SpeedConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be in 0..1, below 1, got {self.ema}.")
        data = self.data
        sources = [data.source, data.validation_source or data.source]
        one_source = sources[0] == sources[1] or (
            all(Path(source).exists() for source in sources) and os.path.samefile(*sources)
        )
        if (
            self.output.validate_every
            and one_source
            and shares_rows(data.split, data.validation_split)
        ):
            raise ValueError(
                f"data.split '{data.split}' and data.validation_split '{data.validation_split}' "
                "share photos, so that validations would measure what was learned by heart: cut "
                "both, such as train[:95%] and train[95%:], name another split or set "
                "output.validate_every=0."
            )
        if self.output.validate_every and data.exemplar_list and not data.validation_exemplar_list:
            raise ValueError(
                "data.exemplar_list names training photos only: set data.validation_exemplar_list "
                "for the held-out ones, or output.validate_every=0."
            )


def _require_at_least(group: Any, prefix: str, least: int, *names: str) -> None:
    for name in names:
        if not getattr(group, name) >= least:
            raise ValueError(
                f"{prefix}.{name} must be at least {least}, got {getattr(group, name)}."
            )


MAY_CHANGE_ON_RESUME = (
    "output_dir",
    "output.",
    "schedule.",
    "data.workers",
    "data.cache_dir",
    "optimizer.generator_rate",
    "optimizer.discriminator_rate",
    "optimizer.max_grad_norm",
)
"""Settings that a resumed run may have changed and still be the same run."""


def load_config(
    paths: str | Path | Sequence[str | Path], overrides: Sequence[str] = ()
) -> TrainConfig:
    """Read a run from YAML files and overrides such as `--data.batch_size=4`.

    Each file changes what those before it set, group by group, and the overrides what all of them
    set. The `stages` of a recipe are left out, see `load_stages`. Raises ValueError for an unknown
    setting, naming the nearest known one, for a value of another type, for an override that is not
    `--name=value` and for text that is not YAML.
    """
    values = read_files(paths)
    values.pop("stages", None)
    return build_config(values, overrides)


def read_files(paths: str | Path | Sequence[str | Path]) -> dict[str, Any]:
    """The settings of YAML files, each on top of those before it."""
    values: dict[str, Any] = {}
    for path in [paths] if isinstance(paths, (str, Path)) else paths:
        found = _parsed(Path(path).read_text(), str(path))
        if not isinstance(found, dict):
            raise ValueError(f"{path} must hold settings as `name: value`, got {found!r}.")
        values = on_top(found, values)
    return values


def build_config(values: Mapping[str, Any], overrides: Sequence[str] = ()) -> TrainConfig:
    """The run that settings with overrides on top describe. Raises what `load_config` raises."""
    values = copy.deepcopy(dict(values))
    for override in overrides:
        name, equals, value = override.removeprefix("--").partition("=")
        if not override.startswith("--") or not equals:
            raise ValueError(f"an override must look like --data.batch_size=4, got {override!r}.")
        *groups, last = name.split(".")
        place = values
        for group in groups:
            place = place.setdefault(group, {})
            if not isinstance(place, dict):
                raise ValueError(f"{name} cannot be set: {group} is a value, not a group.")
        place[last] = _parsed(value, override)
    return _build(TrainConfig, values, "")


def _parsed(text: str, name: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{name} is not valid YAML: {error}") from error


def on_top(upper: Mapping[str, Any], lower: Mapping[str, Any]) -> dict[str, Any]:
    """Both groups of settings in one; where both set a value, the upper one's."""
    merged = dict(lower)
    for name, value in upper.items():
        both = isinstance(value, dict) and isinstance(lower.get(name), dict)
        merged[name] = on_top(value, lower[name]) if both else value
    return merged


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain JSON values, as `load_config` reads them."""
    return {item.name: _plain(getattr(config, item.name)) for item in dataclasses.fields(config)}


def _plain(value: Any) -> Any:
    """A setting as it comes back from JSON: lists for tuples, at any depth."""
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _build(cls: type, values: Any, prefix: str) -> Any:
    if not isinstance(values, Mapping):
        raise ValueError(f"{prefix.rstrip('.')} must be a group of settings, got {values!r}.")
    hints = typing.get_type_hints(cls)
    items = {item.name: item for item in dataclasses.fields(cls)}
    _refuse_unknown(values, items, prefix)
    required = (dataclasses.MISSING, dataclasses.MISSING)
    for name, item in items.items():
        if (item.default, item.default_factory) == required and name not in values:
            raise ValueError(f"the setting {prefix}{name} is missing; it has no default.")
    return cls(
        **{
            name: _typed(value, hints[name], prefix + name, items[name].metadata)
            for name, value in values.items()
        }
    )


def _refuse_unknown(names: Mapping[str, Any], known: Mapping[str, Any], prefix: str) -> None:
    for name in names:
        if name not in known:
            nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0)
            raise ValueError(
                f"unknown setting {prefix}{name}; did you mean {prefix}{nearest[0]}? Known are "
                f"{', '.join(known)}."
            )


def _typed(value: Any, hint: Any, name: str, metadata: Mapping[str, Any]) -> Any:
    """`value` as the type `hint`; whole numbers pass for floats, lists for tuples."""
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, name + ".")
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        if value is None and type(None) in arguments:
            return None
        (hint,) = (kind for kind in arguments if kind is not type(None))
        return _typed(value, hint, name, metadata)
    if origin is Literal:
        if value is False and "no" in arguments:  # YAML reads a bare no as a boolean
            value = "no"
        if value not in arguments:
            raise ValueError(f"{name} must be one of {', '.join(arguments)}, got {value!r}.")
        return value
    if origin is tuple:
        if not isinstance(value, list) or (
            len(value) != len(arguments) and Ellipsis not in arguments
        ):
            raise ValueError(f"{name} must be a list of {len(arguments)} values, got {value!r}.")
        return tuple(_typed(item, arguments[0], name, {}) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{name} must be a group of settings, got {value!r}.")
        if classes := metadata.get("options_of"):
            names = [cls.__name__ for cls in classes]
            chosen = value.get("class", names[0])
            if chosen not in names:
                raise ValueError(f"{name}.class must be one of {', '.join(names)}, got {chosen!r}.")
            known = dict.fromkeys(inspect.signature(classes[names.index(chosen)]).parameters)
            known["class"] = known.pop("condition_channels")
            _refuse_unknown(value, known, name + ".")
        return _string_keys(value)
    if hint is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-4 as a string
        except ValueError:
            pass
    if type(value) is not hint:
        raise ValueError(f"{name} must be {hint.__name__}, got {value!r}.")
    return value


def _string_keys(value: Any) -> Any:
    """Numbers for keys, as YAML reads them, become strings, as JSON and conditions write them."""
    if isinstance(value, dict):
        return {str(key): _string_keys(item) for key, item in value.items()}
    return value


def _without_lists(value: Any) -> Any:
    """Lists become {"0": first, ...}, as condition configurations are written."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        return {str(key): _without_lists(item) for key, item in value.items()}
    return value
