"""The recorded edge and pose inputs and outputs: the fixture here, the reference file beside us."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tests.support.paths import FIXTURES, SHARED_PARITY

FILES = {
    "fixture": FIXTURES / "preprocess.npz",
    "golden": SHARED_PARITY / "golden_preprocess.npz",
}


def cases(prefix: str) -> list[tuple[str, str]]:
    """(file, case) of every recorded case whose name starts with `prefix`."""
    found = []
    for name, path in FILES.items():
        if path.exists():
            with np.load(path) as arrays:
                names = [key.removesuffix("_label_u8") for key in arrays if "_label_u8" in key]
            found += [(name, case) for case in names if case.startswith(prefix)]
    return found


def load(file: str, case: str) -> dict[str, np.ndarray]:
    """The arrays of one case, without its name in their keys."""
    with np.load(FILES[file]) as arrays:
        return {
            key.removeprefix(f"{case}_"): arrays[key]
            for key in arrays
            if key.startswith(f"{case}_")
        }


def expected(arrays: dict[str, np.ndarray]) -> Tensor:
    """The recorded output as float32 in [0, 1]."""
    return torch.from_numpy(arrays["label_u8"]).float() / 255
