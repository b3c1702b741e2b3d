"""The editors as a visitor uses them: by mouse, by finger and by keyboard, in a real Chromium."""

import json
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor
from playwright.sync_api import Browser, Page, expect
from studio.edge_tab import line_width
from studio.gallery import gallery_of
from studio.inputs import as_canvas, as_url, read_drawing
from studio.layer_tab import FIRST_PHOTOS, LIPS
from studio.mask_tab import largest
from studio.painters import Painter

from tests.support import tiny
from tests.support.browsing import MAKEUP, canvas_color, drag, open_tab, opened_at, read, result
from tests.support.demo_page import CONDITIONS, SIZE, served
from tests.support.pictures import whole_picture

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def sent(page: Page, editor: str) -> dict[str, Any]:
    """What an editor told last, as the browser keeps it."""
    return json.loads(page.evaluate(f"localStorage.getItem('cocosnet-{editor}')"))["value"]


def test_a_stroke_paints_at_once_by_mouse_and_by_keys(page: Page):
    tab = "mask-to-image"
    condition = CONDITIONS[tab]
    first = largest(gallery_of(tab, condition).layout.condition, condition)
    chips = page.locator(f"#{tab}-canvas .chip")
    expect(chips.nth(first)).to_have_attribute("aria-checked", "true")
    assert chips.evaluate_all("all => all.filter((chip) => chip.tabIndex === 0).length") == 1
    chips.nth(first).press("ArrowRight")
    second = (first + 1) % chips.count()
    expect(chips.nth(second)).to_be_focused()
    canvas = page.locator(f"#{tab}-canvas canvas")
    canvas.press("Space")
    color = [*condition.palette[second].tolist(), 255]
    assert canvas_color(page, tab, 0.5, 0.5) == color
    for _ in range(3):
        canvas.press("Shift+ArrowRight")
    assert canvas_color(page, tab, 0.6, 0.5) == color
    name = condition.classes[second].replace("_", " ")
    expect(page.locator(f"#{tab}-canvas .said")).to_have_text(f"{name}, 62 % across, 50 % down")


def test_what_is_drawn_survives_another_threshold_and_a_reload(page: Page):
    tab = "edge-to-face"
    open_tab(page, tab)
    editor = f"{tab}-canvas"
    canvas = page.locator(f"#{editor} canvas")
    page.locator(f"#{editor} [data-do=clear]").click()
    drag(page, canvas, (0.2, 0.5), (0.8, 0.5))
    drawn = np.asarray(read_drawing(sent(page, editor)))[..., 3] > 0
    width = line_width(SIZE, SIZE)  # as wide as lines that are found
    assert set(drawn.sum(0)[60:200]) == {width}
    page.locator(f"#{editor} [data-do=undo]").click()
    page.locator(f"#{editor} [data-do=undo]").click()
    drag(page, canvas, (0.2, 0.5), (0.8, 0.5))
    told = sent(page, editor)["start"]["image"]
    page.locator(f"#{tab}-threshold input[type=range]").press("End")
    page.wait_for_function(
        f"JSON.parse(localStorage['cocosnet-{editor}']).value.start.image !== '{told}'"
    )
    after = read_drawing(sent(page, editor))
    assert (np.asarray(after)[..., 3] > 0)[drawn].all()
    page.reload()
    expect(page).to_have_url(re.compile(f"#{tab}"))
    page.wait_for_function(
        f"document.querySelector('#{editor} [data-do=undo]')?.disabled === false"
    )
    page.wait_for_function(  # the layers of the canvas are decoded one by one
        """editor => {
          const canvas = document.querySelector(`#${editor} canvas`);
          const [x, y] = [canvas.width / 2, canvas.height / 2 - 3];
          const rows = canvas.getContext("2d").getImageData(x, y, 1, 6).data;
          return rows.some((value, at) => at % 4 === 3 && value > 100);
        }""",  # a line is thin, and its border is soft
        arg=editor,
    )


def test_limbs_keep_their_lengths_and_take_along_what_hangs_on_them(page: Page):
    tab = "pose-to-body"
    open_tab(page, tab)
    figure = page.locator(f"#{tab}-pose .stage svg")
    figure.wait_for()

    def joints() -> np.ndarray:
        return np.array(
            figure.locator(".joint").evaluate_all(
                "all => all.map((dot) => [+dot.getAttribute('cx'), +dot.getAttribute('cy')])"
            )
        )

    before = joints()
    elbow = figure.locator("[data-joint='3']").bounding_box()
    # From a place beside the joint that a finger would hit.
    x, y = elbow["x"] + elbow["width"] / 2 - 14, elbow["y"] + elbow["height"] / 2 + 4
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y - 60, steps=6)
    page.mouse.up()
    after = joints()
    assert np.hypot(*(after[3] - before[3])) > 5 and np.hypot(*(after[4] - before[4])) > 5
    for joint, parent in ((3, 2), (4, 3)):
        lengths = [np.hypot(*(each[joint] - each[parent])) for each in (before, after)]
        assert lengths[0] == pytest.approx(lengths[1], abs=0.01)
    others = [joint for joint in range(18) if joint not in (3, 4)]
    assert np.array_equal(before[others], after[others])
    page.locator(f"#{tab}-pose [data-do=lengths]").click()
    drag(page, figure.locator("[data-joint='4']"), (0.5, 0.5), (0.5, 20))
    stretched = np.hypot(*(joints()[4] - joints()[3]))
    assert lengths[0] * 0.5 - 0.01 <= stretched <= lengths[0] * 1.25 + 0.01
    page.locator(f"#{tab}-pose [data-do=reset]").click()
    assert np.array_equal(joints(), before)


def test_a_cleared_canvas_is_no_error(page: Page):
    tab = "mask-to-image"
    page.locator(f"#{tab}-live input").check()
    page.locator(f"#{tab}-canvas .board[data-live=true]").wait_for()
    page.locator(f"#{tab}-canvas [data-do=clear]").click()
    page.wait_for_timeout(1000)
    expect(page.locator(".toast-body")).to_have_count(0)


def test_large_photos_are_made_smaller_before_they_are_sent(page: Page):
    tab = "edge-to-face"
    open_tab(page, tab)
    shown = page.locator(f"#{tab}-exemplar img")
    source = shown.get_attribute("src")
    dropped = page.evaluate_handle(
        """async (address) => {
          const transfer = new DataTransfer();
          const blob = await (await fetch(address)).blob();
          transfer.items.add(new File([blob], "phone.jpg", { type: "image/jpeg" }));
          return transfer;
        }""",
        as_url(Image.new("RGB", (4000, 3000), "teal")),
    )
    shown.dispatch_event("drop", {"dataTransfer": dropped})
    expect(shown).not_to_have_attribute("src", source)
    assert read(page, shown).shape == (1536, 2048, 3)


def test_makeup_is_worn_while_it_is_painted(page: Page):
    open_tab(page, MAKEUP)
    faces = page.locator("#layers-results .face")
    faces.first.wait_for()
    assert faces.count() == 6
    alpha = (
        "canvas => [...canvas.getContext('2d').getImageData(0, 0, 256, 256).data]"
        ".filter((_, place) => place % 4 === 3).reduce((sum, level) => sum + level)"
    )
    layer = faces.first.locator("canvas")
    page.locator("#layers-canvas [data-do=clear]").click()
    page.wait_for_function(f"({alpha})(document.querySelector('#layers-results canvas')) === 0")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#layers-canvas [data-tool=fill]").click()
    page.locator("#layers-canvas canvas").click()
    page.wait_for_function(f"({alpha})(document.querySelector('#layers-results canvas')) > 0")
    assert layer.evaluate(alpha) == 255 * 256 * 256
    page.locator("#layers-results input[type=range]").evaluate(
        "range => { range.value = 0.3; range.dispatchEvent(new Event('input')); }"
    )
    opacity = "canvas => getComputedStyle(canvas).opacity"
    assert layer.evaluate(opacity) == "0.3"
    hold = faces.first.locator(".hold")
    hold.hover()
    page.mouse.down()
    assert layer.evaluate(opacity) == "0"
    page.mouse.up()
    assert layer.evaluate(opacity) == "0.3"
    assert asked == []
    with page.expect_download() as download:
        faces.first.locator(".save").click()
    photo = gallery_of("edge-to-face", CONDITIONS["edge-to-face"])[FIRST_PHOTOS[0]].picture
    saved = np.asarray(Image.open(download.value.path()).convert("RGB"), int)
    expected = 0.7 * np.asarray(photo, float) + 0.3 * np.array(ImageColor.getrgb(LIPS))
    assert np.abs(saved - expected).max() <= 2


def test_makeup_opens_with_what_is_worn_and_asks_nobody(browser: Browser):
    painter = Painter(tiny.pipeline(CONDITIONS["edge-to-face"], SIZE), is_bundled=True)
    with served(dict.fromkeys(CONDITIONS) | {"edge-to-face": painter}) as address:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}#layers")
        faces = page.locator("#layers-results .face")
        expect(faces).to_have_count(len(FIRST_PHOTOS))
        expect(page.locator("#layers-results .said")).to_have_text("Worn by 6 portraits")
        page.wait_for_function(
            "[...document.querySelectorAll('#layers-results canvas')].every((canvas) =>"
            " canvas.getContext('2d').getImageData(0, 0, 256, 256).data.some((level) => level))"
        )
        assert all(
            image.evaluate("image => image.complete && image.naturalWidth > 0")
            for image in faces.locator("img").all()
        )
        assert not [url for url in asked if "queue/join" in url]
        boxes = [face.bounding_box() for face in faces.all()]
        assert min(box["width"] for box in boxes) >= 180
        assert len({round(box["height"]) for box in boxes}) == 1
        open_tab(page, "edge-to-face")  # its pictures are no part of the page either
        picture = result(page, "edge-to-face")
        expect(picture).to_have_js_property("naturalWidth", 512)
        assert "/gallery/" in picture.get_attribute("src")
        with page.expect_download() as download:
            page.locator("#edge-to-face-download").click()
        assert whole_picture(download.value.path()).size == (512, 512)
        assert len(page.context.request.get(address).body()) < 900_000
        context.close()


def test_a_thumb_scrolls_past_the_canvas(browser: Browser, address: str):
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = opened_at(context.new_page(), address)
    stage, canvas = (page.locator(f"#mask-to-image-canvas {part}") for part in (".stage", "canvas"))
    assert stage.bounding_box()["width"] - canvas.bounding_box()["width"] >= 44
    assert canvas.evaluate("canvas => getComputedStyle(canvas).touchAction") == "pinch-zoom"
    buttons = page.locator("#mask-to-image-canvas button")
    for box in (buttons.nth(place).bounding_box() for place in range(buttons.count())):
        assert min(box["width"], box["height"]) >= 44
    context.close()


def test_a_canvas_of_another_model_is_not_brought_back(page: Page):
    tab = "mask-to-image"
    red = as_canvas(Image.new("RGBA", (SIZE, SIZE), "red"))
    kept = json.dumps({"belongs": "other classes", "value": red})
    page.evaluate(f"(kept) => localStorage.setItem('cocosnet-{tab}-canvas', kept)", kept)
    page.reload()
    page.locator(f"#{tab}-canvas .chip[aria-checked=true]").wait_for()
    page.wait_for_timeout(500)
    expect(page.locator(f"#{tab}-canvas [data-do=undo]")).to_be_disabled()
