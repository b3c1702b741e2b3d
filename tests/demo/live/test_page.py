"""The page in a real Chromium, with a real model, as the Hub got it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import SpaceCard
from playwright.sync_api import Browser, Page, expect

from cocosnet_hf import bundled
from cocosnet_hf.conditions.joints import JOINTS
from cocosnet_hf.hub.__main__ import main
from cocosnet_hf.hub.live import RUNTIME_FILES
from cocosnet_hf.person_reader import read_person
from tests.support.axe import findings
from tests.support.browsing import drag
from tests.support.hubs import write_files
from tests.support.live_page import GALLERY, SOURCE, opened
from tests.support.loopback_hub import connected_hub
from tests.support.paths import REPOSITORY
from tools.measure_live import decibels, hosted, picture, wait_for_picture

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SPACE, JOB = "alice/live", "pose-to-body"
FIRST = next(
    job["first"] for job in json.loads((SOURCE / "jobs.json").read_text()) if job["name"] == JOB
)

LEAST_DECIBELS = 40
"""Of the page's picture against the pipeline's: both decode and guide by code of their own."""


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a static Space that the command published."""
    if shutil.which("npm") is None:
        pytest.skip("no npm, which fetches onnxruntime-web; install Debian's npm")
    with pytest.MonkeyPatch.context() as patch:
        with connected_hub(patch, tmp_path_factory.mktemp("home")) as hub:
            demo = str(REPOSITORY / "demo")
            main(["space", SPACE, "--static", "--models", JOB, "--folder", demo])
            return dict(hub.files(SPACE, kind="space"))


@pytest.fixture(scope="module")
def address(space: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("space")
    for name, content in space.items():
        write_files(folder, name)
        (folder / name).write_bytes(content)
    with hosted(folder) as url:
        yield url


@pytest.fixture(scope="module")
def page(browser: Browser, address: str) -> Iterator[Page]:
    with opened(browser, address, JOB) as page:
        yield page


def test_a_static_space_holds_the_page_and_all_that_it_reads(space: dict[str, bytes]):
    scripts = {path.name for path in (REPOSITORY / "demo" / "live").iterdir()}
    models = {f"models/{JOB}/{name}" for name in ("prepare.onnx", "paint.onnx", "model.json")}
    gallery = {f"gallery/{JOB}/{n:02d}.{kind}" for n in range(12) for kind in ("jpg", "json")}
    made = {"canvas.js", "pose.js", "editors.css", "icon.svg", "pictures.json", "LICENSE"}
    runtime = {f"ort/{name}" for name in RUNTIME_FILES}
    whole = scripts | made | models | gallery | runtime | {"readers/person-reader.onnx"}
    assert set(space) - {".gitattributes"} == whole
    card = SpaceCard(space["README.md"].decode())
    assert card.data["sdk"] == "static" and card.data["app_file"] == "index.html"


def test_the_page_paints_what_the_pipeline_paints_and_follows_a_joint(page: Page):
    first = picture(page, JOB)
    pipe = bundled(JOB)
    pipe.set_progress_bar_config(disable=True)
    layout, look = (GALLERY / JOB / f"{number:02d}" for number in FIRST)
    files = [str(path) for path in (f"{layout}.json", f"{look}.jpg", f"{look}.json")]
    assert decibels(first, pipe(*files).images[0]) > LEAST_DECIBELS
    assert page.evaluate("crossOriginIsolated")
    painted = int(page.locator(f"#panel-{JOB}").get_attribute("data-painted"))
    pose = pipe.condition.open(files[0]).value
    elbow = pose.joints[JOINTS.index("l_elbow"), :2] / pose.size[::-1]
    drag(page, page.locator("svg"), tuple(elbow), (0.9, 0.2))
    wait_for_picture(page, JOB, painted + 1)
    second = picture(page, JOB)
    assert second.shape == first.shape
    changed = abs(second.astype(int) - first).max(-1) > 40
    assert changed.mean() > 0.005
    assert changed[-100:].mean() < 0.03, "the legs nearly stay"
    assert findings(page) == []
    assert page.complaints == []


def test_the_way_of_a_model_is_told_until_its_first_picture(page: Page):
    said = page.evaluate("window.said")
    told = [re.fullmatch(r"The model is on its way: (\d+) of (\d+) MB …", one) for one in said]
    here, whole = zip(*(map(int, one.groups()) for one in told if one), strict=True)
    assert list(here) == sorted(here) and here[-1] == whole[-1] > 1
    assert re.fullmatch(r"Painted in .* s.*\.", said[-1])


def test_a_page_whose_files_are_missing_says_so(browser: Browser, address: str):
    tab = browser.new_page()
    tab.route("**/pictures.json", lambda route: route.abort())
    tab.goto(address)
    expect(tab.locator("#loading")).to_contain_text("could not be loaded")
    tab.close()


def test_a_photo_that_is_none_is_explained_and_the_page_goes_on(page: Page, tmp_path: Path):
    (tmp_path / "text.png").write_text("not a picture")
    page.locator(".own-look").set_input_files(tmp_path / "text.png")
    expect(page.locator(".problem").first).to_have_text(
        "text.png is not a picture that this browser reads; PNG and JPEG are."
    )
    painted = int(page.locator(f"#panel-{JOB}").get_attribute("data-painted"))
    page.get_by_role("button", name="Look 4", exact=True).click()
    wait_for_picture(page, JOB, painted + 1)
    assert page.complaints == []


def test_a_pose_is_read_from_a_photo_as_the_package_reads_it(page: Page):
    photo = GALLERY / JOB / "05.jpg"
    reading = read_person(photo)
    left, top, _, bottom = reading.frame
    # As the page cuts a person out: a picture of 192 x 384.
    wanted = (reading.joints[:, :2] - (left, top)) * 384 / (bottom - top)
    painted = int(page.locator(f"#panel-{JOB}").get_attribute("data-painted"))
    page.locator(".own-layout").set_input_files(photo)
    wait_for_picture(page, JOB, painted + 1)
    joints = np.array(page.evaluate("document.querySelector('.board').editor.value().joints"))
    there = joints[:, 2] > 0
    assert there.sum() >= 14
    off = np.hypot(*(joints[there, :2] - wanted[there]).T)
    assert np.median(off) < 3
    page.locator(".own-look").set_input_files(GALLERY / JOB / "07.jpg")
    wait_for_picture(page, JOB, painted + 2)
    assert page.complaints == []
