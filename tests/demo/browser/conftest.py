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


FORGOTTEN = """() => new Promise((done) => {
  localStorage.clear();
  sessionStorage.clear();
  const request = indexedDB.deleteDatabase("cocosnet");
  request.onsuccess = request.onerror = request.onblocked = () => done();
})"""
"""What a visitor has left: the database goes once no page has it open."""


@pytest.fixture
def page(context: BrowserContext, address: str) -> Iterator[Page]:
    from tests.support.browsing import opened_at

    opened = context.new_page()
    yield opened_at(opened, address)
    for each in context.pages:
        if each is not opened:
            each.close()
    opened.goto(f"{address}robots.txt")  # where no script of the page keeps anything
    opened.evaluate(FORGOTTEN)
    opened.close()
