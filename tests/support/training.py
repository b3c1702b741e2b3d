"""A training run of a few steps and a few channels, and what it ends with."""

import time
from pathlib import Path
from typing import Any

import torch
import yaml

from cocosnet_hf import MaskCondition
from cocosnet_hf.synthetic import SCENE_CLASSES
from cocosnet_hf.systems import CoCosNet, CoCosNetLosses
from tests.support import tiny
from train.checkpoints import STATE_FILE, list_checkpoints
from train.config import load_config
from train.train import train

SETTINGS: dict[str, Any] = {
    "data": {
        "source": "synthetic",
        "condition_column": "condition",
        "exemplar_column": "exemplar",
        "exemplar_condition_column": "exemplar_condition",
        "same_look": True,
        "image_size": 32,
        "load_size": 36,
        "color_jitter": 0.3,
        "batch_size": 2,
        "workers": 0,
    },
    "networks": tiny.NETWORK_SETTINGS
    | {"condition": {"type": "mask", "classes": list(SCENE_CLASSES)}},
    "losses": {
        "adversarial": 1,
        "feature_matching": 1,
        "pseudo_exemplar": 0,
        "perceptual": 0,
        "contextual": 0,
        "cycle": 1,
        "self_warp": 1,
        "warped_mask": 1,
        "self_pixel": 1,
    },
    "schedule": {"constant": 2, "decay": 2},
    "output": {
        "log_every": 2,
        "grid_every": 4,
        "checkpoint_every": 2,
        "validate_every": 2,
        "validation_batches": 1,
        "check_rows": 0,
    },
}


def last_state(run: Path) -> dict[str, Any]:
    return torch.load(list_checkpoints(run / "checkpoints")[-1] / STATE_FILE, weights_only=True)


def differences(a: Any, b: Any, place: str = "") -> list[str]:
    """Where two nested states are not the same, bit by bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), place
        return [d for key in a for d in differences(a[key], b[key], f"{place}.{key}")]
    if isinstance(a, (list, tuple)):
        pairs = enumerate(zip(a, b, strict=True))
        return [d for i, pair in pairs for d in differences(*pair, f"{place}.{i}")]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    return [] if same else [place]


def wait_for_checkpoint(run: Path, process: Any, log: Path) -> None:
    """Until a process of `tests.support.processes.command` has saved one."""
    while not list_checkpoints(run / "checkpoints"):
        assert process.is_alive(), log.read_text()
        time.sleep(0.02)


def gone_on(path: Path, run: Path, *overrides: str) -> list[str]:
    """Where an interrupted run that does two more steps differs from one that did all at once.

    path: of the recipe, by which `run` was made. In networks, averages and optimisers.
    """
    saved = list_checkpoints(run / "checkpoints")[-1].name
    length = int(saved.removeprefix("checkpoint-")) + 2
    changed = [*overrides, f"--schedule.constant={length}", "--schedule.decay=0"]
    whole = run.with_name("whole")
    train(load_config(path, changed), resume="latest")
    train(load_config(path, [*changed, f"--output_dir={whole}"]))
    one, other = (last_state(folder) for folder in (run, whole))
    return [
        place
        for name in ("networks", "averages", "optimizers")
        for place in differences(one[name], other[name], name)
    ]


def write_config(folder: Path, **settings: Any) -> Path:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({"output_dir": "out"} | settings))
    return path


def made_system() -> CoCosNet:
    made = {
        "correspondence": tiny.correspondence(),
        "translation": tiny.translation(),
        "discriminator": tiny.discriminator(),
    }
    return CoCosNet(MaskCondition.from_names(["a", "b"]), made, CoCosNetLosses())
