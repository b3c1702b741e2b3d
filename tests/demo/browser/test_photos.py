"""A visitor's photo as what is painted from: its clothes, its regions, its edges and its pose."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from skimage import data
from studio.gallery import CONDITION_FILE, FOLDER, gallery_of, standing_figure
from studio.inputs import read_drawing, read_photo
from studio.mask_tab import on_canvas
from studio.painters import Painter
from studio.pose_tab import figure

from cocosnet_hf import condition_from_config
from cocosnet_hf.photos import crop_to_face, crop_to_person
from tests.support import tiny
from tests.support.browsing import open_tab, opened_at, read, repainted, upload
from tests.support.demo_page import CONDITIONS, SIZE, served

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """Somebody in the middle of a wide photo."""
    person = gallery_of("pose-to-body", CONDITIONS["pose-to-body"])[3].picture
    photo = Image.new("RGB", (2 * person.width, person.height + 40), (70, 120, 90))
    photo.paste(person, (person.width // 2, 20))
    photo.save(tmp_path / "street.png")
    return tmp_path / "street.png"


def on_page(page: Page, tab: str) -> np.ndarray:
    """What lies on a canvas, as it is sent."""
    board = page.locator(f"#{tab}-canvas .board")
    return np.asarray(read_drawing(board.evaluate("board => board.editor.value()")))


def test_clothes_of_a_photo_are_painted_from_and_its_person_is_cut_out(
    browser: Browser, street: Path
):
    tab = "mask-to-image"
    condition = condition_from_config(json.loads((FOLDER / tab / CONDITION_FILE).read_text()))
    painter = Painter(tiny.pipeline(condition, SIZE, mix_condition=False))
    with served(dict.fromkeys(CONDITIONS) | {tab: painter}) as address:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = opened_at(context.new_page(), address)
        before = on_page(page, tab)
        photo = page.get_by_role("button", name="Take a photo's figure")
        with repainted(page, tab), page.expect_file_chooser() as chooser:
            photo.click()
            chooser.value.set_files(street)
        with Image.open(street) as opened:
            person = crop_to_person(opened)
        expect(page.locator(f"#{tab}-examples .selected")).to_have_count(0)
        expected = on_canvas(condition.from_photo(person), condition)
        assert np.array_equal(on_page(page, tab), read_drawing(expected))
        with repainted(page, tab):
            page.locator(f"#{tab}-canvas [data-do=undo]").click()
        assert np.array_equal(on_page(page, tab), before)
        with repainted(page, tab):
            upload(page, f"#{tab}-exemplar-upload", street)
            expect(page.locator(f"#{tab}-unfit")).to_be_visible()
        look = read(page, page.locator(f"#{tab}-exemplar img"))
        assert (look[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
        with repainted(page, tab):  # the clothes of one's own look are known as well
            page.locator(f"#{tab}-edit").click()
        expect(page.locator(f"#{tab}-keep input")).to_be_checked()
        context.close()


def test_regions_of_a_photo_are_painted_from(page: Page, uploads: Path):
    tab = "mask-to-landscape"
    open_tab(page, tab)
    condition = CONDITIONS[tab]
    file = uploads / "photo.jpg"
    gallery_of(tab, condition)[4].picture.save(file, quality=95)
    with repainted(page, tab), page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Take a photo's regions").locator("visible=true").click()
        chooser.value.set_files(file)
    photo = read_photo({"path": str(file)}, "photo")
    expected = on_canvas(condition.from_photo(photo), condition)
    assert np.array_equal(on_page(page, tab), read_drawing(expected))


def test_edges_of_a_photo_are_those_of_its_face_until_that_is_undone(page: Page, tmp_path: Path):
    tab = "edge-to-face"
    open_tab(page, tab)
    whole = Image.fromarray(data.astronaut())
    whole.save(tmp_path / "portrait.png")
    undo, kept = page.locator(f"#{tab}-uncrop"), page.locator(f"#{tab}-photo img")
    with repainted(page, tab):
        upload(page, f"#{tab}-upload", tmp_path / "portrait.png")
        expect(undo).to_be_visible()
    assert np.array_equal(read(page, kept), crop_to_face(whole))
    with repainted(page, tab):
        undo.click()
    assert np.array_equal(read(page, kept), whole)
    expect(undo).to_be_hidden()
    with repainted(page, tab):
        page.locator(f"#{tab}-crop").click()
    assert np.array_equal(read(page, kept), crop_to_face(whole))


def test_the_pose_of_a_photo_is_taken(page: Page, street: Path, tmp_path: Path):
    tab = "pose-to-body"
    open_tab(page, tab)
    condition = CONDITIONS[tab]
    svg = page.locator(f"#{tab}-pose .stage svg")

    def joints() -> np.ndarray:
        value = page.locator(f"#{tab}-pose .board").evaluate("board => board.editor.value()")
        return np.array(value["joints"]) / (*value["size"], 1)

    before = joints()
    with repainted(page, tab):
        upload(page, f"#{tab}-photo", street)
    expect(page.locator(f"#{tab}-examples .selected")).to_have_count(0)
    expected = figure(condition.from_photo(street), condition)
    assert np.allclose(joints(), np.array(expected["joints"]) / (*expected["size"], 1), atol=1e-3)
    expect(svg.locator("image")).to_have_count(1)  # beneath, to be seen
    with repainted(page, tab):
        page.locator(f"#{tab}-pose [data-do=undo]").click()
    assert np.array_equal(joints(), before)
    Image.new("RGB", (96, 64), (90, 140, 200)).save(tmp_path / "sky.png")
    upload(page, f"#{tab}-photo", tmp_path / "sky.png")
    expect(page.locator(".toast-body")).to_contain_text("drag the joints onto this photo")
    expect(svg).to_have_attribute("viewBox", "0 0 96 64")
    assert np.allclose(joints()[:, :2], standing_figure(), atol=1e-3)
    expect(page.locator(".toast-body")).to_have_count(0)
    upload(page, f"#{tab}-exemplar-upload", tmp_path / "sky.png")
    expect(page.locator(".toast-body")).to_contain_text("No person is seen")
    expect(page.locator(".toast-body")).to_have_count(1)  # it is told once, and then what to do
    expect(page.locator(f"#{tab}-result .busy")).to_contain_text("open “Joints of the look”")
