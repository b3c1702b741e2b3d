"""A visitor's files, drawings, poses and edited pictures, in a real headless Chromium."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect
from skimage import data
from studio.gallery import gallery_of
from studio.inputs import FIGURE_SIDE, FORMATS
from studio.layer_tab import FIRST_PHOTOS

from tests.support.browsing import (
    MAKEUP,
    TABS,
    be_live,
    canvas_color,
    downloaded,
    drag,
    open_tab,
    read,
    repainted,
    result,
    state,
    upload,
)
from tests.support.demo_page import CONDITIONS, SIZE
from tests.support.keypoints import CANVAS, STANDING, openpose

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("tab", ["mask-to-image", "edge-to-face"])
def test_an_edited_picture_changes_only_where_its_layout_does(page: Page, tab: str):
    open_tab(page, tab)
    be_live(page, tab, False)
    exemplar = page.locator(f"#{tab}-exemplar img")
    source = exemplar.get_attribute("src")
    page.locator(f"#{tab}-gallery button.thumbnail-item").nth(3).click()
    expect(exemplar).not_to_have_attribute("src", source)
    page.locator(f"#{tab}-edit").click()
    keep = page.locator(f"#{tab}-keep input")
    expect(keep).to_be_checked()
    with repainted(page, tab):
        page.locator(f"#{tab}-paint").click()
    photo = np.asarray(gallery_of(tab, CONDITIONS[tab])[3].picture)
    assert np.array_equal(downloaded(page, tab), photo)
    page.locator(f"#{tab}-canvas .chip").last.dispatch_event("click")
    drag(page, page.locator(f"#{tab}-canvas canvas"), (0.1, 0.1), (0.25, 0.1))
    with repainted(page, tab):
        page.locator(f"#{tab}-paint").click()
    different = (downloaded(page, tab) != photo).any(2)
    side = len(different)
    assert different[side // 20 : side // 7].any() and not different[3 * side // 4 :].any()
    page.locator(f"#{tab}-result [data-view=changed]").click()
    pale = read(page, result(page, tab))[~different]
    grey = np.ptp(pale, axis=-1) <= 12  # but for what JPEG makes of it
    assert grey.mean() > 0.9 and (pale > 130).mean() > 0.9
    page.locator(f"#{tab}-gallery button.thumbnail-item").nth(2).click()
    expect(keep).not_to_be_checked()


def test_an_uploaded_picture_is_edited_from_its_label_map(page: Page, tmp_path: Path):
    tab = "mask-to-image"
    photo = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    Image.fromarray(np.tri(SIZE, dtype=np.uint8)).save(tmp_path / "labels.png")
    be_live(page, tab, False)
    upload(page, f"#{tab}-exemplar-upload", tmp_path / "photo.png")
    expect(state(page, tab)).to_have_attribute("data-state", "stale")
    expect(page.locator(f"#{tab}-edit")).to_be_hidden()  # nothing here knows its label map
    upload(page, f"#{tab}-upload", tmp_path / "labels.png")
    expect(page.locator(f"#{tab}-canvas [data-do=undo]")).to_be_enabled()
    page.locator(f"#{tab}-keep input").check()
    with repainted(page, tab):
        page.locator(f"#{tab}-paint").click()
    assert np.array_equal(downloaded(page, tab), photo)


def test_a_figure_is_edited_from_the_exemplars_own_pose(page: Page):
    tab = "pose-to-body"
    open_tab(page, tab)
    exemplar = page.locator(f"#{tab}-exemplar img")
    source = exemplar.get_attribute("src")
    page.locator(f"#{tab}-gallery button.thumbnail-item").nth(3).click()
    expect(exemplar).not_to_have_attribute("src", source)
    page.locator(f"#{tab}-edit").click()
    figure = gallery_of(tab, CONDITIONS[tab])[3].condition
    expected = figure.joints[0, 0] * FIGURE_SIDE / max(figure.size)
    nose = page.locator(f"#{tab}-pose .stage svg [data-joint='0']")
    expect(nose).to_have_attribute("cx", str(round(expected, 2)))
    expect(page.locator(f"#{tab}-pose .stage svg image")).to_have_count(1)


@pytest.mark.parametrize("tab", TABS)
def test_an_example_is_a_click_away(page: Page, tab: str):
    open_tab(page, tab)
    be_live(page, tab, False)
    undo = page.locator(f"#{tab}-{'pose' if tab == 'pose-to-body' else 'canvas'} [data-do=undo]")
    keep = page.locator(f"#{tab}-keep input")
    expect(undo).to_be_disabled()
    if tab != "pose-to-body":
        keep.check()
    page.locator(f"#{tab}-examples button.thumbnail-item").nth(2).click()
    expect(undo).to_be_enabled()
    if tab != "pose-to-body":
        expect(keep).not_to_be_checked()  # it is no change of the exemplar's own layout
    with repainted(page, tab):
        page.locator(f"#{tab}-paint").click()
    assert page.complaints == []


def test_what_is_chosen_while_another_choice_is_worked_on_counts(page: Page):
    tab = "mask-to-image"
    exhibits = gallery_of(tab, CONDITIONS[tab])
    held: list[Route] | None = None

    def hold(route: Route) -> None:
        if held is None:
            route.continue_()
        else:
            held.append(route)

    page.route("**/queue/data**", hold)  # the answers
    for part in ("gallery", "examples"):
        thumbnails = page.locator(f"#{tab}-{part} button.thumbnail-item")
        held = []
        with page.expect_request("**/queue/data**"):
            thumbnails.nth(3).click()
        thumbnails.nth(5).click()
        expect(thumbnails.nth(5)).to_have_attribute("aria-pressed", "true")
        page.wait_for_timeout(300)
        waiting, held = held, None
        with repainted(page, tab):
            for route in waiting:
                route.continue_()
    expect(page).to_have_url(re.compile(r"layout=5&look=5"))
    assert np.array_equal(read(page, page.locator(f"#{tab}-exemplar img")), exhibits[5].picture)


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
        f"[...document.querySelector('#{tab}-canvas canvas').getContext('2d')"
        ".getImageData(0, 0, 768, 768).data].reduce((sum, level) => sum + level)"
    )
    before = page.evaluate(lines)
    slider = page.locator(f"#{tab}-threshold input[type=range]")
    for share, order in ((0.05, ">"), (0.95, "<")):
        drag(page, slider, (0.4, 0.5), (share, 0.5))
        page.wait_for_function(f"{lines} {order} {before}")
    fewest = page.evaluate(lines)
    slider.press("Home")
    page.wait_for_function(f"{lines} > {before}")
    page.locator(f"#{tab}-threshold input[type=number]").fill("0.5")
    page.wait_for_function(f"{lines} <= {fewest}")


def test_an_exemplar_is_uploaded_and_painted_from(page: Page, tmp_path: Path):
    tab = "edge-to-face"
    open_tab(page, tab)
    Image.new("RGB", (96, 96), (250, 10, 20)).save(tmp_path / "red.png")
    buttons = [page.locator(f"#{tab}-{name}upload") for name in ("", "exemplar-")]
    widths = [button.bounding_box()["width"] for button in buttons]
    assert widths[0] == pytest.approx(widths[1], abs=2)
    expect(page.locator(f"#{tab}-exemplar button[aria-label='Remove Image']")).to_be_hidden()
    with repainted(page, tab):
        upload(page, f"#{tab}-exemplar-upload", tmp_path / "red.png")
    with repainted(page, tab):
        page.locator(f"#{tab}-result [data-view=warped]").click()
    warped = read(page, result(page, tab))
    assert np.abs(warped.astype(int) - (250, 10, 20)).max() <= 8


def test_a_file_that_cannot_be_read_is_answered_with_a_message(page: Page, tmp_path: Path):
    tab = "mask-to-image"
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    Image.new("RGB", (900, 10)).save(tmp_path / "strip.png")
    damaged = (tmp_path / "strip.png").read_bytes()[:60]
    heic = [] if "HEIF" in FORMATS else [("phone.heic", b"\0\0\0\x18ftypheic", "is a HEIC photo")]
    for name, content, told in (
        *heic,
        ("notes.png", b"not a picture", "is not a picture"),
        ("empty.png", b"", "is not a picture"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a picture"),
        ("damaged.png", damaged, "is damaged"),
        ("strip.png", None, "is more than 8 times as long as wide"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        upload(page, f"#{tab}-upload", tmp_path / name)
        expect(page.get_by_role("alert")).to_contain_text(f"“{name}” {told}")
    assert not [url for url in sent if "upload" in url]
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
    page.locator(f"#{tab}-unsort").click()
    expect(first).not_to_contain_text("%")


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
    page.mouse.move(box["x"] + 90, box["y"] - 90, steps=8)  # the forearm turns about the elbow
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


def test_another_person_of_a_file_is_chosen(page: Page, tmp_path: Path):
    tab = "pose-to-body"
    open_tab(page, tab)
    second = STANDING * (0.5, 0.5, 1)
    (tmp_path / "pose.json").write_text(json.dumps(openpose(STANDING, second, **CANVAS)))
    expect(page.locator(f"#{tab}-person")).to_be_hidden()
    upload(page, f"#{tab}-upload", tmp_path / "pose.json")
    expect(page.locator(".toast-body")).to_contain_text("has 2 people; person 0")
    wrist = page.locator(f"#{tab}-pose .stage svg [data-joint='4']")
    expect(wrist).to_have_attribute("cx", f"{STANDING[4, 0]:.2f}")
    page.locator(f"#{tab}-person input").click()
    page.get_by_role("option", name="Person 1").click()
    expect(wrist).to_have_attribute("cx", f"{second[4, 0]:.2f}")


def test_a_photo_is_cropped_to_its_face_as_it_comes_and_whole_again(page: Page, tmp_path: Path):
    tab = "edge-to-face"
    open_tab(page, tab)
    whole = data.astronaut()
    Image.fromarray(whole).save(tmp_path / "portrait.png")
    exemplar, undo = page.locator(f"#{tab}-exemplar img"), page.locator(f"#{tab}-unfit")
    with repainted(page, tab):
        upload(page, f"#{tab}-exemplar-upload", tmp_path / "portrait.png")
        expect(undo).to_be_visible()
    height, width, _ = read(page, exemplar).shape
    assert height == width < 400
    with repainted(page, tab):
        undo.click()
    assert np.array_equal(read(page, exemplar), whole)


def test_a_portrait_to_paint_on_is_cropped_to_its_face_and_whole_again(page: Page, tmp_path: Path):
    open_tab(page, MAKEUP)
    Image.fromarray(data.astronaut()).save(tmp_path / "portrait.png")
    portrait = page.locator("#layers-portrait img")
    upload(page, "#layers-upload", tmp_path / "portrait.png")
    undo = page.locator("#layers-unfit")
    expect(undo).to_be_visible()
    expect(page.locator("#layers-gallery .selected")).to_have_count(0)
    hair = read(page, portrait)[0, 0]
    source = portrait.get_attribute("src")
    undo.click()
    expect(portrait).not_to_have_attribute("src", source)
    expect(undo).to_be_hidden()
    assert not np.array_equal(read(page, portrait)[0, 0], hair)


def test_further_faces_wear_the_makeup(page: Page, tmp_path: Path):
    open_tab(page, MAKEUP)
    faces = page.locator("#layers-results .face")
    expect(faces).to_have_count(len(FIRST_PHOTOS))
    for name, color in (("red", (250, 10, 20)), ("blue", (20, 10, 250))):
        Image.new("RGB", (96, 96), color).save(tmp_path / f"{name}.png")
    with page.expect_file_chooser() as chooser:
        page.locator("#layers-add").click()
    chooser.value.set_files([tmp_path / "red.png", tmp_path / "blue.png"])
    expect(faces).to_have_count(len(FIRST_PHOTOS) + 2)
    expect(faces.last.locator("img")).to_have_js_property("naturalWidth", 96)


def test_what_is_refused_is_told_beside_pictures_and_buttons(page: Page, tmp_path: Path):
    tab = "mask-to-image"
    (tmp_path / "notes.png").write_text("not a picture")
    upload(page, f"#{tab}-exemplar-upload", tmp_path / "notes.png")
    told = page.get_by_role("alert")
    box = told.bounding_box()
    for part in ("paint", "exemplar", "suggest", "live"):
        there = page.locator(f"#{tab}-{part}").bounding_box()
        apart_x = box["x"] + box["width"] <= there["x"] or there["x"] + there["width"] <= box["x"]
        apart_y = box["y"] + box["height"] <= there["y"] or there["y"] + there["height"] <= box["y"]
        assert apart_x or apart_y, part
    close = told.get_by_role("button")
    colors = close.evaluate(
        "one => [getComputedStyle(one).color, getComputedStyle(one).background]"
    )
    assert "255, 255, 255" in colors[0] and "rgba(0, 0, 0, 0)" in colors[1]
    close.click()
    expect(told).to_have_count(0)


def test_a_person_is_cut_out_as_the_photo_comes(page: Page, tmp_path: Path):
    tab = "pose-to-body"
    open_tab(page, tab)
    figure = gallery_of(tab, CONDITIONS[tab])[3].picture
    street = Image.new("RGB", (2 * figure.width, figure.height + 40), (70, 120, 90))
    street.paste(figure, (figure.width // 2, 20))
    street.save(tmp_path / "street.png")
    upload(page, f"#{tab}-exemplar-upload", tmp_path / "street.png")
    expect(page.locator(f"#{tab}-unfit")).to_be_visible()
    corners = read(page, page.locator(f"#{tab}-exemplar img"))[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 255).all()
