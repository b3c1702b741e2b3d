"""A Chromium for the page that paints in the browser."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

if not (find_spec("playwright") and find_spec("gradio")):
    collect_ignore_glob = ["test_*.py"]


# For a module: while it is open, no other test of the process may run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from tests.support.browsing import started

    with started() as running:
        yield running
