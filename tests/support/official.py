"""Official-style checkpoints without the official weights: key manifests, formula weights, files.

Source: official networks, 1.1 (formula), 4.1 (files), 4.3 (keys) and 5 to 7 (shapes).
"""

import functools
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Official:
    """One published configuration; the defaults are the published widths."""

    condition_channels: int
    mix_condition: bool = True
    kernel: int = 3
    warp: str = "mean"
    upsampling: str = "nearest"
    noise: float = 0.0
    base: int = 64
    features: int = 256
    hidden: int = 128
    generator: tuple[int, ...] = (1024, 1024, 512, 256, 128, 64)
    discriminator: int = 64


OFFICIAL = {
    "ade20k": Official(151),
    "ade20k-noise": Official(151, noise=0.01),
    "celebahq": Official(19, kernel=4, upsampling="bilinear"),
    "celebahq-edge": Official(15, kernel=4, upsampling="bilinear"),
    "deepfashion": Official(20, mix_condition=False, kernel=4, warp="patch"),
}


def tiny(official: Official) -> Official:
    """The same networks a few channels wide."""
    return replace(
        official,
        base=4,
        features=8,
        hidden=6,
        generator=(12, 16, 14, 16, 10, 8),
        discriminator=4,
    )


def manifest(official: Official) -> dict[str, Shapes]:
    """Keys and shapes of `netCorr`, `netG` and `netD`."""
    return {
        "netCorr": _correspondence(official),
        "netG": _translation(official),
        "netD": _discriminator(official),
    }


def _conv(name: str, out: int, into: int, kernel: int, bias: bool, spectral: bool) -> Shapes:
    shape = (out, into, kernel, kernel)
    if spectral:
        shapes: Shapes = {
            f"{name}.weight_orig": shape,
            f"{name}.weight_u": (out,),
            f"{name}.weight_v": (into * kernel * kernel,),
        }
    else:
        shapes = {f"{name}.weight": shape}
    if bias:
        shapes[f"{name}.bias"] = (out,)
    return shapes


def _spade(name: str, channels: int, condition: int, hidden: int) -> Shapes:
    return {
        **_conv(f"{name}.mlp_shared.1", hidden, condition, 3, bias=True, spectral=False),
        **_conv(f"{name}.mlp_gamma", channels, hidden, 3, bias=True, spectral=False),
        **_conv(f"{name}.mlp_beta", channels, hidden, 3, bias=True, spectral=False),
    }


def _spade_block(name: str, into: int, out: int, condition: int, hidden: int) -> Shapes:
    middle = min(into, out)
    shapes = {
        **_spade(f"{name}.norm_0", into, condition, hidden),
        **_conv(f"{name}.conv_0", middle, into, 3, bias=True, spectral=True),
        **_spade(f"{name}.norm_1", middle, condition, hidden),
        **_conv(f"{name}.conv_1", out, middle, 3, bias=True, spectral=True),
    }
    if into != out:
        shapes |= _spade(f"{name}.norm_s", into, condition, hidden)
        shapes |= _conv(f"{name}.conv_s", out, into, 1, bias=False, spectral=True)
    return shapes


def _attention(name: str, channels: int) -> Shapes:
    return {
        f"{name}.gamma": (),
        **_conv(f"{name}.theta", channels // 8, channels, 1, bias=False, spectral=True),
        **_conv(f"{name}.phi", channels // 8, channels, 1, bias=False, spectral=True),
        **_conv(f"{name}.g", channels // 2, channels, 1, bias=False, spectral=True),
        **_conv(f"{name}.o", channels, channels // 2, 1, bias=False, spectral=True),
    }


def _adaptor(name: str, into: int, official: Official) -> Shapes:
    shapes: Shapes = {}
    widths = [into, *(official.base * factor for factor in (1, 2, 4, 8, 8))]
    for index, kernel in enumerate([3, official.kernel, 3, official.kernel, 3]):
        layer = f"{name}.layer{index + 1}.0"
        shapes |= _conv(layer, widths[index + 1], widths[index], kernel, bias=False, spectral=True)
    widest = widths[-1]
    outputs = (widest, widest, official.features)
    for block, out in zip(("head_0", "G_middle_0", "G_middle_1"), outputs, strict=True):
        shapes |= _spade_block(f"{name}.{block}", widest, out, into, official.hidden)
    return shapes


def _correspondence(official: Official) -> Shapes:
    mixed = official.features + official.condition_channels * official.mix_condition
    shapes = _adaptor("adaptive_model_seg", official.condition_channels, official)
    shapes |= _adaptor("adaptive_model_img", 3, official)
    for index in range(4):
        shapes |= _conv(f"layer.{index}.conv1", mixed, mixed, 3, bias=True, spectral=False)
        shapes |= _conv(f"layer.{index}.conv2", mixed, mixed, 3, bias=True, spectral=False)
        shapes[f"layer.{index}.prelu.weight"] = (1,)
    for name in ("theta", "phi"):
        shapes |= _conv(name, official.features, mixed, 1, bias=True, spectral=False)
    return shapes


def _translation(official: Official) -> Shapes:
    condition = 3 + official.condition_channels
    first, second, *rest = official.generator
    shapes = _conv("fc", first, condition, 3, bias=True, spectral=False)
    widths = [first, first, second, second, *rest]
    names = ["head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3"]
    for name, into, out in zip(names, widths[:-1], widths[1:], strict=True):
        shapes |= _spade_block(name, into, out, condition, official.hidden)
    shapes |= _attention("attn", official.generator[3])
    return shapes | _conv("conv_img", 3, official.generator[5], 3, bias=True, spectral=False)


def _discriminator(official: Official) -> Shapes:
    c, classes = official.discriminator, official.condition_channels
    shapes: Shapes = {}
    for scale in range(2):
        d = f"discriminator_{scale}"
        shapes |= _conv(f"{d}.model0.0", c, classes + 3, 4, bias=True, spectral=False)
        shapes |= _conv(f"{d}.model1.0.0", 2 * c, c, 4, bias=False, spectral=True)
        shapes |= _conv(f"{d}.model2.0.0", 4 * c, 2 * c, 4, bias=False, spectral=True)
        shapes |= _conv(f"{d}.model3.0.0", 8 * c, 4 * c, 4, bias=False, spectral=True)
        shapes |= _conv(f"{d}.model4.0", 1, 8 * c, 4, bias=True, spectral=False)
        shapes |= _attention(f"{d}.attn", 4 * c)
        shapes |= _conv(f"{d}.dec.1.0", 2 * c, 4 * c, 3, bias=False, spectral=True)
        shapes |= _conv(f"{d}.dec.4.0", c, 2 * c, 3, bias=False, spectral=True)
        shapes |= _conv(f"{d}.dec.7.0", c // 2, c, 3, bias=False, spectral=True)
        shapes |= _conv(f"{d}.dec.9", classes, c // 2, 3, bias=True, spectral=False)
    return shapes


def formula_weights(net: str, shapes: Shapes) -> dict[str, Tensor]:
    """The formula weights (official networks, 1.1) for the keys of one network."""
    weights = {
        key: _formula(f"{net}/{key}", shape)
        for key, shape in shapes.items()
        if not key.endswith("weight_v")
    }
    for key in shapes:
        if key.endswith("weight_v"):
            layer = key.removesuffix("_v")
            v = weights[f"{layer}_orig"].flatten(1).double().mT @ weights[f"{layer}_u"].double()
            weights[key] = (v / v.norm()).float()
    return {key: weights[key] for key in shapes}


def _formula(name: str, shape: tuple[int, ...]) -> Tensor:
    z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    leaf = name.rpartition(".")[2]
    if leaf == "bias":
        value = 0.1 * z
    elif leaf == "gamma":
        value = 0.5 + 0.1 * z
    elif leaf == "weight_u":
        value = z / np.linalg.norm(z)
    elif name.endswith("prelu.weight"):
        value = 0.25 + 0.05 * z
    else:
        gains = {".mlp_shared.": 4.0, "/conv_img.": 0.4, "vgg/": 2**0.5}
        gain = next((gain for part, gain in gains.items() if part in name), 1.0)
        value = z * gain / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def official_weights(official: Official) -> dict[str, dict[str, Tensor]]:
    """Formula weights of `netCorr`, `netG` and `netD`, in dicts of the caller's own.

    Those of narrow networks are computed once: their tensors are not to be changed in place.
    """
    made = _narrow_weights if official == tiny(official) else _computed
    return {net: dict(weights) for net, weights in made(official).items()}


def _computed(official: Official) -> dict[str, dict[str, Tensor]]:
    return {net: formula_weights(net, shapes) for net, shapes in manifest(official).items()}


_narrow_weights = functools.cache(_computed)


def read_checkpoints(folder: Path) -> dict[str, dict[str, Tensor]]:
    """What `write_checkpoints` has saved."""
    return {
        f"net{net}": torch.load(folder / f"latest_net_{net}.pth", weights_only=True)
        for net in ("Corr", "G", "D")
    }


def write_checkpoints(
    folder: Path,
    weights: dict[str, dict[str, Tensor]],
    epoch: str = "latest",
    legacy: bool = False,
) -> Path:
    """Save `netCorr`, `netG` and, if present, `netD` under the official file names."""
    folder.mkdir(parents=True, exist_ok=True)
    for net, state in weights.items():
        path = folder / f"{epoch}_net_{net.removeprefix('net')}.pth"
        torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    return folder
