"""Checkpoints that are either complete or not there."""

import json
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging
from safetensors import SafetensorError

from cocosnet_hf.settings_file import renamed

logger = logging.get_logger(__name__)

NAME = re.compile(r"checkpoint-(\d{8})")
RUN_FILE = "run.json"
STATE_FILE = "state.pt"

WRITE_ERRORS = (OSError, RuntimeError, SafetensorError)
"""How Python, torch and safetensors report a full disk."""


@contextmanager
def complete_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes `target` once the block has ended and all is on the disk.

    Whoever kills the process, `target` never holds half of the files. A folder that was there
    before is replaced. If the block fails, nothing changes. Raises OSError with the remedy if the
    disk is full.
    """
    temporary = target.with_name(f".{target.name}.writing")
    old = target.with_name(f".{target.name}.old")
    try:
        if old.exists() and not target.exists():  # killed between the two renamings below
            old.rename(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        for path in [*temporary.rglob("*"), temporary]:
            if path.is_file():
                path.chmod(0o666 & ~_umask())  # safetensors writes for the owner alone
            _flush_to_disk(path)
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        temporary.rename(target)
        _flush_to_disk(target.parent)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, WRITE_ERRORS):
            raise OSError(
                f"could not write {target}: {error}. What was saved before is intact; free some "
                f"space and go on with --resume latest."
            ) from error
        raise


def _umask() -> int:
    """What new files of this process are not allowed; it can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _flush_to_disk(path: Path) -> None:
    if os.name == "nt":  # Windows opens no folders, and flushes only what is open for writing
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_checkpoint(
    folder: Path, step: int, state: dict[str, Any], config: dict[str, Any], keep: int
) -> Path:
    """Write `folder`/checkpoint-<step>, then delete all but the newest `keep` checkpoints.

    state: whatever `torch.load(weights_only=True)` reads back. config: the run's, as JSON beside
    it, see `load_checkpoint`. Raises OSError with the remedy if the disk is full.
    """
    target = folder / f"checkpoint-{step:08d}"
    with complete_folder(target) as temporary:
        torch.save(state, temporary / STATE_FILE)
        run = {"step": step, "config": config}
        (temporary / RUN_FILE).write_text(json.dumps(run, indent=2, sort_keys=True) + "\n")
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def list_checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints in `folder`, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))


def find_checkpoint(folder: Path, wanted: str) -> Path | None:
    """The checkpoint that `--resume` names: "latest" or a path; None if there is none yet.

    The newest that is damaged gives way to the one before, with a warning. Raises ValueError if
    all are, FileNotFoundError for a path that is no checkpoint, and FileExistsError if the folder
    has newer ones, which would be taken for this run's.
    """
    if wanted == "latest":
        found = list_checkpoints(folder)
        if not found:
            logger.warning(f"there is no checkpoint in {folder}: the run begins at its start.")
            return None
        for path in reversed(found):
            if is_whole(path):
                return path
            logger.warning(f"{path} is damaged: going on from the checkpoint before it.")
        raise ValueError(f"every checkpoint in {folder} is damaged; start a new run elsewhere.")
    path = Path(wanted)
    if not (path / RUN_FILE).is_file():
        raise FileNotFoundError(
            f"{path} is no checkpoint (it has no {RUN_FILE}); pass --resume latest, or one of "
            f"{[str(found) for found in list_checkpoints(folder)]}."
        )
    step = json.loads((path / RUN_FILE).read_text())["step"]
    newer = [
        found
        for found in list_checkpoints(folder)
        if (name := NAME.fullmatch(found.name)) and int(name[1]) > step
    ]
    if newer:
        raise FileExistsError(
            f"{path} is of step {step}, but {folder} holds newer checkpoints, up to "
            f"{newer[-1].name}: go on from there with --resume latest, move them away, or set "
            f"another output_dir."
        )
    return path


def is_whole(path: Path) -> bool:
    """Whether both files of a checkpoint can be opened to their end."""
    try:
        json.loads((path / RUN_FILE).read_text())
    except (OSError, ValueError):
        return False
    return zipfile.is_zipfile(path / STATE_FILE)


def load_checkpoint(
    path: Path, config: dict[str, Any], may_change: tuple[str, ...]
) -> tuple[int, dict[str, Any]]:
    """Step and state of a checkpoint.

    may_change: settings, or groups of them, in which config may differ from the checkpoint's.
    Raises ValueError if another differs: the run would not be the one that was interrupted.
    """
    step, settings = read_run(path)
    before, now = flatten(settings), flatten(config)
    # Which older checkpoints do not tell.
    before.setdefault("processes", now.get("processes"))
    if "optimizer.weight_decay" in now:
        before.setdefault("optimizer.weight_decay", 0.0)
    if "system" in now:
        before.setdefault("system", "cocosnet")
    for name in now:  # whose options had other places before, and are there unless they were off
        if name.startswith("system_options"):
            before.setdefault(name, {} if name == "system_options" else 0)
    changed = sorted(
        name
        for name in before.keys() | now.keys()
        if before.get(name) != now.get(name) and not name.startswith(may_change)
    )
    if changed:
        raise ValueError(
            f"{path} belongs to a run with other settings: "
            + ", ".join(f"{name} was {before.get(name)!r}" for name in changed[:5])
            + ". Restore them, or start a new run with networks.init_from= a pipeline of this one: "
            "its last, pipeline, or its best by validations, best."
        )
    return step, read_state(path)


def read_run(path: Path) -> tuple[int, dict[str, Any]]:
    """Step and settings of a checkpoint, these by the names of today."""
    run = json.loads((path / RUN_FILE).read_text())
    return run["step"], renamed(run["config"])


def read_state(path: Path) -> dict[str, Any]:
    """What a checkpoint holds beside its settings. Raises ValueError for a damaged file."""
    try:
        state = torch.load(path / STATE_FILE, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path / STATE_FILE} cannot be read, it is missing or damaged "
            f"({next(iter(str(error).splitlines()), type(error).__name__)}); move {path} away and "
            f"go on from the one before with --resume latest."
        ) from error
    for name, average in state.get("averages", {}).items():
        if "steps" in average:  # as earlier versions wrote it
            weights = {f"module.{key}": value for key, value in average["module"].items()}
            count = torch.tensor(average["steps"] + 1)
            state["averages"][name] = {"n_averaged": count} | weights
    return state


def upgrade(state: dict[str, Any], frozen: Collection[str] = ()) -> dict[str, Any]:
    """The state of a run as it is saved today, from a checkpoint of today or of before systems.

    Then one optimiser taught all painting networks, each a group of its parameters, and both sides
    shared a scale of float16. frozen: networks that were not taught.
    """
    if "system" in state:
        return state
    optimizers = dict(state["optimizers"])
    joint = optimizers.pop("generator")
    names = [name for name in ("correspondence", "translation") if name not in frozen]
    for name, group in zip(names, joint["param_groups"], strict=True):
        numbers = {old: new for new, old in enumerate(group["params"])}
        optimizers[name] = {
            "state": {
                new: joint["state"][old] for old, new in numbers.items() if old in joint["state"]
            },
            "param_groups": [group | {"params": list(numbers.values())}],
        }
    scale = state.get("scaler")
    scales = {} if scale is None else {0: scale, 1: scale}
    return state | {"optimizers": optimizers, "scaler": scales, "system": {}}


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
