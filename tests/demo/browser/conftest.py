"""A page in a headless Chromium. What needs one is imported where it is used."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

if not (find_spec("playwright") and find_spec("gradio")):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    from tests.support.demo_page import painters, served

    with served(painters()) as url:
        yield url


# For a module: while it is open, no other test of the process may run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from tests.support.browsing import started

    with started() as running:
        yield running


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    from tests.support.browsing import opened_at

    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    yield opened_at(opened, address)
    context.close()
