"""The page that paints in the browser, opened in a Chromium."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page

from tests.support.browsing import PATIENCE
from tests.support.paths import REPOSITORY
from tools.measure_live import wait_for_picture

SOURCE = REPOSITORY / "demo" / "live"
GALLERY = REPOSITORY / "demo" / "gallery"

LISTEN = """window.said = [];
document.addEventListener("DOMContentLoaded", () => {
  new MutationObserver((changes) => {
    for (const { target } of changes) {
      if (target.className === "status") window.said.push(target.textContent);
    }
  }).observe(document.body, { childList: true, subtree: true });
});
"""
"""Notes in `said` what the page says of its state."""


@contextmanager
def opened(browser: Browser, address: str, job: str, **options: Any) -> Iterator[Page]:
    """A tab of the page with its first picture. `complaints`: errors, and requests to others."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    context.add_init_script(LISTEN)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on(
        "request",
        lambda request: (
            request.url.startswith((address, "data:", f"blob:{address}"))
            or page.complaints.append(request.url)
        ),
    )
    page.goto(f"{address}#{job}")
    wait_for_picture(page, job, 1)
    yield page
    context.close()
