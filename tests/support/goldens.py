"""Recorded arrays: what is kept of each, how near a second computation must come, their inputs.

Source: official networks, 1.2 (inputs), 2 (sub-sampling) and 3 (tolerances).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.support.paths import FIXTURES

SLIM = FIXTURES / "parity_slim.npz"
TASKS = ("ade20k", "celebahq-edge", "deepfashion")

TOLERANCES = {
    "corr/adaptive_feature_": 5e-6,
    "corr/cont_features": 2e-4,
    "corr/ref_features": 2e-4,
    "corr/theta": 5e-6,
    "corr/phi": 5e-6,
    "corr/f_rows": 5e-6,
    "corr/softmax_max": 2e-4,
    "corr/warp_": 5e-5,
    "corr/": 1e-4,
    "G/fake_image": 5e-5,
    "G/": 2e-4,
    "D/": 1e-4,
}


def tolerance(name: str) -> float:
    """Largest absolute deviation allowed in an array."""
    return next(limit for prefix, limit in TOLERANCES.items() if name.startswith(prefix))


def indices(size: int, count: int) -> np.ndarray:
    """`count` evenly spread positions out of `size`, both borders among them."""
    return np.unique(np.rint(np.linspace(0, size - 1, min(size, count))).astype(int))


def _grid(array: np.ndarray, channels: int, rows: int) -> np.ndarray:
    array = array[:, indices(array.shape[1], channels)]
    array = array[:, :, indices(array.shape[2], rows)]
    return array[:, :, :, indices(array.shape[3], rows)]


def subsample(name: str, array: np.ndarray, rows: int = 8) -> np.ndarray:
    """The part of a whole array that is recorded under `name`; rows of most maps, 8 officially."""
    whole = array.shape[-1]
    match name:
        case "corr/theta" | "corr/phi":
            return array[:, :, indices(whole, 16)]
        case "corr/f_rows":
            return array[:, indices(array.shape[1], 8)]
        case "corr/adaptive_feature_seg" | "corr/adaptive_feature_img":
            return _grid(array, array.shape[1], rows)
        case "corr/cont_features" | "corr/ref_features":
            return _grid(array, array.shape[1], 4)
        case "corr/warp_mask":
            return _grid(array, array.shape[1], 16)
        case "corr/softmax_max" | "corr/softmax_argmax" | "corr/warp_lowres" | "corr/warp_cycle":
            return array
        case "G/fake_image_sample0" | "D/scale0_model4" | "D/scale1_model4":
            return array
        case _ if name.endswith("_every3"):
            return array[:, :, ::3, ::3]
        case _:
            return _grid(array, 16, rows)


class Recorder(dict[str, np.ndarray]):
    """Keeps the recorded part of each array it is called with, as float32 or int16."""

    def __init__(self, rows: int = 8):
        super().__init__()
        self.rows = rows

    def __call__(self, name: str, array: Tensor) -> None:
        array = array.float() if array.is_floating_point() else array.short()
        self[name] = subsample(name, array.detach().numpy(), self.rows).copy()


def deviation(name: str, recorded: np.ndarray, found: np.ndarray) -> float:
    """Largest absolute difference. Raises AssertionError if the shapes differ."""
    assert recorded.shape == found.shape, f"{name}: {recorded.shape} recorded, {found.shape} found"
    return float(np.abs(recorded.astype(np.float64) - found).max())


def differences(
    recorded: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], slack: float = 1
) -> list[str]:
    """A line for every recorded array that is missing or too far off; empty if all agree.

    slack multiplies the tolerances.
    """
    wrong = []
    for name in recorded:
        if name.startswith("input/"):
            continue
        if name not in found:
            wrong.append(f"{name}: not found")
        elif name == "corr/softmax_argmax":
            # Up to 21 of the 8192 rows have two maxima nearer to each other than rounding.
            share = np.mean(recorded[name] != found[name])
            if share > 21 / 8192:
                wrong.append(f"{name}: {share:.2%} of the rows differ")
        elif (off := deviation(name, recorded[name], found[name])) > slack * tolerance(name):
            wrong.append(f"{name}: off by {off:.1e}, allowed {slack * tolerance(name):.0e}")
    return wrong


def load(path: Path, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of an npz file whose names start with `prefix`, without it."""
    with np.load(path) as file:
        return {
            name.removeprefix(prefix): file[name] for name in file.files if name.startswith(prefix)
        }


def network_inputs(task: str, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """condition, exemplar, exemplar_condition and image from the stored integers."""
    condition, exemplar_condition = (
        encode(task, torch.from_numpy(arrays[f"input/{name}"])) for name in ("label", "label_ref")
    )
    image, exemplar = (
        (torch.from_numpy(arrays[f"input/{name}"]).float() / 255 - 0.5) / 0.5
        for name in ("image", "ref")
    )
    return {
        "condition": condition,
        "exemplar": exemplar,
        "exemplar_condition": exemplar_condition,
        "image": image,
    }


def encode(task: str, label: Tensor) -> Tensor:
    """Stored labels (B, ?, H, W) uint8 to semantics (B, K, H, W) (official networks, 8)."""
    if task in ("celebahq-edge", "deepfashion"):
        return label.float() / 255
    classes = 19 if task == "celebahq" else 151
    one_hot = F.one_hot(label[:, 0].long(), classes).movedim(-1, 1).float()
    if task == "celebahq":
        one_hot[:, 16] = label[:, 1]
    return one_hot
