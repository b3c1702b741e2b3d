"""The demo as a visitor sees it, in a real headless Chromium."""

import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.browser
if CHROMIUM is None:
    pytest.skip("no chromium; install Debian's chromium", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("gradio", reason="needs the extra demo")

from demo_page import CONDITIONS, SIZE, painters, served  # noqa: E402
from playwright.sync_api import Browser, Locator, Page, expect  # noqa: E402
from studio.gallery import gallery_of  # noqa: E402
from studio.painters import Painter, Painting  # noqa: E402

SETTINGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 30_000
TABS = {
    "mask-to-image": "Mask to image",
    "edge-to-face": "Edge to face",
    "pose-to-body": "Pose to body",
}
VIEWS = {"Compare": "slider", "Warped": "warped", "Certainty": "confidence", "Flow": "flow"}
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(painters()) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=SETTINGS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    yield opened_at(opened, address)
    context.close()


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


def painted(page: Page, tab: str) -> np.ndarray:
    """The result, once it is there."""
    shown = page.locator(f"#{tab}-result img")
    shown.wait_for()
    return read(page, shown)


def downloaded(page: Page, tab: str) -> np.ndarray:
    """The result as it is downloaded."""
    with page.expect_download() as download:
        page.locator(f"#{tab}-download").click()
    return np.asarray(Image.open(download.value.path()).convert("RGB"))


def read(page: Page, shown: Locator) -> np.ndarray:
    file = page.context.request.get(shown.get_attribute("src")).body()
    return np.asarray(Image.open(BytesIO(file)).convert("RGB"))


def canvas_color(page: Page, tab: str, x: float, y: float) -> list[int]:
    return page.locator(f"#{tab}-canvas canvas").evaluate(
        "(canvas, [x, y]) => [...canvas.getContext('2d').getImageData("
        "x * canvas.width, y * canvas.height, 1, 1).data]",
        [x, y],
    )


@pytest.mark.parametrize("tab", TABS)
def test_each_tab_leads_from_its_first_sight_to_a_picture(page: Page, tab: str):
    open_tab(page, tab)
    page.locator(f"#{tab}-paint").click()
    assert painted(page, tab).shape[0] >= 300
    page.locator(f"#{tab}-match img").wait_for()
    assert downloaded(page, tab).shape == (SIZE, SIZE, 3)
    expect(page.locator(f"#{tab}-note")).to_contain_text("in the exemplar")
    for view, name in VIEWS.items():
        page.get_by_role("tab", name=view).locator("visible=true").click()
        page.locator(f"#{tab}-{name} img").first.wait_for()
    assert page.complaints == []


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

    def paint(self, *arguments: Any, **settings: Any) -> Painting:
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


def test_a_painting_that_takes_a_while_is_seen_to_be_made(slow_page: tuple[Page, SlowPainter]):
    (page, slow), tab = slow_page, "mask-to-image"
    progress = page.locator(f"#{tab}-result .progress-text")
    expect(progress).not_to_be_visible()
    page.locator(f"#{tab}-paint").click()
    expect(progress).to_be_visible()
    slow.may_paint.set()
    painted(page, tab)
    expect(progress).not_to_be_visible()


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


@pytest.mark.parametrize("tab", ["mask-to-image", "edge-to-face"])
def test_an_edited_picture_changes_only_where_its_layout_does(page: Page, tab: str):
    open_tab(page, tab)
    exemplar = page.locator(f"#{tab}-exemplar img")
    source = exemplar.get_attribute("src")
    page.locator(f"#{tab}-gallery button.thumbnail-item").nth(3).click()
    expect(exemplar).not_to_have_attribute("src", source)
    page.locator(f"#{tab}-edit").click()
    keep = page.locator(f"#{tab}-keep input")
    expect(keep).to_be_checked()
    page.locator(f"#{tab}-paint").click()
    painted(page, tab)
    photo = np.asarray(gallery_of(tab, CONDITIONS[tab])[3].picture)
    expect(page.locator(f"#{tab}-download")).to_be_enabled()
    assert np.array_equal(downloaded(page, tab), photo)
    source = page.locator(f"#{tab}-result img").get_attribute("src")
    page.locator(f"#{tab}-canvas .chip").last.dispatch_event("click")
    drag(page, page.locator(f"#{tab}-canvas canvas"), (0.1, 0.1), (0.25, 0.1))
    page.locator(f"#{tab}-paint").click()
    expect(page.locator(f"#{tab}-result img")).not_to_have_attribute("src", source)
    different, end = np.zeros(1, bool), time.monotonic() + PATIENCE / 1000
    while not different.any() and time.monotonic() < end:  # the file follows the picture
        different = (downloaded(page, tab) != photo).any(2)
    side = len(different)
    assert different[side // 20 : side // 7].any() and not different[3 * side // 4 :].any()
    page.locator(f"#{tab}-gallery button.thumbnail-item").nth(2).click()
    expect(keep).not_to_be_checked()


def test_an_uploaded_picture_is_edited_from_its_label_map(page: Page, tmp_path: Path):
    tab = "mask-to-image"
    photo = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    Image.fromarray(np.tri(SIZE, dtype=np.uint8)).save(tmp_path / "labels.png")
    page.locator(f"#{tab}-exemplar button[aria-label='Remove Image']").click()
    upload(page, f"#{tab}-exemplar button.upload-container", tmp_path / "photo.png")
    page.locator(f"#{tab}-exemplar img[src*='photo.png']").wait_for()
    page.locator(f"#{tab}-edit").click()
    expect(page.locator(".toast-body")).to_contain_text("upload it in step 1")
    upload(page, f"#{tab}-upload", tmp_path / "labels.png")
    expect(page.locator(f"#{tab}-canvas [data-do=undo]")).to_be_enabled()
    page.locator(f"#{tab}-keep input").check()
    page.locator(f"#{tab}-paint").click()
    painted(page, tab)
    expect(page.locator(f"#{tab}-download")).to_be_enabled()
    assert np.array_equal(downloaded(page, tab), photo)


def test_a_figure_is_edited_from_the_exemplars_own_pose(page: Page):
    tab = "pose-to-body"
    open_tab(page, tab)
    exemplar = page.locator(f"#{tab}-exemplar img")
    source = exemplar.get_attribute("src")
    page.locator(f"#{tab}-gallery button.thumbnail-item").nth(3).click()
    expect(exemplar).not_to_have_attribute("src", source)
    page.locator(f"#{tab}-edit").click()
    expected = gallery_of(tab, CONDITIONS[tab])[3].condition.joints[0, 0]
    nose = page.locator(f"#{tab}-pose .stage svg [data-joint='0']")
    expect(nose).to_have_attribute("cx", str(round(expected, 2)))
    expect(page.locator(f"#{tab}-pose .stage svg image")).to_have_count(1)


@pytest.mark.parametrize("tab", TABS)
def test_an_example_is_a_click_away(page: Page, tab: str):
    open_tab(page, tab)
    undo = page.locator(f"#{tab}-{'pose' if tab == 'pose-to-body' else 'canvas'} [data-do=undo]")
    keep = page.locator(f"#{tab}-keep input")
    expect(undo).to_be_disabled()
    if tab != "pose-to-body":
        keep.check()
    page.locator(f"#{tab}-examples button.thumbnail-item").nth(2).click()
    expect(undo).to_be_enabled()
    if tab != "pose-to-body":
        expect(keep).not_to_be_checked()  # it is no change of the exemplar's own layout
    page.locator(f"#{tab}-paint").click()
    painted(page, tab)
    assert page.complaints == []


def test_a_label_map_is_uploaded(page: Page, tmp_path: Path):
    tab = "mask-to-image"
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[:, SIZE // 2 :] = 3
    Image.fromarray(labels).save(tmp_path / "labels.png")
    upload(page, f"#{tab}-upload", tmp_path / "labels.png")
    expect(page.locator(f"#{tab}-canvas [data-do=undo]")).to_be_enabled()
    colors = [canvas_color(page, tab, x, 0.5) for x in (0.25, 0.75)]
    assert colors == [[*CONDITIONS[tab].palette[label].tolist(), 255] for label in (0, 3)]


def test_a_photo_is_uploaded_and_its_edges_are_found(page: Page, tmp_path: Path):
    tab = "edge-to-face"
    open_tab(page, tab)
    photo = Image.new("RGB", (96, 96), "white")
    photo.paste((0, 0, 0), (24, 24, 72, 72))
    photo.save(tmp_path / "square.png")
    upload(page, f"#{tab}-upload", tmp_path / "square.png")
    expect(page.locator(f"#{tab}-canvas [data-do=undo]")).to_be_enabled()
    row = [canvas_color(page, tab, x / 100, 0.5)[3] for x in range(100)]
    assert row[50] == 0 and 2 <= sum(alpha > 0 for alpha in row) <= 8


def test_the_threshold_changes_the_lines_of_the_photo(page: Page):
    tab = "edge-to-face"
    open_tab(page, tab)
    lines = (
        f"document.querySelector('#{tab}-canvas canvas').getContext('2d')"
        ".getImageData(0, 0, 256, 256).data.reduce((sum, level) => sum + level)"
    )
    before = page.evaluate(lines)
    slider = page.locator(f"#{tab}-threshold input[type=range]")
    for share, order in ((0.05, ">"), (0.95, "<")):
        drag(page, slider, (0.4, 0.5), (share, 0.5))
        page.wait_for_function(f"{lines} {order} {before}")


def test_an_exemplar_is_uploaded_and_painted_from(page: Page, tmp_path: Path):
    tab = "edge-to-face"
    open_tab(page, tab)
    Image.new("RGB", (96, 96), (250, 10, 20)).save(tmp_path / "red.png")
    page.locator(f"#{tab}-exemplar button[aria-label='Remove Image']").click()
    upload(page, f"#{tab}-exemplar button.upload-container", tmp_path / "red.png")
    page.locator(f"#{tab}-exemplar img[src*='red.png']").wait_for()
    page.locator(f"#{tab}-paint").click()
    painted(page, tab)
    page.get_by_role("tab", name="Warped").locator("visible=true").click()
    page.locator(f"#{tab}-warped img").wait_for()
    warped = read(page, page.locator(f"#{tab}-warped img"))
    assert np.abs(warped.astype(int) - (250, 10, 20)).max() <= 8


def test_a_file_that_is_no_picture_is_answered_with_a_message(page: Page, tmp_path: Path):
    (tmp_path / "notes.png").write_text("not a picture")
    tab = "mask-to-image"
    upload(page, f"#{tab}-upload", tmp_path / "notes.png")
    expect(page.locator(".toast-body")).to_contain_text("label map is not a picture")
    page.locator(f"#{tab}-canvas .chip").nth(2).click()  # nothing lies over it


def test_an_empty_canvas_is_answered_with_a_message(page: Page):
    page.locator("#mask-to-image-canvas [data-do=clear]").click()
    page.locator("#mask-to-image-paint").click()
    expect(page.locator(".toast-body")).to_contain_text("The canvas is empty")


def test_the_best_exemplar_is_found_for_an_example(page: Page):
    tab = "mask-to-image"
    page.locator(f"#{tab}-examples button.thumbnail-item").nth(3).click()
    expect(page.locator(f"#{tab}-canvas [data-do=undo]")).to_be_enabled()
    page.locator(f"#{tab}-suggest").click()
    first = page.locator(f"#{tab}-gallery .thumbnail-item").first
    expect(first).to_contain_text("%")
    share = int(first.inner_text().strip().rstrip("%"))
    assert share > 95


def test_joints_are_moved_hidden_and_mirrored(page: Page):
    tab = "pose-to-body"
    open_tab(page, tab)
    figure = page.locator(f"#{tab}-pose .stage svg")
    figure.wait_for()
    wrist = figure.locator("[data-joint='4']")
    before = float(wrist.get_attribute("cy"))
    box = wrist.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 20, box["y"] - 40, steps=5)
    page.mouse.up()
    assert float(wrist.get_attribute("cy")) < before - 5
    page.locator(f"#{tab}-pose [data-do=hide]").click()
    expect(wrist).to_have_attribute("aria-label", "right wrist (hidden)")
    x = float(figure.locator("[data-joint='0']").get_attribute("cx"))
    width = float(figure.get_attribute("viewBox").split()[2])
    page.locator(f"#{tab}-pose [data-do=mirror]").click()
    mirrored = float(figure.locator("[data-joint='0']").get_attribute("cx"))
    assert mirrored == pytest.approx(width - 1 - x, abs=0.01)
    expect(figure.locator("[data-joint='7']")).to_have_attribute(
        "aria-label", "left wrist (hidden)"
    )
    for _ in range(3):
        page.locator(f"#{tab}-pose [data-do=undo]").click()
    assert float(wrist.get_attribute("cy")) == pytest.approx(before, abs=0.01)


def test_keypoints_are_uploaded(page: Page, tmp_path: Path):
    tab = "pose-to-body"
    open_tab(page, tab)
    rows = [[100.0 + 5 * joint, 200.0, 1.0] for joint in range(18)]
    person = {"pose_keypoints_2d": [number for row in rows for number in row]}
    content = {"people": [person], "canvas_width": 512, "canvas_height": 384}
    (tmp_path / "pose.json").write_text(json.dumps(content))
    upload(page, f"#{tab}-upload", tmp_path / "pose.json")
    svg = page.locator(f"#{tab}-pose .stage svg")
    expect(svg).to_have_attribute("viewBox", "0 0 256 192")
    assert svg.locator("[data-joint='4']").get_attribute("cx") == "60"


def test_paint_on_one_portrait_is_carried_to_others(page: Page):
    open_tab(page, "Layers")
    page.locator("#layers-canvas .chip").first.click()
    drag(page, page.locator("#layers-canvas canvas"), (0.3, 0.5), (0.7, 0.5))
    page.locator("#layers-paint").click()
    expect(page.locator("#layers-results .thumbnail-item").first).to_be_visible()
    assert page.locator("#layers-results .thumbnail-item").count() == 8


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_every_tab_without_scrolling_sideways(
    browser: Browser, address: str, scheme: str
):
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, color_scheme=scheme
    )
    page = opened_at(context.new_page(), address)
    for tab, name in (TABS | {"layers": "Layers"}).items():
        if not page.get_by_role("tab", name=name, exact=True).is_visible():
            page.locator("#tabs .overflow-menu > button").first.click()
            page.locator("#tabs .overflow-dropdown button", has_text=name).click()
        else:
            open_tab(page, name)
        page.locator(f"#{tab}-paint").scroll_into_view_if_needed()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, tab
    context.close()
