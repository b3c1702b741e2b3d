"""Official .pth files: read as plain tensors, and brought under our names."""

from __future__ import annotations

import logging
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from .models import CorrespondenceNetwork, MultiscaleDiscriminator
from .models.network import Network

Names = tuple[tuple[str, str], ...]
NetworkT = TypeVar("NetworkT", bound=Network)

logger = logging.getLogger(__name__)

# Part of our key -> part of the official key, applied from top to bottom.
LAYER_NAMES: Names = (
    (".parametrizations.weight.original", ".weight_orig"),
    (".parametrizations.weight.0._u", ".weight_u"),
    (".parametrizations.weight.0._v", ".weight_v"),
    ("style_encoder.", "mlp_shared.1."),
    ("attention.query.", "attn.theta."),
    ("attention.key.", "attn.phi."),
    ("attention.value.", "attn.g."),
    ("attention.out.", "attn.o."),
    ("attention.gamma", "attn.gamma"),
)
CORRESPONDENCE_NAMES: Names = (
    *LAYER_NAMES,
    ("residual_blocks.", "layer."),
    ("condition_adaptor.", "adaptive_model_seg."),
    ("exemplar_adaptor.", "adaptive_model_img."),
    ("layers.0.", "layer1.0."),
    ("layers.1.", "layer2.0."),
    ("layers.2.", "layer3.0."),
    ("layers.3.", "layer4.0."),
    ("layers.4.", "layer5.0."),
    ("blocks.0.", "head_0."),
    ("blocks.1.", "G_middle_0."),
    ("blocks.2.", "G_middle_1."),
    ("content_projection.", "theta."),
    ("style_projection.", "phi."),
)
TRANSLATION_NAMES: Names = (
    *LAYER_NAMES,
    ("input_conv.", "fc."),
    ("blocks.0.", "head_0."),
    ("blocks.1.", "G_middle_0."),
    ("blocks.2.", "G_middle_1."),
    ("blocks.3.", "up_0."),
    ("blocks.4.", "up_1."),
    ("blocks.5.", "up_2."),
    ("blocks.6.", "up_3."),
    ("output_conv.", "conv_img."),
)
DISCRIMINATOR_NAMES: Names = (
    *LAYER_NAMES,
    ("discriminators.0.", "discriminator_0."),
    ("discriminators.1.", "discriminator_1."),
    ("layers.0.", "model0.0."),
    ("layers.1.", "model1.0.0."),
    ("layers.2.", "model2.0.0."),
    ("layers.3.", "model3.0.0."),
    ("layers.4.", "model4.0."),
)
# One of our layers holds two official ones, one after the other along the output channels.
JOINED = ("modulation.", ("mlp_gamma.", "mlp_beta."))
# Official keys without effect (official networks, 4.3): biases that an instance norm removes again,
# and a decoder that is never called.
UNUSED = {
    CorrespondenceNetwork: r"^layer\.\d\.conv[12]\.bias$",
    MultiscaleDiscriminator: r"^discriminator_\d\.dec\.",
}
NEVER = "(?!)"


@dataclass
class Checkpoint:
    """One official .pth file: its path and its tensors, given up as a network takes them over."""

    path: Path
    state: dict[str, Tensor]

    @classmethod
    def read(cls, path: Path, *inside: str) -> Checkpoint:
        """Open a state dict in the zip or the legacy format without running any of it.

        inside: keys under which the state dict may lie.
        """
        try:
            # Only the zip format can be mapped: its tensors stay on disk until they are used.
            mapped = zipfile.is_zipfile(path)
            if mapped:
                _require_whole(path)
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except Exception as error:  # torch raises whatever a broken or hostile file leads it to
            reason = _without_advice(error)
            raise ValueError(
                f"{path} could not be read as plain tensors ({reason}). Expected a state dict as "
                f"torch.save writes it; anything else could run code and is refused. Download or "
                f"save the file again."
            ) from error
        for key in inside:
            if isinstance(state, dict) and isinstance(state.get(key), dict):
                state = state[key]
        if not isinstance(state, dict) or not state:
            raise ValueError(
                f"{path} must hold a dict of key to tensor, got "
                f"{'an empty one' if state == {} else type(state).__name__}; save the network's "
                f"state_dict()."
            )
        for key, value in state.items():
            if not isinstance(key, str) or not isinstance(value, Tensor):
                raise ValueError(
                    f"{path} must hold a flat dict of key to tensor, but {key!r} is a "
                    f"{type(value).__name__}; save the network's state_dict() alone."
                )
            strided = value.layout == torch.strided and not value.is_meta
            # A few bytes can stand for a tensor of any size, which would then be made.
            if not strided or value.nbytes > value.untyped_storage().nbytes():
                raise ValueError(
                    f"{path}: {key} must be a plain tensor whose numbers are all in the file; save "
                    f"state_dict() as it is."
                )
            if not value.is_floating_point() or not torch.isfinite(value).all():
                raise ValueError(f"{path}: {key} must hold finite floating-point numbers only.")
        return cls(path, dict(state))

    def shape(self, key: str, dimensions: int) -> torch.Size:
        """The shape of one tensor, from which an architecture is read."""
        if key not in self.state or self.state[key].ndim != dimensions:
            found = f"of shape {tuple(self.state[key].shape)}" if key in self.state else "missing"
            raise ValueError(
                f"{self.path} does not hold the official network: {key} must have {dimensions} "
                f"dimensions and is {found}. The file's keys are {first_of(sorted(self.state))}."
            )
        return self.state[key].shape

    def network(self, network: type[NetworkT], config: dict[str, Any], names: Names) -> NetworkT:
        """A network around the tensors. Raises ValueError unless they fit it exactly."""
        count = len(self.state)
        with torch.device("meta"):
            model = network(**config)
        model.load_state_dict(self._renamed(model, names), assign=True)
        logger.info("%s: %s with %s keys", self.path.name, network.__name__, count)
        return model.eval()

    def _renamed(self, model: Network, names: Names) -> dict[str, Tensor]:
        self._complete_v()
        expected = model.state_dict()
        sources = {key: _official_keys(key, names) for key in expected}
        self._require_exactly(model, expected, sources)
        return {
            key: _joined([self.state.pop(official).float().contiguous() for official in officials])
            for key, officials in sources.items()
        }

    def _complete_v(self) -> None:
        """Recompute v = W^T u / |W^T u| where an old torch stored `weight` instead (4.2)."""
        for key in [key for key in self.state if key.endswith(".weight_u")]:
            layer, u = key.removesuffix("_u"), self.state[key]
            original = self.state.get(f"{layer}_orig")
            if f"{layer}_v" in self.state or original is None or original.shape[:1] != u.shape:
                continue
            v = original.float().reshape(len(u), -1).t() @ u.float()
            self.state[f"{layer}_v"] = F.normalize(v, dim=0, eps=1e-12)
            self.state.pop(layer, None)

    def _require_exactly(
        self, model: Network, expected: dict[str, Tensor], sources: dict[str, list[str]]
    ) -> None:
        shapes: dict[str, tuple[int, ...]] = {}
        for key, officials in sources.items():
            shape: tuple[int, ...] = tuple(expected[key].shape)
            if len(officials) > 1:
                shape = (shape[0] // len(officials), *shape[1:])
            shapes |= dict.fromkeys(officials, shape)
        found = {key: tuple(value.shape) for key, value in self.state.items()}
        unused = re.compile(UNUSED.get(type(model), NEVER))
        problems = {
            "missing": sorted(shapes.keys() - found.keys()),
            "left over": sorted(k for k in found.keys() - shapes.keys() if not unused.search(k)),
            "of another shape": [
                f"{key} {found[key]} instead of {shape}"
                for key, shape in shapes.items()
                if key in found and found[key] != shape
            ],
        }
        if any(problems.values()):
            raise ValueError(
                f"{self.path} does not hold the official weights of a {type(model).__name__}: "
                + "; ".join(f"{len(v)} {k}: {first_of(v)}" for k, v in problems.items() if v)
                + ". Check that the file is whole and comes from a published configuration."
            )


def _require_whole(path: Path) -> None:
    """Raise BadZipFile for a file of which a part was changed; torch looks at no checksum.

    A file whose checksums are all wrong was written without, which is said.
    """
    damaged, sound = [], 0
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            try:
                with archive.open(entry) as stream:
                    while stream.read(1 << 20):
                        pass
                sound += entry.file_size > 0
            except zipfile.BadZipFile:
                damaged.append(entry.filename)
    if damaged and sound:
        raise zipfile.BadZipFile(f"{damaged[0]} in it is damaged")
    if damaged:
        logger.warning("%s has no checksums: damage in it would go unnoticed.", path.name)


def _without_advice(error: Exception) -> str:
    """What torch says of a file, without how to open it so that its code runs."""
    found = re.search(r"WeightsUnpickler error: ([^\n]*?)\.?( Please use|\n|$)", str(error))
    if found:
        return found[1]
    reason = str(error).partition("\n")[0].partition("(1) ")[0].strip()
    advises = re.search("weights_only|torch.load", reason)
    return type(error).__name__ if advises or not reason else reason


def _official_keys(key: str, names: Names) -> list[str]:
    """The official key, or the two that ours joins."""
    for ours, official in names:
        key = key.replace(ours, official)
    ours, officials = JOINED
    return [key.replace(ours, official) for official in officials] if ours in key else [key]


def _joined(parts: list[Tensor]) -> Tensor:
    """The tensor itself; or gamma and beta in one, the bias of gamma with the 1 of "1 + gamma"."""
    if len(parts) == 1:
        return parts[0]
    gamma, beta = parts
    return torch.cat([gamma + 1 if gamma.ndim == 1 else gamma, beta])


def first_of(keys: list[str], count: int = 3) -> str:
    """The first keys as a list for a message, with ", ..." where there are more."""
    return ", ".join(keys[:count]) + (", ..." if len(keys) > count else "")
