"""Settings of the whole test run, and fixtures for tests of several packages."""

import functools
import gc
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Libraries read these when they are imported. Nothing in the tests may reach the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# Two processes that look for a free port at once would find the same.
worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
os.environ["GRADIO_SERVER_PORT"] = str(7860 + 100 * worker)
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # a thread that waits leaves its core to the other worker
uploads = tempfile.TemporaryDirectory()
os.environ["GRADIO_TEMP_DIR"] = uploads.name

import pytest  # noqa: E402
import torch  # noqa: E402

from cocosnet_hf import CoCosPipeline, nearest  # noqa: E402
from cocosnet_hf.convert import convert_checkpoint  # noqa: E402
from tests.support import tiny  # noqa: E402
from tests.support.official import OFFICIAL, official_weights, write_checkpoints  # noqa: E402
from tests.support.painting import CLASSES  # noqa: E402
from tests.support.processes import forget_processes  # noqa: E402

ALL_THREADS = torch.get_num_threads()

FULL_SIZE = ("tests/test_parity.py", "tests/test_convert.py", "tests/train/test_parity.py")
"""Tests of the official networks, which hold several GB and compute for minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What `--dist loadgroup` keeps in one process: a file, so that its fixtures are made once.

    The full-size tests are one group, so that never two of them run at once.
    """
    for item in items:
        file = item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group("full size" if file in FULL_SIZE else file))


def pytest_collection_finish() -> None:
    """The 700,000 objects of every module that was imported are looked through no more.

    They outlive the tests, and each training and saving ends with a collection, half a second long.
    """
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """One thread for small tensors: quicker, and rounding is the same on every machine.

    Full-size networks take every core, of which the other worker has its share as long as it runs:
    they are the longest group, and would be left on one core beside an idle one.
    """
    large = item.get_closest_marker("slow") and item.nodeid.partition("::")[0] in FULL_SIZE
    torch.set_num_threads(ALL_THREADS if large or item.get_closest_marker("gpu") else 1)


@pytest.fixture(scope="session")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """By task: the folder of the full-size `official` files with formula weights and `pipeline`."""

    @functools.cache
    def made(task: str) -> Path:
        folder = tmp_path_factory.mktemp(task)
        files = write_checkpoints(folder / "official", official_weights(OFFICIAL[task]))
        convert_checkpoint(files, folder / "pipeline", task=task)
        return folder

    return made


@pytest.fixture
def fresh_process() -> Iterator[None]:
    """What training leaves in its process is undone: accelerate's state and signal handlers."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    forget_processes()
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    forget_processes()


@pytest.fixture(params=[nearest.KEPT_ENTRIES, 0], ids=["kept", "in_tiles"])
def correlations_kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds where the correlation is kept, and where it is made again each time."""
    monkeypatch.setattr(nearest, "KEPT_ENTRIES", request.param)


@pytest.fixture(scope="module")
def edges() -> CoCosPipeline:
    """Paints from edges; not to be changed."""
    return tiny.pipeline()


@pytest.fixture(scope="module")
def masks() -> CoCosPipeline:
    """Paints from masks of three classes; not to be changed."""
    return tiny.pipeline(CLASSES)


@pytest.fixture
def guarded(edges: CoCosPipeline, masks: CoCosPipeline) -> dict[str, CoCosPipeline]:
    """Both pipelines, failing as soon as a network runs."""

    def fail(*_: Any) -> None:
        raise AssertionError("a network ran before the input was refused")

    handles = [
        network.register_forward_pre_hook(fail)
        for pipe in (edges, masks)
        for network in (pipe.correspondence, pipe.translation)
    ]
    yield {"edges": edges, "masks": masks}
    for handle in handles:
        handle.remove()
