"""A training run as data: one YAML file and command-line overrides into frozen dataclasses."""

import copy
import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from cocosnet_hf import (
    Condition,
    VGG19Features,
    condition_from_config,
)
from cocosnet_hf.conditions import foreign_class
from cocosnet_hf.datasets.settings import DataConfig, shares_rows
from cocosnet_hf.models.perceptual import PerceptualNetwork
from cocosnet_hf.models.vgg import open_perceptual
from cocosnet_hf.presets import preset
from cocosnet_hf.settings_file import build, on_top, parsed, to_dict
from cocosnet_hf.systems import (
    CoCosNet,
    LossWeights,
    System,
    SystemOptions,
    SystemSettings,
    find_system,
)

__all__ = ["TrainConfig", "build_config", "load_config", "on_top", "read_files", "to_dict"]

DEFAULT_SYSTEM = "cocosnet"
WITHOUT_WEIGHTS = (
    "They come from 5SE.pth of Collaborative-Distillation by `python -m cocosnet_hf.convert "
    "--perceptual 5SE.pth vgg19_distilled16x_relu5_1.safetensors`, with the path as "
    "--perceptual.source; or take VGG-19 from the Hub by --perceptual.network=vgg19 "
    "--perceptual.source=timm/vgg19.tv_in1k; or train without by "
    "--config train/configs/layers/no-perceptual.yaml."
)
LOGGERS = ("tensorboard", "wandb", "trackio")
Precision = Literal["no", "bf16", "fp16"]


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam with two time scales (Heusel et al. 2017; official networks, 11).

    max_grad_norm: longer gradients are scaled down to this length, each network group by itself.
    weight_decay: of all networks, added to their gradients as weight_decay * weight.
    """

    generator_lr: float = 1e-4
    discriminator_lr: float = 4e-4
    betas: tuple[float, float] = (0.0, 0.9)
    generator_eps: float = 1e-3
    discriminator_eps: float = 1e-8
    max_grad_norm: float | None = None
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _require_at_least(self, "optimizer", 0, "generator_lr", "discriminator_lr", "weight_decay")
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:
            raise ValueError(f"optimizer.max_grad_norm must be above 0, got {self.max_grad_norm}.")


@dataclass(frozen=True)
class ScheduleConfig:
    """How long to train: `constant` units at the full rates, then `decay` units down to zero.

    unit: "epoch" for passes over the data, at the end of each of which the rates fall, or "step".
    patience: after how many validations without a better one the run ends early; 0 for never.
    """

    unit: Literal["step", "epoch"] = "step"
    constant: int = 10_000
    decay: int = 10_000
    patience: int = 0

    def __post_init__(self) -> None:
        _require_at_least(self, "schedule", 0, "constant", "decay", "patience")
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


@dataclass(frozen=True)
class NetworkConfig:
    """What to train.

    task: a published task whose condition and network settings are the defaults below it.
    condition: the condition's `to_config`; lists may be written as lists. Beside these there is a
    group of constructor arguments for each network of the system, see `network_config_of`.
    init_from: folder or Hub id of a pipeline to start from: its networks replace all of the above,
    except those such as the discriminator if they are not beside it; its condition must be the
    run's, if that says one.
    transfer_from: bundled name, folder or Hub id of a pipeline with another condition, whose
    weights correspondence and translation start with, and whose settings they have where the run
    says nothing else; see `transfer_weights` for the layers that read the condition.
    """

    task: str | None = None
    condition: dict[str, Any] = field(default_factory=dict)
    init_from: str | None = None
    transfer_from: str | None = None

    def __post_init__(self) -> None:
        if self.init_from is not None and self.transfer_from is not None:
            raise ValueError(
                "networks.init_from keeps a pipeline's condition and networks.transfer_from brings "
                "its weights to another condition; give one of them."
            )

        if ":" in (kind := str(self.condition.get("type"))):
            foreign_class(kind, import_code=True)  # also for the pipelines that the run opens

    def make_condition(self) -> Condition:
        """The condition object. Raises ValueError if neither task nor condition says which."""
        if self.condition:
            return condition_from_config(self.condition, import_code=True)
        if self.task is None:
            raise ValueError("networks.task or networks.condition must say what to paint from.")
        return preset(self.task).condition

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """Constructor arguments by network: the task's with those of this run on top."""
        own = {item.name for item in dataclasses.fields(NetworkConfig)}
        names = [item.name for item in dataclasses.fields(self) if item.name not in own]
        task = {"correspondence": preset(self.task).correspondence} if self.task else {}
        return {name: task.get(name, {}) | getattr(self, name) for name in names}


@cache
def network_config_of(system: type[System]) -> type[NetworkConfig]:
    """`NetworkConfig` with a group of constructor arguments for each network of a system.

    Without the condition's channels; where a network has a choice of classes, `class` names one.
    """
    groups = [
        (name, dict[str, Any], _options(*classes))
        for name, classes in system.network_classes.items()
    ]
    return dataclasses.make_dataclass("NetworkConfig", groups, bases=(NetworkConfig,), frozen=True)


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
        """The network, frozen. Raises what `open_perceptual` raises, with the ways out."""
        try:
            return open_perceptual(self.network, self.source)
        except OSError as error:
            raise type(error)(f"{error} {WITHOUT_WEIGHTS}") from error

    @property
    def layer_index(self) -> int:
        """Position of `layer` among the five, fine to coarse."""
        return VGG19Features.layers.index(self.layer)


@dataclass(frozen=True)
class SpeedConfig:
    """What changes speed and memory, and the result at most by rounding.

    accumulation: batches whose gradients are averaged for each step. compile: with
    `torch.compile`, which takes minutes in the first step, and on a CPU a C++ compiler.
    gradient_checkpointing: less memory for more time, see `Network`.
    """

    mixed_precision: Precision = "no"
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
    report_to: loggers of values and pictures, any of tensorboard, wandb and trackio with commas
        between, or none; metrics.jsonl is always written. tracker_project: their project.
    check_rows: training rows that a new run looks at before its first step, to say what they hold.
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
    report_to: str = "tensorboard"
    tracker_project: str = "cocosnet_hf"
    check_rows: int = 32
    push_to_hub: str | None = None
    private: bool = False
    card_pictures: bool = False
    license: str | None = None
    data_terms: str | None = None

    def __post_init__(self) -> None:
        _require_at_least(self, "output", 1, "keep", "validation_batches")
        intervals = ("log_every", "grid_every", "checkpoint_every", "validate_every")
        _require_at_least(self, "output", 0, *intervals, "check_rows")
        if unknown := sorted(set(self.loggers) - set(LOGGERS)):
            raise ValueError(
                f"output.report_to must be any of {', '.join(LOGGERS)} with commas between, or "
                f"none; got {', '.join(unknown)}."
            )
        if self.license == "other":
            raise ValueError(
                "output.license must be a licence that the Hub knows by name, such as apache-2.0; "
                "leave it out and write the card by hand."
            )

    @property
    def loggers(self) -> tuple[str, ...]:
        """The names in `report_to`."""
        names = [name.strip() for name in self.report_to.split(",")]
        return tuple(dict.fromkeys(name for name in names if name not in ("", "none")))


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    system: what is trained, by its name in `cocosnet_hf.systems` or as package.module:Class; its
    networks and losses are the groups of those names, and system_options what else it is told, see
    its `Options`. ema: decay of the averaged weights, which are what is validated and exported.
    diff_augment: change what the discriminator sees, for small sets. perceptual_shift: most pixels
    by which pictures are moved before the perceptual network sees them, against lattices.
    """

    output_dir: str
    system: str = DEFAULT_SYSTEM
    data: DataConfig = field(default_factory=DataConfig)
    seed: int = 0
    ema: float = 0.999
    diff_augment: bool = False
    perceptual_shift: int = 0
    networks: NetworkConfig = field(default_factory=network_config_of(CoCosNet))
    losses: LossWeights = field(default_factory=CoCosNet.Losses)
    system_options: SystemOptions = field(default_factory=CoCosNet.Options)
    perceptual: PerceptualConfig = field(default_factory=PerceptualConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    speed: SpeedConfig = field(default_factory=SpeedConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be in 0..1, below 1, got {self.ema}.")
        find_system(self.system).require_known(
            self.networks.options, self.losses, self.perceptual.network, self.system_options
        )
        if self.losses.need_flow and not self.data.flow_stride:
            raise ValueError(
                "losses.known_flow and losses.region_flow need to know places in the exemplar: set "
                "data.flow_stride to the stride of the matching, such as 4, or these weights to 0."
            )
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
        if self.schedule.patience and not self.output.validate_every:
            raise ValueError(
                "schedule.patience counts validations: set output.validate_every, or patience to 0."
            )
        if self.output.validate_every and data.exemplar_list and not data.validation_exemplar_list:
            raise ValueError(
                "data.exemplar_list names training photos only: set data.validation_exemplar_list "
                "for the held-out ones, or output.validate_every=0."
            )

    @property
    def system_settings(self) -> SystemSettings:
        """What the system is told beside its networks and losses."""
        return SystemSettings(
            image_size=self.data.image_size,
            image_width=self.data.image_width,
            matching_scale=self.data.matching_scale,
            diff_augment=self.diff_augment,
            perceptual_shift=self.perceptual_shift,
            perceptual_layer=self.perceptual.layer_index,
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
    "system_options.mask_warmup",
    "data.source",
    "data.validation_source",
    "data.workers",
    "data.cache_dir",
    "optimizer.generator_lr",
    "optimizer.discriminator_lr",
    "optimizer.max_grad_norm",
)
"""Settings that a resumed run may have changed and still be the same run."""


def load_config(
    paths: str | Path | Sequence[str | Path], overrides: Sequence[str] = ()
) -> TrainConfig:
    """Read a run from YAML files and overrides such as `--data.batch_size=4`.

    Each file changes what those before it set, group by group, and the overrides what all of them
    set; null under networks, losses and system_options takes back what a file before it has set.
    The `stages` of a recipe are left out, see `load_stages`. Raises ValueError for an unknown
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
        found = parsed(Path(path).read_bytes(), str(path))
        if not isinstance(found, dict):
            raise ValueError(f"{path} must hold settings as `name: value`, got {found!r}.")
        values = on_top(found, values)
    return values


def build_config(values: Mapping[str, Any], overrides: Sequence[str] = ()) -> TrainConfig:
    """The run that settings with overrides on top describe. Raises what `load_config` raises."""
    settings = overridden(values, overrides)
    system = find_system(settings.get("system", DEFAULT_SYSTEM))
    groups = {
        "networks": network_config_of(system),
        "losses": system.Losses,
        "system_options": system.Options,
    }
    for group in groups:
        settings.setdefault(group, {})
        if isinstance(settings[group], dict):
            settings[group] = _without_nulls(settings[group])
    return build(TrainConfig, settings, "", groups)


def overridden(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Settings with overrides such as `--data.batch_size=4` on top. Raises ValueError for others"""
    settings: dict[str, Any] = copy.deepcopy(dict(values))
    for override in overrides:
        name, equals, value = override.removeprefix("--").partition("=")
        if not override.startswith("--") or not equals:
            raise ValueError(f"an override must look like --data.batch_size=4, got {override!r}.")
        *outer, last = name.split(".")
        inner = settings
        for group in outer:
            inner = inner.setdefault(group, {})
            if not isinstance(inner, dict):
                raise ValueError(f"{name} cannot be set: {group} is a value, not a group.")
        inner[last] = parsed(value, override)
    return settings


def _without_nulls(group: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, and those of the groups in them, that no file has set back to null."""
    return {
        name: _without_nulls(value) if isinstance(value, dict) and name != "condition" else value
        for name, value in group.items()
        if value is not None
    }
