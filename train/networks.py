"""The system of a run: made from its config or from a pipeline, and exported as one."""

import copy
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging
from huggingface_hub import snapshot_download
from torch import Tensor, nn

from cocosnet_hf import Condition
from cocosnet_hf.bundled import locate
from cocosnet_hf.conditions import are_alike
from cocosnet_hf.models.network import Network
from cocosnet_hf.systems import System, find_system
from cocosnet_hf.systems.base import class_of

from .checkpoints import complete_folder
from .config import TrainConfig

logger = logging.get_logger(__name__)


def condition_of(config: TrainConfig) -> Condition:
    """What a run paints from: as it says, else that of the pipeline that it starts from."""
    networks = config.networks
    named = networks.condition or networks.task
    return networks.make_condition() if named else build_system(config).condition


def build_system(config: TrainConfig) -> System:
    """What a run trains: new networks, or those of `networks.init_from`, in training mode.

    Raises ValueError for settings that the networks refuse or into which the weights of
    `networks.transfer_from` do not fit, for pictures of a size that the networks do not take, and
    what `CoCosPipeline.from_pretrained` raises.
    """
    chosen, kind = config.networks, find_system(config.system)
    if chosen.init_from is not None:
        condition, networks = _from_pipeline(chosen.init_from, config, kind)
    else:
        condition, options = chosen.make_condition(), chosen.options
        if chosen.transfer_from is None:
            networks = kind.make_networks(condition, options)
        else:
            folder, variant = locate(chosen.transfer_from)
            pipe = kind.pipeline_class.from_pretrained(folder, variant=variant)
            networks = kind.make_networks(condition, _taken_over(pipe, kind, options))
            _transfer(pipe, chosen.transfer_from, kind, condition, networks)
    own = config.system_options
    system = kind(condition, networks, config.losses, config.system_settings, options=own)
    # A pipeline that cannot be made would otherwise be found out when all is trained.
    pipe = system.pipeline({name: networks[name] for name in system.averaged})
    _require_fitting(config, pipe.stride)
    for network in networks.values():
        network.train()
    return system


def _require_fitting(config: TrainConfig, stride: int) -> None:
    """Raise ValueError for training pictures whose sides are no multiples of the stride."""
    for name, side in (("image_size", config.data.image_size), ("image_width", config.data.width)):
        if side % stride:
            low = side - side % stride
            near = f"{low} or {low + stride}" if low else f"{stride}"
            raise ValueError(
                f"data.{name} must be a multiple of {stride} for these networks, got {side}; take "
                f"{near}, with data.load_size not below data.image_size."
            )


def _from_pipeline(
    source: str, config: TrainConfig, kind: type[System]
) -> tuple[Condition, dict[str, Network]]:
    """The condition and networks of a pipeline, and those that lie beside it."""
    options = config.networks.options
    located, variant = locate(source)
    folder = Path(located)
    if not folder.is_dir():
        kind.pipeline_class.download(source)  # refuses what cannot be opened safely
        critics = [f"{name}/*" for name in kind.network_classes if name not in kind.averaged]
        folder = Path(snapshot_download(source, allow_patterns=critics))
    pipe = kind.pipeline_class.from_pretrained(folder, variant=variant)
    condition = _own_condition(source, pipe.condition, config)
    networks: dict[str, Network] = {}
    for name, classes in kind.network_classes.items():
        if name in kind.averaged:
            found = getattr(pipe, name)
        elif (folder / name).is_dir():
            found = open_network(folder / name, classes)
        else:
            logger.warning(f"{source} has no {name}: a new one is trained.")
            found = None
        if found is None or ("class" in options[name] and not _is_wanted(found, options, name)):
            found = kind.make_networks(pipe.condition, options)[name]
        else:  # how a network is used has no weights, and may change from stage to stage
            own = getattr(config.networks, name)
            found.register_to_config(**{key: own[key] for key in found.free_settings & own.keys()})
        networks[name] = found
    return condition, networks


def _is_wanted(network: Network, options: Mapping[str, Mapping], name: str) -> bool:
    return type(network).__name__ == options[name]["class"]


def _own_condition(source: str, condition: Condition, config: TrainConfig) -> Condition:
    """A run's condition: its pipeline's, or its own, which may differ in what guides.

    Raises ValueError for one that differs in more.
    """
    chosen = config.networks
    if not chosen.condition and chosen.task is None:
        return condition
    own = chosen.make_condition()
    if not are_alike(own, condition):
        found, wanted = condition.to_config(), own.to_config()
        names = sorted(
            key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key)
        )
        raise ValueError(
            f"networks.init_from '{source}' has another condition than this run: "
            f"{', '.join(names)} differ. Start by networks.transfer_from to teach it the run's, or "
            f"leave networks.condition and networks.task out (null) to go on with the pipeline's."
        )
    return own


def _taken_over(
    pipe: Any, kind: type[System], options: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """Constructor arguments by network: a pipeline's, with those of this run on top."""
    merged = dict(options)
    for name in kind.averaged:
        network: Network = getattr(pipe, name)
        if options[name].get("class", type(network).__name__) == type(network).__name__:
            known = inspect.signature(type(network)).parameters.keys() - {"condition_channels"}
            own = {key: value for key, value in network.config.items() if key in known}
            merged[name] = {"class": type(network).__name__, **own, **options[name]}
    return merged


def _transfer(
    pipe: Any,
    source: str,
    kind: type[System],
    condition: Condition,
    networks: Mapping[str, Network],
) -> None:
    """Start the averaged networks with the weights of a pipeline with another condition."""
    for name in kind.averaged:
        channels = (pipe.condition.channels, condition.channels)
        try:
            transfer_weights(getattr(pipe, name), networks[name], *channels)
        except ValueError as error:
            raise ValueError(f"networks.transfer_from '{source}', {name}: {error}") from error


def open_network(folder: Path, classes: Sequence[type[Network]]) -> Network:
    """A saved network, of whichever of the classes its configuration names.

    Raises ValueError for another class.
    """
    name = json.loads((folder / "config.json").read_text()).get("_class_name")
    try:
        kind = class_of({"class": name}, classes)
    except ValueError as error:
        raise ValueError(f"{folder} cannot be trained further: its {error}") from error
    return kind.from_pretrained(folder)


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
            "leave them out of networks.correspondence and networks.translation, which take its "
            "own then; neither may have mix_condition, which makes the condition a part of every "
            "shared layer."
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


def export_pipeline(system: System, averaged: Mapping[str, Network], target: Path) -> None:
    """Save averaged networks as a folder that the system's pipeline loads.

    float32, a float16 variant, and the critics beside them for further training.
    """
    # Copies: the export casts them, and training may go on.
    copies = {name: copy.deepcopy(averaged[name]).eval() for name in system.averaged}
    pipe = system.pipeline(copies)
    with complete_folder(target) as folder:
        pipe.save_pretrained(folder)
        for name in system.critics:
            system.networks[name].save_pretrained(folder / name)
        for network in copies.values():
            network.half()
        pipe.save_pretrained(folder, variant="fp16")
