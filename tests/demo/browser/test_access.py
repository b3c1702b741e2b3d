"""The page for people who do not see it, or use no mouse, or a thumb."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.axe import findings
from tests.support.browsing import MAKEUP, TABS, opened_at, repainted

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ALL_TABS = {**TABS, "layers": MAKEUP}

TARGET = 44
"""Pixels that a finger needs."""


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_axe_finds_nothing_serious_on_any_tab(
    browser: Browser, address: str, scheme: str, width: int
):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = opened_at(context.new_page(), address)
    # Half way from one colour to another a button has a contrast that nobody reads it at.
    page.add_style_tag(content="*, *::before, *::after { transition: none !important; }")
    found = {}
    for tab in ALL_TABS:
        page.evaluate(f"location.hash = '{tab}'")
        page.locator(f"#{tab}-canvas .stage, #{tab}-pose .stage").first.wait_for()
        if tab != "layers":
            with repainted(page, tab):  # so that there is a strip of pictures
                page.locator(f"#{tab}-gallery button.thumbnail-item").nth(3).click()
        found[tab] = findings(page)
    assert found == dict.fromkeys(ALL_TABS, [])
    context.close()


def test_a_thumb_hits_every_control(browser: Browser, address: str):
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = opened_at(context.new_page(), address)
    small = {}
    for tab in ALL_TABS:
        page.evaluate(f"location.hash = '{tab}'")
        page.locator(f"#{tab}-canvas .stage, #{tab}-pose .stage").first.wait_for()
        page.wait_for_timeout(300)
        small[tab] = page.evaluate(
            """least => ["button", "a", "summary", "input[type=range]", "input[type=number]"]
              .flatMap((kind) => [...document.querySelectorAll("#tabs " + kind)])
              .filter((part) => part.checkVisibility({ visibilityProperty: true }))
              .map((part) => [part, part.getBoundingClientRect()])
              .filter(([, { width, height }]) => width && Math.min(width, height) < least - 0.5)
              .map(([part, { width, height }]) =>
                `${part.outerHTML.slice(0, 120)}: ${width} x ${height}`)""",
            TARGET,
        )
    assert small == dict.fromkeys(ALL_TABS, [])
    context.close()


def test_what_was_painted_is_said(page: Page):
    tab = "mask-to-image"
    heard = page.locator(f"#{tab}-result .heard")
    expect(heard).to_have_attribute("role", "status")
    with repainted(page, tab):
        page.locator(f"#{tab}-gallery button.thumbnail-item").nth(3).click()
    expect(heard).to_have_text("The picture is painted: example 1, with look 4.")
    with repainted(page, tab):
        page.locator(f"#{tab}-examples button.thumbnail-item").nth(2).click()
    expect(heard).to_have_text("The picture is painted: example 3, with look 4.")


def test_everything_is_done_by_keys(page: Page):
    tab = "mask-to-image"
    page.locator(f"#{tab}-canvas .chip[tabindex='0']").focus()
    for _ in range(30):  # of the pictures to choose from each list is one stop
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == f"{tab}-paint":
            break
    else:
        raise AssertionError("30 stops, and the button is not reached")
    look = page.get_by_role("button", name="Look 4", exact=True)
    page.get_by_role("button", name="Look 2", exact=True).press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(look).to_be_focused()
    with repainted(page, tab):
        page.keyboard.press("Enter")
    expect(look).to_have_attribute("aria-pressed", "true")
    with repainted(page, tab):
        page.get_by_role("button", name="Example 3", exact=True).press("Enter")
    strip = page.locator(f"#{tab}-moments .past button")
    expect(strip).to_have_count(2)
    with repainted(page, tab):
        strip.last.press("Enter")
    expect(look).to_have_attribute("aria-pressed", "true")
    page.get_by_role("tab", name=MAKEUP, exact=True).press("Enter")
    expect(page).to_have_url(re.compile("#layers"))
