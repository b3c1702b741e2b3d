"""Make tests/fixtures/parity_slim.npz: the recorded arrays of narrow networks on 64 px inputs.

Run from the repository's root: python -m tests.support.make_parity_fixture. The numbers come from
tests/support/reference.py in float64, with the formula weights, and not from the package.
"""

import zlib

import numpy as np
import torch

from tests.support import reference
from tests.support.goldens import SLIM, TASKS, Recorder, network_inputs
from tests.support.official import OFFICIAL, official_weights, tiny

SIZE = 64


def blocks(name: str, shape: tuple[int, ...], top: int, side: int) -> np.ndarray:
    """Random integers 0 ... top in squares whose edges do not fall on multiples of 4."""
    count = SIZE // side + 2
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    coarse = rng.integers(0, top + 1, (*shape, count, count), dtype=np.uint8)
    fine = coarse.repeat(side, axis=-2).repeat(side, axis=-1)
    return fine[..., 1 : 1 + SIZE, 1 : 1 + SIZE]


def inputs(task: str) -> dict[str, np.ndarray]:
    """Stored integers of the same kinds as the official recordings have."""
    arrays = {
        "input/image": blocks(f"{task}/image", (2, 3), 255, 3),
        "input/ref": blocks(f"{task}/ref", (2, 3), 255, 3),
    }
    for name, side in (("label", 9), ("label_ref", 7)):
        if task in ("celebahq-edge", "deepfashion"):
            channels = OFFICIAL[task].condition_channels
            arrays[f"input/{name}"] = blocks(f"{task}/{name}", (2, channels), 255, side)
        else:
            # Few of the classes, so that condition and exemplar share some.
            arrays[f"input/{name}"] = blocks(f"{task}/{name}", (2, 1), 5, side) * 30
    return arrays


def recorded(task: str) -> dict[str, np.ndarray]:
    """The inputs and every array that the reference records for a narrow network."""
    official = tiny(OFFICIAL[task])
    arrays = inputs(task)
    weights = {
        net: {key: value.double() for key, value in state.items()}
        for net, state in official_weights(official).items()
    }
    tensors = {name: x.double() for name, x in network_inputs(task, arrays).items()}
    recorder = Recorder(rows=4)
    with torch.no_grad():
        reference.run(weights, official, **tensors, record=recorder)
    return arrays | {name: x for name, x in recorder.items() if is_recorded(name)}


def is_recorded(name: str) -> bool:
    """Whether the official recordings hold this step: inside blocks, one of each network."""
    inside = [f"corr/seg_G_middle_1.{step}" for step in ("norm_0", "norm_s", "conv_0")]
    return "." not in name or name.startswith("G/up_0.") or name in inside


def main() -> None:
    SLIM.parent.mkdir(exist_ok=True)
    arrays = {f"{task}/{name}": x for task in TASKS for name, x in recorded(task).items()}
    np.savez_compressed(SLIM, **arrays)


if __name__ == "__main__":
    main()
