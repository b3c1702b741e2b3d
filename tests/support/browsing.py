"""What a visitor does with the mouse. Without Chromium, tests that import it are skipped."""

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.pictures import whole_picture

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no chromium; install Debian's chromium", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("gradio", reason="needs the extra demo")
from playwright.sync_api import Browser, Locator, Page, expect  # noqa: E402

SETTINGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 90_000
TABS = {
    "mask-to-image": "Mask to image",
    "mask-to-landscape": "Paint a landscape",
    "edge-to-face": "Draw a face",
    "pose-to-body": "Pose a person",
}
"""What tabs are called; that of masks is named after the model's clothes where it has any."""

MAKEUP = "Makeup"
expect.set_options(timeout=PATIENCE)


@contextmanager
def started() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=SETTINGS)
        yield running
        running.close()


def opened_at(page: Page, address: str) -> Page:
    """A page that is ready; what it asks of other hosts or its scripts fail at is a complaint."""
    page.set_default_timeout(PATIENCE)
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on(
        "request",
        lambda request: (
            request.url.startswith((address, "data:", "blob:"))
            or page.complaints.append(request.url)
        ),
    )
    page.goto(address)
    page.locator("#mask-to-image-canvas canvas").wait_for()
    return page


def open_tab(page: Page, tab: str) -> None:
    page.get_by_role("tab", name=TABS.get(tab, tab), exact=True).click()


def drag(page: Page, target: Locator, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag the mouse over an element, between places given as shares of its sides."""
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    (x1, y1), (x2, y2) = (
        (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)
    )
    page.mouse.move(x1, y1)
    page.mouse.down()
    page.mouse.move(x2, y2, steps=6)
    page.mouse.up()


def upload(page: Page, button: str, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.locator(button).click()
    chooser.value.set_files(path)


def result(page: Page, tab: str) -> Locator:
    return page.locator(f"#{tab}-result .painted img")


def state(page: Page, tab: str) -> Locator:
    """The part that says whether the picture is "fresh", "stale", "painting" or a "problem"."""
    return page.locator(f"#{tab}-result .result")


@contextmanager
def repainted(page: Page, tab: str) -> Iterator[None]:
    """What is done here paints another picture, which is there afterwards."""
    source = result(page, tab).get_attribute("src")
    yield
    expect(result(page, tab)).not_to_have_attribute("src", source)
    expect(state(page, tab)).to_have_attribute("data-state", "fresh")


def be_live(page: Page, tab: str, live: bool) -> None:
    page.locator(f"#{tab}-live input").set_checked(live)
    board = f"#{tab}-{'pose' if tab == 'pose-to-body' else 'canvas'} .board"
    expect(page.locator(board)).to_have_attribute("data-live", str(live).lower())


def painted(page: Page, tab: str) -> np.ndarray:
    """The result, once it is up to date."""
    expect(state(page, tab)).to_have_attribute("data-state", "fresh")
    return read(page, result(page, tab))


def downloaded(page: Page, tab: str) -> np.ndarray:
    """The result as it is downloaded."""
    with page.expect_download() as download:
        page.locator(f"#{tab}-download").click()
    return np.asarray(whole_picture(download.value.path()).convert("RGB"))


def read(page: Page, shown: Locator) -> np.ndarray:
    source = shown.get_attribute("src")
    if source.startswith("data:"):
        file = base64.b64decode(source.partition(",")[2])
    else:
        file = page.context.request.get(source).body()
    return np.asarray(Image.open(BytesIO(file)).convert("RGB"))


def canvas_color(page: Page, tab: str, x: float, y: float) -> list[int]:
    return page.locator(f"#{tab}-canvas canvas").evaluate(
        "(canvas, [x, y]) => [...canvas.getContext('2d').getImageData("
        "x * canvas.width, y * canvas.height, 1, 1).data]",
        [x, y],
    )
