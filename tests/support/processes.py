"""Processes forked off one that has imported everything, and what accelerate remembers of them."""

import importlib
import multiprocessing
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, GradientState, PartialState


def forget_processes() -> None:
    """As in a new process; accelerate has no public way, its own tests go this one too."""
    for state in (AcceleratorState, PartialState, GradientState):
        state._reset_state()


def fork(target: Callable[..., None], *arguments: Any) -> Any:
    """A running process, without the seconds that imports take. target: of an importable module."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.applying", "train.train"])
    made = context.Process(target=target, args=arguments)
    made.start()
    return made


def command(module: str, log: Path, *arguments: str, **environment: str) -> Any:
    """The running command line of a module, in a session of its own; it prints into `log`."""
    return fork(_run, module, log, arguments, environment)


def two_commands(module: str, log: Path, *arguments: str) -> str:
    """What two processes that know of each other, as a launcher starts them, print until they end.

    Raises AssertionError, with what was printed, for one that fails.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    shared |= {"ACCELERATE_USE_CPU": "true"}
    logs = {rank: log.with_name(f"{log.name}-{rank}") for rank in "01"}
    running = [
        command(module, path, *arguments, **shared, RANK=rank, LOCAL_RANK=rank)
        for rank, path in logs.items()
    ]
    codes = [ended(process, 300) for process in running]
    printed = "".join(path.read_text() for path in logs.values())
    assert codes == [0, 0], printed
    return printed


def ended(process: Any, seconds: float) -> int | None:
    """What a process returned; one that has not ended after so many seconds is killed."""
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode


def _run(module: str, log: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    os.setsid()
    with log.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.update(environment)
    torch.set_num_threads(1)  # as the test that compares
    importlib.import_module(module).main(list(arguments))
