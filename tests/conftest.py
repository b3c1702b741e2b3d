"""Settings of the whole test run."""

import os

# Nothing in the tests may reach the network; the Hub client reads this when it is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest  # noqa: E402
import torch  # noqa: E402

ALL_THREADS = torch.get_num_threads()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """One thread for small tensors: quicker, and rounding is the same on every machine."""
    slow = item.get_closest_marker("slow") or item.get_closest_marker("gpu")
    torch.set_num_threads(ALL_THREADS if slow else 1)
