"""The demo as a visitor sees it, in a real headless Chromium."""

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from studio.gallery import real_face
from studio.painters import DemoResult, Painter

from tests.support import tiny
from tests.support.browsing import (
    MAKEUP,
    PATIENCE,
    TABS,
    be_live,
    canvas_color,
    downloaded,
    drag,
    open_tab,
    opened_at,
    painted,
    read,
    repainted,
    result,
    state,
    upload,
)
from tests.support.demo_page import CONDITIONS, SIZE, painters, served

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("tab", TABS)
def test_each_tab_opens_with_a_picture_and_paints_another(page: Page, tab: str):
    open_tab(page, tab)
    expect(result(page, tab)).to_have_attribute("src", re.compile("^data:image/"))
    expect(state(page, tab)).to_have_attribute("data-state", "fresh")
    expect(page.locator(f"#{tab}-live input")).to_be_checked()
    assert result(page, tab).bounding_box()["height"] >= 400
    shown = {}
    for kind in ("gallery", "examples"):
        expect(page.locator(f"#{tab}-{kind} .selected")).to_have_count(1)
        first = page.locator(f"#{tab}-{kind} img").first
        shown[kind] = read(page, first)
    assert not np.array_equal(shown["gallery"], shown["examples"])  # a layout is no look
    if tab == "edge-to-face":  # and no look of a face is painted
        look = read(page, page.locator(f"#{tab}-exemplar img"))
        assert np.array_equal(look, real_face())
    with repainted(page, tab):
        page.locator(f"#{tab}-paint").click()
    tall = 2 if tab == "pose-to-body" else 1  # as its gallery's figures are
    assert painted(page, tab).shape == (tall * SIZE, SIZE, 3)
    assert downloaded(page, tab).shape == (tall * SIZE, SIZE, 3)
    expect(page.locator(f"#{tab}-result .said")).to_contain_text("what came from where")
    for view in ("before", "warped", "image"):
        with repainted(page, tab):
            page.locator(f"#{tab}-result [data-view={view}]").click()
    page.locator(f"#{tab}-result [data-view=sure]").click()
    expect(page.locator(f"#{tab}-result .heat")).to_be_visible()
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
def test_what_is_stale_says_so_until_it_is_painted(page: Page):
    tab = "mask-to-image"
    be_live(page, tab, False)
    first = painted(page, tab)
    page.locator(f"#{tab}-canvas .chip", has_text="roof").click()
    drag(page, page.locator(f"#{tab}-canvas canvas"), (0.2, 0.2), (0.8, 0.3))
    expect(state(page, tab)).to_have_attribute("data-state", "stale")
    expect(page.locator(f"#{tab}-result .busy")).to_contain_text("press Paint")
    assert np.array_equal(read(page, result(page, tab)), first)
    with repainted(page, tab):
        page.locator(f"#{tab}-paint").click()
    assert not np.array_equal(painted(page, tab), first)


@pytest.mark.slow
def test_the_picture_follows_the_brush_in_live_mode(page: Page, address: str):
    tab = "mask-to-image"

    def paint_strokes(on: Page) -> None:
        for row in (0.3, 0.5, 0.7):
            drag(on, on.locator(f"#{tab}-canvas canvas"), (0.1, row), (0.9, row))

    other = opened_at(page.context.new_page(), address)
    be_live(other, tab, False)
    paint_strokes(other)
    with repainted(other, tab):
        other.locator(f"#{tab}-paint").click()
    # A picture's address is made of its content.
    expected = result(other, tab).get_attribute("src")
    page.bring_to_front()
    paint_strokes(page)
    expect(result(page, tab)).to_have_attribute("src", expected)
    expect(state(page, tab)).to_have_attribute("data-state", "fresh")


@pytest.mark.slow
def test_every_change_is_painted_in_live_mode(page: Page, tmp_path: Path):
    tab = "mask-to-image"
    Image.new("RGB", (96, 96), (250, 10, 20)).save(tmp_path / "red.png")
    Image.fromarray(np.tri(SIZE, dtype=np.uint8)).save(tmp_path / "labels.png")
    for change in (
        page.locator(f"#{tab}-gallery button.thumbnail-item").nth(3).click,
        page.locator(f"#{tab}-examples button.thumbnail-item").nth(2).click,
        page.locator(f"#{tab}-suggest").click,
        lambda: upload(page, f"#{tab}-exemplar-upload", tmp_path / "red.png"),
        lambda: upload(page, f"#{tab}-upload", tmp_path / "labels.png"),
    ):
        with repainted(page, tab):
            change()
    expect(page.locator(f"#{tab}-gallery .selected")).to_have_count(0)
    be_live(page, tab, False)
    page.locator(f"#{tab}-examples button.thumbnail-item").nth(4).click()
    expect(state(page, tab)).to_have_attribute("data-state", "stale")
    with repainted(page, tab):  # by ticking it alone
        be_live(page, tab, True)


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
    slow.may_paint.set()  # the picture that the page opens with
    with served(dict.fromkeys(CONDITIONS) | {tab: slow}) as address:
        slow.may_paint.clear()
        slow.asked = 0
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        yield opened_at(context.new_page(), address), slow
        context.close()


@pytest.mark.slow
def test_of_the_strokes_that_come_while_one_is_painted_only_the_last_is(
    slow_page: tuple[Page, SlowPainter],
):
    (page, slow), tab = slow_page, "mask-to-image"
    for row in (0.2, 0.4, 0.6, 0.8):
        drag(page, page.locator(f"#{tab}-canvas canvas"), (0.1, row), (0.9, row))
    expect(state(page, tab)).to_have_attribute("data-state", "painting")
    page.wait_for_timeout(1000)  # until the page has heard of the last one
    slow.may_paint.set()
    end = time.monotonic() + PATIENCE / 1000
    while slow.asked < 2 and time.monotonic() < end:
        page.wait_for_timeout(50)
    page.wait_for_timeout(1000)  # for any further one
    assert slow.asked == 2


@pytest.mark.slow
def test_a_painting_that_takes_a_while_is_seen_to_be_made(slow_page: tuple[Page, SlowPainter]):
    (page, slow), tab = slow_page, "mask-to-image"
    busy = page.locator(f"#{tab}-result .busy")
    expect(busy).not_to_be_visible()
    page.locator(f"#{tab}-paint").click()
    expect(busy).to_have_text("Painting…")
    faint = """one => {
      let opacity = 1;
      for (let part = one; part; part = part.parentElement) {
        opacity *= getComputedStyle(part).opacity;
      }
      return opacity;
    }"""
    page.wait_for_timeout(1000)  # until the page has heard that it waits
    assert 0.2 < result(page, tab).evaluate(faint) < 0.9
    for part in (".said", "button[data-view=image]", ".busy"):
        assert page.locator(f"#{tab}-result {part}").evaluate(faint) == 1, part
    slow.may_paint.set()
    painted(page, tab)
    expect(busy).not_to_be_visible()


def at(place: Locator, x: float, y: float) -> tuple[float, float]:
    """A place on a square picture within its element, in pixels of the page."""
    box = place.bounding_box()
    side = min(box["width"], box["height"])
    left = box["x"] + (box["width"] - side) / 2
    return left + x * side, box["y"] + (box["height"] - side) / 2 + y * side


def test_what_is_pointed_at_shows_where_it_came_from_without_asking(page: Page):
    tab = "edge-to-face"
    open_tab(page, tab)
    said, links = (page.locator(f"#{tab}-result .{part}") for part in ("said", "links"))
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    look = page.locator(f"#{tab}-exemplar img")
    for picture, x, y in ((result(page, tab), 0.25, 0.75), (look, 0.5, 0.5)):
        page.mouse.move(*at(picture, x, y))
        expect(said).to_contain_text(re.compile("Came from there|Nothing"))
        dots = links.locator(".dot")
        expect(dots.first).to_be_attached()
        dot = dots.first if picture is not look else dots.last
        spot = [float(dot.get_attribute(name)) for name in ("cx", "cy")]
        assert np.allclose(spot, at(picture, x, y), atol=2)
    page.mouse.move(0, 0)
    expect(links.locator(".dot")).to_have_count(0)
    for number in range(6):
        page.mouse.click(*at(result(page, tab), 0.2 + 0.1 * number, 0.4))
    pins = page.locator(f"#{tab}-result .pins li")
    expect(pins).to_have_count(5)
    expect(said).to_contain_text("Up to 5")
    page.locator(f"#{tab}-result [data-drop='0']").click()
    expect(pins).to_have_count(4)
    assert asked == []


def test_the_keys_do_what_the_pointer_does(page: Page):
    tab = "mask-to-image"
    pane, heard = (page.locator(f"#{tab}-result .{part}") for part in ("painted", "heard"))
    pane.focus()
    page.keyboard.press("ArrowRight")
    said = page.locator(f"#{tab}-result .said")
    words = re.compile(r"\w+ ← \w+ of the look: (sure|fairly sure|a guess)")
    expect(heard).to_contain_text(words)
    expect(said).to_contain_text(words)
    page.locator(f"#{tab}-result button[data-view=image]").click()  # which takes the dot away
    expect(said).to_contain_text("to see what came from where")
    pane.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    pins = page.locator(f"#{tab}-result .pins li")
    expect(pins).to_have_count(2)
    pane.focus()
    page.keyboard.press("Delete")
    expect(pins).to_have_count(0)


@pytest.mark.slow
def test_a_pinned_pair_of_points_is_painted(browser: Browser):
    tab = "edge-to-face"
    painter = Painter(tiny.blending_pipeline(CONDITIONS[tab], SIZE))
    with served(painters() | {tab: painter}) as address:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = opened_at(context.new_page(), address)
        open_tab(page, tab)
        page.mouse.click(*at(result(page, tab), 0.5, 0.5))
        look = page.locator(f"#{tab}-exemplar img")
        handle = page.locator(f"#{tab}-result .handle[data-end=to]")
        page.mouse.move(*(float(handle.get_attribute(name)) for name in ("cx", "cy")))
        page.mouse.down()
        with repainted(page, tab):
            page.mouse.move(*at(look, 0.8, 0.7), steps=3)
            page.mouse.up()
        pin = page.locator(f"#{tab}-result [data-move='0']")
        expect(pin).to_contain_text("set by you")
        with repainted(page, tab):
            pin.press("ArrowLeft")
        with repainted(page, tab):
            page.locator(f"#{tab}-result [data-drop='0']").click()
        with repainted(page, tab):
            page.locator(f"#{tab}-strength input[type=range]").press("End")
        context.close()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1440, 900), (1024, 768), (768, 1024), (390, 844)])
def test_the_picture_is_never_off_the_screen(browser: Browser, address: str, size: tuple[int, int]):
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    page = opened_at(context.new_page(), address)
    largest = 0.0
    for tab in TABS:
        open_tab(page, tab)
        end = "document.documentElement.scrollHeight"
        for down in ("0", f"{end} / 3", f"{end} / 2"):
            page.evaluate(f"window.scrollTo(0, {down})")
            box = result(page, tab).bounding_box()
            assert box["y"] >= 0 and box["y"] + box["height"] <= size[1], (tab, down, box)
        largest = max(largest, box["width"], box["height"])
    if size[0] == 1440:
        assert 520 <= largest <= 600
    context.close()


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
    tabs = page.locator("#tabs [role=tab]:visible")
    assert tabs.count() == len(TABS) + 1
    cut = "all => all.filter((tab) => tab.scrollWidth > tab.clientWidth + 1).map((tab) => tab.id)"
    assert tabs.evaluate_all(cut) == []
    context.close()
