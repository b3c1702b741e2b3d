"""The page that paints in the browser, from a folder, as a static Space hands it out."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import SpaceCard
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.support.browsing import PATIENCE
from tests.support.paths import REPOSITORY

SOURCE = REPOSITORY / "demo" / "live"
GALLERY = REPOSITORY / "demo" / "gallery"

LONG = 6 * PATIENCE
"""Milliseconds for a picture: a processor that is shared by many takes minutes for the first one."""


class Quiet(SimpleHTTPRequestHandler):
    """Says nothing of its requests, and sends the headers that the page's card asks for."""

    headers_to_send: dict[str, str] = SpaceCard.load(SOURCE / "README.md").data["custom_headers"]

    def log_message(self, *_: Any) -> None: ...

    def end_headers(self) -> None:
        for name, value in self.headers_to_send.items():
            self.send_header(name, value)
        super().end_headers()


@contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """The address of a folder's files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def opened(browser: Browser, address: str, job: str, **options: Any) -> Iterator[Page]:
    """A tab of the page with its first picture. `complaints`: errors, and requests to others."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
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


def wait_for_picture(page: Page, job: str, number: int) -> None:
    """Until so many pictures have been painted and no more is asked for."""
    panel = page.locator(f"#panel-{job}")
    expect(panel.locator(".problem")).to_be_hidden()
    page.wait_for_function(
        """([job, number]) => {
          const panel = document.querySelector(`#panel-${job}`);
          const isBusy = panel?.querySelector(".result").classList.contains("waits");
          return panel && !isBusy && Number(panel.dataset.painted || 0) >= number;
        }""",
        arg=[job, number],
        timeout=LONG,
    )


def picture(page: Page, job: str) -> np.ndarray:
    """(H, W, 3) uint8: what the page shows as its result."""
    address = page.locator(f"#panel-{job} .result").evaluate("canvas => canvas.toDataURL()")
    file = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(BytesIO(file)).convert("RGB"))
