"""The demo's page, served. What needs the extra `demo` is imported where it is used."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from gradio_client import Client
    from playwright.sync_api import Browser
    from studio.painters import Painter

if not (find_spec("playwright") and find_spec("gradio")):
    collect_ignore_glob = ["browser/*", "live/*"]


# For a module: while it is open, no other test of the process may run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    from tests.support.browsing import started

    with started() as running:
        yield running


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    """A new folder among gradio's uploads."""
    from tests.support.demo_page import UPLOADS

    folder = UPLOADS / tmp_path.name
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def painting() -> dict[str, Painter]:
    """What all tests of a process are served by; not to be changed."""
    from tests.support.demo_page import painters

    return painters()


@pytest.fixture(scope="session")
def address(painting: dict[str, Painter]) -> Iterator[str]:
    from tests.support.demo_page import served

    with served(painting) as url:
        yield url


@pytest.fixture(scope="session")
def client(address: str) -> Client:
    from gradio_client import Client

    return Client(address, verbose=False)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures to send: photos, an index map, class colours, a drawing and a text."""
    from tests.support.demo_page import CONDITIONS, SIZE, noise

    folder = tmp_path_factory.mktemp("files")
    noise(0).save(folder / "photo.png")
    noise(1).save(folder / "exemplar.png")
    labels = Image.fromarray(
        (np.arange(SIZE * SIZE).reshape(SIZE, SIZE) // 97 % 12).astype("uint8")
    )
    labels.save(folder / "labels.png")
    condition = CONDITIONS["mask-to-image"]
    condition.preview(condition.encode(labels, SIZE, SIZE)).save(folder / "colours.png")
    drawing = Image.new("L", (SIZE, SIZE), 255)
    ImageDraw.Draw(drawing).ellipse((12, 12, 50, 50), outline=0, width=3)
    drawing.save(folder / "drawing.png")
    (folder / "text.png").write_text("not a picture")
    return folder
