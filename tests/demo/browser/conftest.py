"""The demo's page in a headless Chromium. What needs one is imported where it is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Keeps what the page is made of, which would otherwise be read anew for each test."""
    kept = browser.new_context(viewport={"width": 1280, "height": 900})
    yield kept
    kept.close()


FORGOTTEN = """() => {
  localStorage.clear();
  sessionStorage.clear();
  indexedDB.deleteDatabase("cocosnet");
}"""
"""What a visitor has left: the database goes when the last page that has it open is closed."""


@pytest.fixture
def page(context: BrowserContext, address: str) -> Iterator[Page]:
    from tests.support.browsing import opened_at

    opened = context.new_page()
    yield opened_at(opened, address)
    opened.goto(f"{address}robots.txt")  # where no script of the page keeps anything
    opened.evaluate(FORGOTTEN)
    for each in context.pages:
        each.close()
