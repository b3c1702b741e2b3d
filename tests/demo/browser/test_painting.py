"""The demo as a visitor sees it, in a real headless Chromium."""

import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from studio.painters import DemoResult, Painter

from tests.support import tiny
from tests.support.browsing import (
    MAKEUP,
    PATIENCE,
    TABS,
    canvas_color,
    downloaded,
    drag,
    open_tab,
    opened_at,
    painted,
)
from tests.support.demo_page import CONDITIONS, SIZE, served

pytestmark = pytest.mark.browser


VIEWS = {"Compare": "slider", "Warped": "warped", "Certainty": "confidence", "Flow": "flow"}


@pytest.mark.parametrize("tab", TABS)
def test_each_tab_leads_from_its_first_sight_to_a_picture(page: Page, tab: str):
    open_tab(page, tab)
    page.locator(f"#{tab}-paint").click()
    assert painted(page, tab).shape[0] >= 300
    page.locator(f"#{tab}-match img").wait_for()
    tall = 2 if tab == "pose-to-body" else 1  # as its gallery's figures are
    assert downloaded(page, tab).shape == (tall * SIZE, SIZE, 3)
    expect(page.locator(f"#{tab}-note")).to_contain_text("in the exemplar")
    for view, name in VIEWS.items():
        page.get_by_role("tab", name=view).locator("visible=true").click()
        page.locator(f"#{tab}-{name} img").first.wait_for()
    assert page.complaints == []


@pytest.mark.slow
def test_a_class_is_painted_by_mouse_and_taken_back(page: Page):
    tab = "mask-to-image"
    canvas = page.locator(f"#{tab}-canvas canvas")
    before = canvas_color(page, tab, 0.5, 0.5)
    page.locator(f"#{tab}-canvas .chip", has_text="sun").click()
    drag(page, canvas, (0.3, 0.5), (0.7, 0.5))
    sun = CONDITIONS[tab].palette[1].tolist()
    assert canvas_color(page, tab, 0.5, 0.5) == [*sun, 255] != before
    page.locator(f"#{tab}-canvas [data-do=undo]").click()
    assert canvas_color(page, tab, 0.5, 0.5) == before
    page.locator(f"#{tab}-canvas [data-do=redo]").click()
    page.locator(f"#{tab}-canvas [data-tool=erase]").click()
    drag(page, canvas, (0.5, 0.4), (0.5, 0.6))
    assert canvas_color(page, tab, 0.5, 0.5)[3] == 0
    page.locator(f"#{tab}-canvas [data-tool=fill]").click()
    canvas.click()
    assert canvas_color(page, tab, 0.5, 0.5) == [*sun, 255]


@pytest.mark.slow
def test_what_is_painted_changes_the_picture(page: Page):
    tab = "mask-to-image"
    page.locator(f"#{tab}-paint").click()
    first = painted(page, tab)
    source = page.locator(f"#{tab}-result img").get_attribute("src")
    page.locator(f"#{tab}-canvas .chip", has_text="roof").click()
    drag(page, page.locator(f"#{tab}-canvas canvas"), (0.2, 0.2), (0.8, 0.3))
    page.locator(f"#{tab}-paint").click()
    expect(page.locator(f"#{tab}-result img")).not_to_have_attribute("src", source)
    assert not np.array_equal(painted(page, tab), first)


@pytest.mark.slow
def test_the_picture_follows_the_brush_in_live_mode(page: Page, address: str):
    tab = "mask-to-image"

    def paint_strokes(on: Page) -> None:
        for row in (0.3, 0.5, 0.7):
            drag(on, on.locator(f"#{tab}-canvas canvas"), (0.1, row), (0.9, row))

    other = opened_at(page.context.new_page(), address)
    paint_strokes(other)
    other.locator(f"#{tab}-paint").click()
    painted(other, tab)
    # A picture's address is made of its content.
    expected = other.locator(f"#{tab}-result img").get_attribute("src")
    page.bring_to_front()
    page.locator(f"#{tab}-live input").check()
    page.locator(f"#{tab}-canvas .board[data-live=true]").wait_for()
    paint_strokes(page)
    expect(page.locator(f"#{tab}-result img")).to_have_attribute("src", expected)


class SlowPainter(Painter):
    """Counts paintings, and begins none before it may."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.may_paint = threading.Event()
        self.asked = 0

    def paint(self, *arguments: Any, **settings: Any) -> DemoResult:
        """As any painter does."""
        self.asked += 1
        assert self.may_paint.wait(PATIENCE / 1000)
        return super().paint(*arguments, **settings)


@pytest.fixture
def slow_page(browser: Browser) -> Iterator[tuple[Page, SlowPainter]]:
    """A page whose tab of masks has a painter that waits, and that painter."""
    tab = "mask-to-image"
    slow = SlowPainter(tiny.pipeline(CONDITIONS[tab], SIZE, mix_condition=False))
    with served(dict.fromkeys(CONDITIONS) | {tab: slow}) as address:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        yield opened_at(context.new_page(), address), slow
        context.close()


@pytest.mark.slow
def test_of_the_strokes_that_come_while_one_is_painted_only_the_last_is(
    slow_page: tuple[Page, SlowPainter],
):
    (page, slow), tab = slow_page, "mask-to-image"
    page.locator(f"#{tab}-live input").check()
    page.locator(f"#{tab}-canvas .board[data-live=true]").wait_for()
    for row in (0.2, 0.4, 0.6, 0.8):
        drag(page, page.locator(f"#{tab}-canvas canvas"), (0.1, row), (0.9, row))
    slow.may_paint.set()
    page.locator(f"#{tab}-result img").wait_for()
    end = time.monotonic() + PATIENCE / 1000
    while slow.asked < 2 and time.monotonic() < end:
        page.wait_for_timeout(50)
    page.wait_for_timeout(1000)  # for any further one
    assert slow.asked == 2


@pytest.mark.slow
def test_a_painting_that_takes_a_while_is_seen_to_be_made(slow_page: tuple[Page, SlowPainter]):
    (page, slow), tab = slow_page, "mask-to-image"
    progress = page.locator(f"#{tab}-result .progress-text")
    expect(progress).not_to_be_visible()
    page.locator(f"#{tab}-paint").click()
    expect(progress).to_be_visible()
    slow.may_paint.set()
    painted(page, tab)
    expect(progress).not_to_be_visible()


@pytest.mark.slow
def test_a_click_on_the_picture_shows_where_it_came_from(page: Page):
    tab = "edge-to-face"
    open_tab(page, tab)
    page.locator(f"#{tab}-paint").click()
    painted(page, tab)
    note = page.locator(f"#{tab}-note")
    expect(note).to_contain_text("in the exemplar")
    shown = page.locator(f"#{tab}-result img")
    box = shown.bounding_box()
    side = min(box["width"], box["height"])
    shown.click(
        position={
            "x": (box["width"] - side) / 2 + 0.25 * side,
            "y": (box["height"] - side) / 2 + 0.75 * side,
        }
    )
    expect(note).to_contain_text(re.compile(r"Point \(1[567], 4[789]\)"))


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_every_tab_without_scrolling_sideways(
    browser: Browser, address: str, scheme: str
):
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, color_scheme=scheme
    )
    page = opened_at(context.new_page(), address)
    for tab, name in (TABS | {"layers": MAKEUP}).items():
        if not page.get_by_role("tab", name=name, exact=True).is_visible():
            page.locator("#tabs .overflow-menu > button").first.click()
            page.locator("#tabs .overflow-dropdown button", has_text=name).click()
        else:
            open_tab(page, name)
        page.locator(f"#{tab}-paint").scroll_into_view_if_needed()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, tab
    context.close()
