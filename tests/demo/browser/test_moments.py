"""What outlives a painting: the strip of the last ones, links, and files to take away."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from studio.gallery import gallery_of
from studio.inputs import read_drawing, read_keypoints
from studio.layer_tab import FIRST_PHOTOS
from studio.mask_tab import largest, on_canvas
from studio.painters import Painter

from tests.support import tiny
from tests.support.browsing import (
    MAKEUP,
    be_live,
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
from tests.support.demo_page import CONDITIONS, SIZE, served
from tests.support.pictures import whole_picture

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def choose(page: Page, tab: str, part: str, place: int) -> None:
    with repainted(page, tab):
        page.locator(f"#{tab}-{part} button.thumbnail-item").nth(place).click()


def saved(page: Page, tab: str, what: str, board: str = "moments") -> str:
    with page.expect_download() as download:
        page.locator(f"#{tab}-{board} [data-take={what}]").click()
    return download.value.path()


def test_a_link_opens_the_tab_layout_and_look_that_it_was_made_on(page: Page, address: str):
    tab = "edge-to-face"
    open_tab(page, tab)
    choose(page, tab, "gallery", 4)
    choose(page, tab, "examples", 3)
    with repainted(page, tab):
        page.locator(f"#{tab}-threshold input[type=number]").fill("0.3")
    expect(page).to_have_url(re.compile(rf"#{tab}\?layout=3&look=4&contrast=0.3$"))
    source, link = result(page, tab).get_attribute("src"), page.url
    visitor = page.context.browser.new_context(viewport={"width": 1280, "height": 900})
    other = visitor.new_page()
    opened_at(other, address)
    other.goto("about:blank")
    other.goto(link)
    expect(result(other, tab)).to_have_attribute("src", source)
    expect(other.locator(f"#{tab}-gallery button.thumbnail-item").nth(4)).to_have_class(
        re.compile("selected")
    )
    visitor.close()


def test_a_drawing_outlives_a_reload_with_the_rest_of_the_link(page: Page):
    tab = "mask-to-image"
    choose(page, tab, "gallery", 5)
    with repainted(page, tab):
        drag(page, page.locator(f"#{tab}-canvas canvas"), (0.1, 0.3), (0.9, 0.3))
    source = result(page, tab).get_attribute("src")
    page.reload()
    expect(result(page, tab)).to_have_attribute("src", source)


def test_the_last_eight_pictures_are_kept_and_one_is_gone_on_from(page: Page, tmp_path: Path):
    tab = "mask-to-image"
    strip = page.locator(f"#{tab}-moments .past button")
    expect(strip).to_have_count(0)
    Image.new("RGB", (96, 96), (250, 10, 20)).save(tmp_path / "red.png")
    with repainted(page, tab):
        upload(page, f"#{tab}-exemplar-upload", tmp_path / "red.png")
    with repainted(page, tab):
        drag(page, page.locator(f"#{tab}-canvas canvas"), (0.1, 0.3), (0.9, 0.3))
    expect(strip).to_have_count(1)  # a stroke goes on with the same picture
    red = result(page, tab).get_attribute("src")
    for place in range(2, 8):
        choose(page, tab, "gallery", place)
    expect(strip).to_have_count(7)
    page.reload()
    expect(strip).to_have_count(7)
    be_live(page, tab, False)
    strip.last.click()
    expect(result(page, tab)).to_have_attribute("src", red)
    expect(state(page, tab)).to_have_attribute("data-state", "fresh")
    expect(strip.last).to_have_attribute("aria-pressed", "true")
    assert (read(page, page.locator(f"#{tab}-exemplar img")) == (250, 10, 20)).all()
    be_live(page, tab, True)
    for place in (1, 0):
        choose(page, tab, "gallery", place)
    expect(strip).to_have_count(8)


def test_layout_look_and_a_strip_are_saved(page: Page):
    tab = "mask-to-image"
    condition = CONDITIONS[tab]
    gallery = gallery_of(tab, condition)
    layout = whole_picture(saved(page, tab, "layout"))
    drawn = read_drawing(on_canvas(gallery.layout.condition, condition))
    assert np.array_equal(layout.convert("RGBA"), drawn)
    look = whole_picture(saved(page, tab, "look")).convert("RGB")
    assert np.array_equal(look, gallery.look.picture)
    strip = np.asarray(whole_picture(saved(page, tab, "strip")).convert("RGB"))
    assert strip.shape == (SIZE, 3 * SIZE + 24, 3)
    assert np.array_equal(strip[:, -SIZE:], painted(page, tab))


def test_a_figure_is_saved_as_a_file_that_can_be_uploaded(page: Page, uploads: Path):
    tab = "pose-to-body"
    open_tab(page, tab)
    figure = page.locator(f"#{tab}-pose .board").evaluate("board => board.editor.value()")
    file = uploads / "pose.json"
    file.write_bytes(Path(saved(page, tab, "layout")).read_bytes())
    pose = read_keypoints({"path": str(file)})
    shares = np.array(figure["joints"])[:, :2] / figure["size"]
    assert np.allclose(pose.joints[:, :2] / pose.size[::-1], shares, atol=0.001)


def test_a_link_is_copied_and_says_what_it_cannot_hold(page: Page, tmp_path: Path):
    tab = "mask-to-image"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    Image.new("RGB", (96, 96), (250, 10, 20)).save(tmp_path / "red.png")
    with repainted(page, tab):
        upload(page, f"#{tab}-exemplar-upload", tmp_path / "red.png")
    page.locator(f"#{tab}-moments [data-take=link]").click()
    expect(page.locator(f"#{tab}-moments .told")).to_contain_text("cannot hold your photo")
    assert page.evaluate("navigator.clipboard.readText()") == page.url


def test_a_link_opens_the_portrait_of_makeup_and_all_faces_are_saved(page: Page, address: str):
    open_tab(page, MAKEUP)
    faces = page.locator("#layers-results .face img")
    expect(faces).to_have_count(len(FIRST_PHOTOS))
    page.locator("#layers-gallery button.thumbnail-item").nth(3).click()
    expect(page).to_have_url(re.compile(r"#layers\?portrait=3&strength=0.8$"))
    page.locator("#layers-results input[type=range]").press("End")
    expect(page).to_have_url(re.compile(r"portrait=3&strength=1$"))
    strip = whole_picture(saved(page, "layers", "strip", "results")).convert("RGB")
    count = len(FIRST_PHOTOS) + 1
    assert strip.size == (count * 512 + (count - 1) * 12, 512)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#layers-results [data-take=link]").click()
    expect(page.locator("#layers-results .told")).to_contain_text("cannot hold what you painted")
    link = page.evaluate("navigator.clipboard.readText()")
    visitor = page.context.browser.new_context(viewport={"width": 1280, "height": 900})
    other = visitor.new_page()
    opened_at(other, address)
    other.goto("about:blank")
    other.goto(link)
    third = other.locator("#layers-gallery button.thumbnail-item").nth(3)
    expect(third).to_have_class(re.compile("selected"))
    expect(other.locator("#layers-results input[type=range]")).to_have_js_property("value", "1")
    visitor.close()


def test_the_chosen_parts_come_from_a_second_look(browser: Browser):
    tab = "mask-to-image"
    condition = CONDITIONS[tab]
    pipe = tiny.blending_pipeline(condition, SIZE, mix_condition=False)
    with served(dict.fromkeys(CONDITIONS) | {tab: Painter(pipe)}) as address:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = opened_at(context.new_page(), address)
        page.locator(f"#{tab}-second-look button").first.click()
        with repainted(page, tab):
            page.locator(f"#{tab}-second-gallery button.thumbnail-item").nth(5).click()
        first = largest(gallery_of(tab, condition).layout.condition, condition)
        expect(page).to_have_url(re.compile(rf"second=5&taken={first}&strength=0.5$"))
        with repainted(page, tab):
            page.locator(f"#{tab}-second-taken label").last.click()
        expect(page).to_have_url(re.compile(rf"taken={first}\.\d+&"))
        box = result(page, tab).bounding_box()
        said = page.locator(f"#{tab}-result .said")
        heard = set()
        for y in range(1, 20):
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + y * box["height"] / 20)
            heard.add("second look" in said.inner_text())
        assert heard == {True, False}
        with repainted(page, tab):
            page.locator(f"#{tab}-second-drop").click()
        expect(page).not_to_have_url(re.compile("second"))
        context.close()
