"""Settings of the whole test run."""

import os
import signal
from collections.abc import Iterator

# Nothing in the tests may reach the network; the Hub client reads this when it is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest  # noqa: E402
import torch  # noqa: E402

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
ALL_THREADS = max(1, torch.get_num_threads() // WORKERS)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """One thread for small tensors: quicker, and rounding is the same on every machine."""
    slow = item.get_closest_marker("slow") or item.get_closest_marker("gpu")
    torch.set_num_threads(ALL_THREADS if slow else 1)


@pytest.fixture
def fresh_process() -> Iterator[None]:
    """What training leaves in its process is undone: accelerate's state and a signal handler."""
    from accelerate.state import AcceleratorState, GradientState, PartialState

    def reset() -> None:
        for state in (AcceleratorState, PartialState, GradientState):
            state._reset_state()

    handler = signal.getsignal(signal.SIGTERM)
    reset()
    yield
    signal.signal(signal.SIGTERM, handler)
    reset()
