"""What every network of the package shares: strict loading, and folding for inference."""

from __future__ import annotations

import inspect
import json
import re
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn.utils import parametrize
from typing_extensions import Self

from ..saved_files import read_json, superseded
from .inference import without_spectral_norm
from .recompute import is_recomputed, keep, recompute


def without_place(config: str) -> str:
    """A configuration of diffusers, as JSON, without the folder that it was loaded from."""
    entries = json.loads(config)
    entries.pop("_name_or_path", None)
    return json.dumps(entries, indent=2, sort_keys=True) + "\n"


def require_safe(safe_serialization: bool = True, **_: Any) -> None:
    """Raise ValueError if the arguments of `save_pretrained` after the folder ask for a pickle."""
    if not safe_serialization:
        raise ValueError(
            "safe_serialization=False would pickle the weights, which nobody could open safely; "
            "leave it out."
        )


HUGE = 1 << 28
"""Numbers from which a network is not made before its weights are known to be as many."""


class Network(ModelMixin, ConfigMixin):
    """A diffusers model that loads all of its weights or none, and only from safetensors."""

    to: Any  # diffusers' wrapper of Module.to hides from a checker that it is bound
    config_name: Any
    config: Any
    """The settings, as attributes: diffusers' own annotation only knows them as keys."""

    free_settings: ClassVar[frozenset[str]] = frozenset()
    """Settings that may change between trainings: the weights do not depend on them."""

    recomputed: ClassVar[tuple[type[torch.nn.Module], ...]] = ()
    """Large parts, whose insides training may compute again instead of keeping them."""

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether the insides of its large parts are computed again instead of kept."""
        return any(map(is_recomputed, self.modules()))

    def enable_gradient_checkpointing(self, gradient_checkpointing_func: Any = None) -> None:
        """As in diffusers: less memory for more time in training, with the same gradients.

        Raises ValueError for a network that names no large parts, and for a function, since the
        norms ask for one that knows them.
        """
        if gradient_checkpointing_func is not None:
            raise ValueError(
                "gradient_checkpointing_func would move the norms on once more; leave it out."
            )
        if not self.recomputed:
            raise ValueError(
                f"{type(self).__name__} has no part that is worth computing again: it keeps all."
            )
        for module in self.modules():
            if isinstance(module, self.recomputed):
                recompute(module)

    def disable_gradient_checkpointing(self) -> None:
        """Keep all again that the backward pass reads."""
        for module in self.modules():
            keep(module)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Self:
        """Load as `ModelMixin.from_pretrained` does, but accept no difference in the weights.

        Raises ValueError if a weight is missing, unexpected or of another shape than the
        configuration says (diffusers only warns and leaves such weights uninitialised), if the
        configuration describes no network, and if it is that of another class.
        `low_cpu_mem_usage` makes no difference: the network is always made without weights, so
        that one which no file holds is noticed.
        """
        if kwargs.pop("use_safetensors", True) is False:
            raise ValueError(
                "use_safetensors=False asks for pickled weights, which can run code when opened; "
                "convert them to safetensors first."
            )
        with_info = kwargs.pop("output_loading_info", False)
        kwargs["low_cpu_mem_usage"] = True
        folder = Path(pretrained_model_name_or_path, kwargs.get("subfolder") or "")
        if (path := folder / "config.json").is_file():
            config: Any = read_json(path, str(folder))
        else:
            hub = {key: kwargs[key] for key in _HUB_ARGUMENTS & kwargs.keys()}
            config = cls.load_config(pretrained_model_name_or_path, **hub)
        cls._require_described(config, folder)
        try:
            loaded: Any = super().from_pretrained(
                pretrained_model_name_or_path,
                use_safetensors=True,
                output_loading_info=True,
                **kwargs,
            )
        except ValueError as error:
            misshaped = re.findall(r"because (\S+) expected shape", str(error))
            if not misshaped:
                raise
            raise cls._not_ours(
                pretrained_model_name_or_path, f"of another shape: {_first(misshaped)}"
            ) from error
        model, info = loaded
        if kwargs.get("device_map") is None:  # which may leave weights on disk
            # Weights that an index names and no file holds; diffusers believes the index.
            empty = {key for key, tensor in model.state_dict().items() if tensor.is_meta}
            info["missing_keys"] = sorted(empty.union(info["missing_keys"]))
        problems = [
            f"{len(info[kind])} {label}: {_first(info[kind])}"
            for kind, label in (
                ("missing_keys", "missing"),
                ("unexpected_keys", "unexpected"),
            )
            if info[kind]
        ]
        if problems:
            raise cls._not_ours(pretrained_model_name_or_path, "; ".join(problems))
        result: Any = (model, info) if with_info else model
        return result

    @classmethod
    def _require_described(cls, config: dict[str, Any], folder: Path) -> None:
        """Raise ValueError unless a configuration makes a network, of the size of its weights."""
        if config.get("_class_name") != cls.__name__:
            raise ValueError(
                f"expected the configuration of a {cls.__name__} in {folder}, got that of a "
                f"{config.get('_class_name')}; load it with its own class."
            )
        if config.get("quantization_config") is not None:
            raise ValueError(
                f"{folder}/config.json asks for quantised weights, which a {cls.__name__} has "
                f"not; remove its quantization_config."
            )
        try:
            with torch.device("meta"):
                network: Any = cls.from_config(config)
        except ValueError:
            raise
        except Exception as error:  # whatever settings of a wrong type lead to
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"{folder}/config.json describes no {cls.__name__}: {reason} "
                f"({type(error).__name__}). Fetch the folder again, or save the network again."
            ) from error
        held = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        wanted = sum(tensor.numel() for tensor in network.state_dict().values())
        if held and wanted > max(held, HUGE):  # a number takes a byte or more
            raise cls._not_ours(folder, f"it has {wanted:,} numbers, the files {held:,} bytes")

    @classmethod
    def _not_ours(cls, source: Any, problems: str) -> ValueError:
        return ValueError(
            f"the weights in {source} do not fit the {cls.__name__} that its config.json "
            f"describes: {problems}. Fetch the folder again, or convert or train the model again."
        )

    def save_pretrained(  # type: ignore[override]  # settings by name only
        self,
        save_directory: Any,
        *,
        variant: str | None = None,
        max_shard_size: int | str = "10GB",
        **kwargs: Any,
    ) -> None:
        """As in diffusers, whose pipelines only pass on arguments that they find by name here.

        Other forms of the same variant that the folder holds, whole or in pieces, are replaced;
        other variants stay. Raises ValueError on a folded network, which could not be trained on,
        for safe_serialization=False, which would pickle, and for a file in the folder's place.
        """
        require_safe(**kwargs)
        if self.folded:
            raise ValueError(
                f"this {type(self).__name__} was folded for inference and can no longer be saved; "
                f"save it before calling fold(), or load it again."
            )
        folder = Path(save_directory)
        if folder.is_file():
            raise ValueError(f"{folder} is a file; name a folder to save the network to.")
        folder.mkdir(parents=True, exist_ok=True)
        if kwargs.get("push_to_hub"):
            kwargs.setdefault("repo_id", folder.name)
        # diffusers would leave the index of pieces beside a whole file, and remove the pieces of
        # other variants.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as made:
            super().save_pretrained(made, variant=variant, max_shard_size=max_shard_size, **kwargs)
            new = [file.name for file in Path(made).iterdir()]
            for old in superseded([file.name for file in folder.iterdir()], new):
                (folder / old).unlink()
            for name in new:
                Path(made, name).replace(folder / name)

    def register_to_config(self, **kwargs: Any) -> None:
        """As in diffusers, but arguments that were given by position count as given.

        diffusers notes them as defaults, and `from_config` would leave them out.
        """
        parameters = inspect.signature(type(self).__init__).parameters
        unchanged = [
            name
            for name in kwargs.pop("_use_default_values", ())
            if kwargs.get(name) == parameters[name].default
        ]
        super().register_to_config(**kwargs, _use_default_values=unchanged)

    def to_json_string(self) -> str:
        """The configuration, without the folder of this machine that it was loaded from."""
        return without_place(super().to_json_string())

    @property
    def folded(self) -> bool:
        """Whether `fold` has been called."""
        return getattr(self, "_folded", False)

    @torch.no_grad()
    def fold(self) -> Self:
        """Rewrite the weights in place for inference; the outputs stay equal up to rounding.

        Spectral norm is divided out, each SPADE shortcut's last two linear maps become one, and
        the weights are laid out channels last.
        The network goes to evaluation mode and can neither be trained on nor saved afterwards.
        Raises ValueError if weights are offloaded.
        """
        if any(parameter.is_meta for parameter in self.parameters()):
            raise ValueError(
                f"this {type(self).__name__} has offloaded weights, which cannot be rewritten; "
                f"call fold() before offloading."
            )
        self.eval()
        for parent in list(self.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.Conv2d) and parametrize.is_parametrized(child, "weight"):
                    setattr(parent, name, without_spectral_norm(child))
        for module in self.modules():
            fold = getattr(module, "fold", None)
            if module is not self and callable(fold):
                fold()
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)
        self._folded = True
        return self


_HUB_ARGUMENTS = {
    "cache_dir",
    "force_download",
    "local_files_only",
    "proxies",
    "revision",
    "subfolder",
    "token",
}


def _first(keys: list[str], count: int = 3) -> str:
    rest = f", ... ({len(keys) - count} more)" if len(keys) > count else ""
    return ", ".join(sorted(keys)[:count]) + rest


def require_channels(name: str, tensor: torch.Tensor, channels: int) -> None:
    """Raise ValueError unless `tensor` is (B, channels, H, W)."""
    if tensor.ndim != 4 or tensor.shape[1] != channels:
        raise ValueError(
            f"{name} must have the shape (B, {channels}, H, W), got {tuple(tensor.shape)}; "
            f"the condition object of the pipeline makes tensors that fit."
        )


def require_style(style: Tensor | None, count: int, entries: int) -> None:
    """Raise ValueError unless there is a style (count, entries), or none where entries is 0."""
    found = None if style is None else tuple(style.shape)
    if found != ((count, entries) if entries else None):
        wanted = (count, entries) if entries else "left out, as this generator reads none"
        raise ValueError(
            f"style must be {wanted}, got {found}; pipe.sample and pipe.encode make such codes."
        )


def require_stride(name: str, tensor: torch.Tensor, stride: int) -> None:
    """Raise ValueError unless height and width of `tensor` fit a network of this `stride`."""
    if torch.jit.is_tracing():  # whose sizes are tensors, and fit
        return
    height, width = tensor.shape[-2:]
    fitting = [nearest_side(side, stride) for side in (height, width)]
    if [height, width] != fitting:
        raise ValueError(
            f"height and width of {name} must be multiples of {stride} from {2 * stride} on, got "
            f"{height} x {width}; the nearest that fit are {fitting[0]} x {fitting[1]}."
        )


def nearest_side(side: float, stride: int) -> int:
    """The height or width nearest to `side` that a network of this `stride` can work on.

    Every network mirrors borders at its coarsest stride, which takes two positions.
    """
    return max(2, round(side / stride)) * stride


def size_of(x: Tensor) -> tuple[int, int]:
    """(H, W) of a tensor (..., H, W)."""
    height, width = x.shape[-2:]
    return height, width


def channels_last(x: Tensor) -> Tensor:
    """The layout that convolutions are fastest in."""
    return x.contiguous(memory_format=torch.channels_last)
