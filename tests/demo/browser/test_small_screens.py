"""The page where there is little room: what one draws and what becomes of it are both in sight."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browsing import TABS, open_tab, opened_at, result, upload

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TAB = "mask-to-image"


@pytest.fixture
def phone(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    yield opened_at(context.new_page(), address)
    context.close()


def test_messages_leave_the_picture_of_a_phone_free(phone: Page, tmp_path: Path):
    (tmp_path / "notes.png").write_text("not a picture")
    upload(phone, f"#{TAB}-exemplar-upload", tmp_path / "notes.png")
    refused = phone.get_by_role("alert").bounding_box()
    phone.locator(f"#{TAB}-canvas [data-do=clear]").click()
    phone.locator(f"#{TAB}-paint").click()
    toast = phone.locator(".toast-body")
    expect(toast).to_be_visible()
    toast.hover()  # which ends once it stands still
    picture = result(phone, TAB).bounding_box()
    for message in (refused, toast.bounding_box()):
        assert message["x"] >= 0 and message["x"] + message["width"] <= 390
        assert message["y"] >= picture["y"] + picture["height"]


def test_pins_take_one_row_of_a_phone(phone: Page):
    box = result(phone, TAB).bounding_box()
    for share in range(1, 6):
        phone.mouse.click(box["x"] + box["width"] / 2, box["y"] + share * box["height"] / 6)
    pins = phone.locator(f"#{TAB}-result .pins")
    expect(pins.locator("li")).to_have_count(5)
    assert pins.bounding_box()["height"] <= 60
    assert phone.locator(f"#{TAB}-result").bounding_box()["height"] <= 844 / 2
    expect(phone.locator(f"#{TAB}-result .links .dot")).to_have_count(10)  # and none over them


@pytest.mark.parametrize("size", [(1440, 900), (1024, 768), (768, 1024), (390, 844)])
def test_a_point_and_where_it_came_from_are_both_on_the_screen(
    browser: Browser, address: str, size: tuple[int, int]
):
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    page = opened_at(context.new_page(), address)
    for tab in TABS:
        open_tab(page, tab)
        result(page, tab).hover()
        dots = page.locator(f"#{tab}-result .links .dot")
        expect(dots).to_have_count(2)
        for dot in (dots.first, dots.last):
            x, y = (float(dot.get_attribute(name)) for name in ("cx", "cy"))
            assert 0 <= x <= size[0] and 0 <= y <= size[1], (tab, x, y)
        for share in (0.3, 0.5, 0.7):  # pins are below, and the card becomes longer
            box = result(page, tab).bounding_box()
            page.mouse.click(box["x"] + box["width"] / 2, box["y"] + share * box["height"])
        expect(page.locator(f"#{tab}-result .pins li")).to_have_count(3)
        page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
        expect(page.locator(f"#{tab}-result .painted")).to_be_in_viewport(ratio=0.99)
        page.evaluate("window.scrollTo(0, 0)")
    # The large one, once it is there to be pointed at.
    look = page.locator(f"#{tab}-exemplar img")
    look.scroll_into_view_if_needed()
    look.hover()
    expect(page.locator(f"#{tab}-result .said")).to_have_text(
        re.compile("Came from there|Nothing|←")
    )
    context.close()


@pytest.mark.parametrize("size", [(1440, 900), (768, 1024)])
def test_the_tools_of_a_tall_canvas_are_in_sight(
    browser: Browser, address: str, size: tuple[int, int]
):
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, has_touch=True)
    page = opened_at(context.new_page(), address)
    open_tab(page, "pose-to-body")
    undo, redo = (
        page.locator(f"#pose-to-body-pose [data-do={what}]").bounding_box()
        for what in ("undo", "redo")
    )
    assert undo["y"] == redo["y"] and undo["y"] + undo["height"] <= size[1]
    context.close()
