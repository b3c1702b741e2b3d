"""What the page computes by scripts is what the package computes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page
from studio.words import PLAIN

from cocosnet_hf import EdgeCondition, PoseCondition, condition_from_config
from cocosnet_hf.bundled import ASSETS
from cocosnet_hf.conditions.base import Condition, Landmarks
from cocosnet_hf.conditions.guiding import KIN
from cocosnet_hf.landscape_reader import LANDSCAPE_CLASSES
from tests.support.live_page import GALLERY, SOURCE
from tools.measure_live import hosted

pytestmark = pytest.mark.browser

LOOK = """async ([kind, own, exemplar, grid, sizes, kin]) => {
  const { GUIDES } = await import("./guides.js");
  const read = ({ points, labels, isRead, sure }) => ({
    points: points.map((point) => point.map((one) => one ?? NaN)),
    labels: labels && { ...labels, set: Int16Array.from(labels.set) },
    isRead,
    sure,
  });
  const guide = GUIDES[kind](read(own), read(exemplar), grid, kin);
  return sizes.map((size) => {
    const { x, y } = guide(...size);
    return [x, y].map((axis) => [...axis].map((one) => (Number.isNaN(one) ? null : one)));
  });
}"""

OFF, FAR = 0.5, 0.02
"""Cells of the exemplar's grid, and the share of the places that may lie farther off: of OpenCV
only the formulas are the same, not their rounding, which decides at borders."""


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    with hosted(SOURCE) as address:
        context = browser.new_context()
        opened = context.new_page()
        opened.goto(f"{address}jobs.json")
        yield opened
        context.close()


def test_the_page_calls_classes_as_the_demo_does():
    words = re.search(r"const WORDS = {(.*?)};", (SOURCE / "page.js").read_text(), re.DOTALL)
    assert dict(re.findall(r'(\w+): "(.*?)"', words[1])) == PLAIN


def bundled_condition(name: str) -> Condition:
    index = json.loads((ASSETS / name / "model_index.json").read_text())
    return condition_from_config(index["condition"])


def sent(landmarks: Landmarks, fits: np.ndarray | None = None) -> dict[str, Any]:
    """Landmarks as the page takes them."""
    points = landmarks.points.double().numpy()
    if fits is not None:
        points = np.concatenate([points, fits[:, None]], axis=1)
    made: dict[str, Any] = {
        "points": [[None if np.isnan(one) else float(one) for one in point] for point in points],
        "isRead": landmarks.is_read,
    }
    if landmarks.labels is not None:
        height, width = landmarks.labels.shape
        made["labels"] = {"set": landmarks.labels.flatten().tolist(), "width": width}
        made["labels"]["height"] = height
    if landmarks.sure is not None:
        made["sure"] = landmarks.sure.flatten().int().tolist()
    return made


def pair(kind: str) -> tuple[Condition, Landmarks, Landmarks, tuple[int, int]]:
    """A condition, the landmarks of a layout and of a look, and the exemplar's grid."""
    if kind == "portrait":
        condition: Condition = EdgeCondition(guided=True)
        one, two = (GALLERY / "edge-to-face" / f"0{number}.jpg" for number in (3, 6))
        return (
            condition,
            condition.landmarks(condition.open(one)),
            condition.landmarks_in(two),
            (32, 32),
        )
    if kind == "figure":
        condition = bundled_condition("pose-to-body")
        poses = [condition.open(str(GALLERY / "pose-to-body" / f"0{n}.json")) for n in (3, 9)]
        photo = GALLERY / "pose-to-body" / "09.jpg"
        exemplar = condition.landmarks_in(photo, poses[1])
        return condition, condition.landmarks(poses[0]), exemplar, (48, 24)
    job = {"pose": "pose-to-body", "person": "mask-to-image", "regions": "mask-to-landscape"}[kind]
    condition, suffix = bundled_condition(job), "json" if kind == "pose" else "png"
    own, other = (
        condition.landmarks(condition.open(str(GALLERY / job / f"0{number}.{suffix}")))
        for number in (3, 9)
    )
    return condition, own, other, (32, 32) if kind == "regions" else (48, 24)


@pytest.mark.parametrize("kind", ["pose", "figure", "person", "regions", "portrait"])
def test_guides_lead_where_the_package_leads(page: Page, kind: str):
    condition, own, exemplar, grid = pair(kind)
    sizes = [grid, (8 * grid[0], 8 * grid[1])]
    guide = condition.guide(own, exemplar, grid)
    fits = np.ones(len(own.points)) if kind == "portrait" else None
    if fits is not None:
        fits = np.array(page.evaluate(FITS))
    numbers = {name: number for number, name in enumerate(LANDSCAPE_CLASSES)}
    kin = {numbers[name]: [numbers[one] for one in names] for name, names in KIN.items()}
    found = page.evaluate(
        LOOK,
        [
            "pose" if kind == "figure" else kind,
            sent(own, fits),
            sent(exemplar, fits),
            {"height": grid[0], "width": grid[1]},
            [size[::-1] for size in sizes],
            kin,
        ],
    )
    for size, axes in zip(sizes, found, strict=True):
        ours = np.array(axes, float).reshape(2, *size).transpose(1, 2, 0)
        theirs = guide(size).numpy()
        known = ~np.isnan(theirs).any(-1)
        assert known.mean() > 0.9
        assert (np.isnan(ours).any(-1) == known).mean() < 0.002
        off = np.nan_to_num(abs(ours - theirs)[known]).max(-1)
        assert np.median(off) < 1e-3
        assert (off > OFF).mean() < FAR


FITS = """async () => {
  const { portraitOf } = await import("./faces.js");
  const blank = { set: new Uint8Array(16), width: 4, height: 4 };
  return portraitOf(blank, new Float32Array(19 * 16)).points.map(([, , fit]) => fit);
}"""


def encoded(page: Page, script: str, given: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    found = page.evaluate(
        f"async (given) => [...await (async () => {{ const e = await import('./encode.js');"
        f" return {script}; }})()]",
        given,
    )
    return np.array(found).reshape(shape)


def test_poses_are_drawn_as_the_package_draws_them(page: Page):
    condition = bundled_condition("pose-to-body")
    assert isinstance(condition, PoseCondition)
    pose = condition.open(str(GALLERY / "pose-to-body" / "03.json")).value
    joints = {"joints": np.nan_to_num(pose.joints).tolist()}
    joints |= {"height": pose.size[0], "width": pose.size[1]}
    script = "e.figure(given[0], 96, 192, given[1])"
    ours = encoded(page, script, [joints, condition.to_config()], (20, 192, 96))
    assert abs(ours - condition.encode(pose, 192, 96).numpy()).max() < 1.5 / 255


def test_edges_of_a_photo_and_drawn_lines_are_the_same(page: Page):
    condition = EdgeCondition()
    photo = Image.open(GALLERY / "edge-to-face" / "02.jpg").convert("RGB").crop((64, 64, 192, 192))
    pixels = np.asarray(photo.convert("RGBA")).ravel().tolist()
    script = "e.canny(e.greyOf(given[0]), 128, 128, given[1])"
    ours = encoded(page, script, [pixels, condition.to_config()], (128, 128))
    theirs = condition.lines(photo)
    assert np.array_equal(ours > 0, theirs)
    strokes = theirs.copy()
    strokes[:, 1:] |= theirs[:, :-1]
    strokes[1:] |= strokes[:-1]
    for side in (128, 64):
        script = "e.lines({set: given[0], width: 128, height: 128}, given[1], given[1], 32)"
        given = [strokes.astype(int).ravel().tolist(), side]
        ours = encoded(page, script, given, (2, side, side))
        thin = condition.encode({"edges": strokes}, side, side).numpy()
        assert np.array_equal(ours[0], thin[0])
        assert abs(ours[1] - thin[1]).max() < 1e-6


def test_masks_are_the_same_at_any_size(page: Page):
    condition = bundled_condition("mask-to-landscape")
    labels = condition.encode(str(GALLERY / "mask-to-landscape" / "02.png"), 256, 256).argmax(0)
    given = [labels.flatten().tolist()]
    script = "e.oneHot({set: given[0], width: 256, height: 256}, 13, 128, 96)"
    ours = encoded(page, script, given, (13, 96, 128))
    assert np.array_equal(ours, condition.encode(labels.numpy().astype(np.uint8), 96, 128).numpy())
