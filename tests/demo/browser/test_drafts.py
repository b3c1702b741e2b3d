"""While the hand is at work a picture of the model's own size comes first, then the full one."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from studio.painters import ENLARGED, DemoResult, Painter

from tests.support import tiny
from tests.support.browsing import drag, opened_at, painted, result, state
from tests.support.demo_page import CONDITIONS, SIZE, served

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TAB = "mask-to-image"


class RecordingPainter(Painter):
    """Writes down what it is asked for."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.made: list[str] = []

    def draft(self, *arguments: Any, **knobs: Any) -> Image.Image:
        """As any painter does."""
        self.made.append("draft")
        return super().draft(*arguments, **knobs)

    def paint(self, *arguments: Any, **knobs: Any) -> DemoResult:
        """As any painter does."""
        self.made.append("whole")
        return super().paint(*arguments, **knobs)


@pytest.fixture
def drafting(browser: Browser) -> Iterator[tuple[Page, RecordingPainter]]:
    """A page whose tab of masks blends, and its painter."""
    painter = RecordingPainter(tiny.blending_pipeline(CONDITIONS[TAB], SIZE))
    with served(dict.fromkeys(CONDITIONS) | {TAB: painter}) as address:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = opened_at(context.new_page(), address)
        painter.made.clear()
        yield page, painter
        context.close()


def test_a_stroke_is_shown_small_and_when_the_hand_rests_whole(
    drafting: tuple[Page, RecordingPainter],
):
    page, painter = drafting
    page.evaluate(
        f"""() => {{
          window.widths = [];
          const picture = document.querySelector("#{TAB}-result .painted img");
          picture.addEventListener("load", () => window.widths.push(picture.naturalWidth));
        }}"""
    )
    drag(page, page.locator(f"#{TAB}-canvas canvas"), (0.1, 0.3), (0.9, 0.3))
    expect(result(page, TAB)).to_have_attribute("src", re.compile("picture.jpg$"))
    assert painted(page, TAB).shape[:2] == (ENLARGED * SIZE, ENLARGED * SIZE)
    *drafts, whole = painter.made
    assert set(drafts) == {"draft"}
    assert whole == "whole"
    *small, large = page.evaluate("window.widths")
    assert set(small) == {SIZE}
    assert large == ENLARGED * SIZE


def test_the_button_paints_the_whole_picture(drafting: tuple[Page, RecordingPainter]):
    page, painter = drafting
    page.locator(f"#{TAB}-paint").click()
    expect(state(page, TAB)).to_have_attribute("data-state", "fresh")
    expect(result(page, TAB)).not_to_have_attribute("src", re.compile("^data:"))
    assert painter.made == ["whole"]
