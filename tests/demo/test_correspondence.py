"""What the demo offers, and what it tells of where each part came from."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf import CoCosPipelineOutput, MaskCondition, Matching, Pose
from tests.support import tiny
from tests.support.demo_page import CONDITIONS, SIZE, UPLOADS, noise, pose

gradio = pytest.importorskip("gradio", reason="needs the extra demo")
from studio.correspondence import (  # noqa: E402
    MOST_PINS,
    Correspondence,
    names_sent,
    pairs_of,
    shown_once,
)
from studio.gallery import Exhibit, gallery_of  # noqa: E402
from studio.painters import Painter  # noqa: E402
from studio.result import as_file  # noqa: E402
from studio.second_look import SecondLook, classes_of, regions_of  # noqa: E402


@pytest.mark.parametrize("tab", CONDITIONS)
def test_every_condition_finds_its_own_picture_first(tab: str):
    gallery = gallery_of(tab, CONDITIONS[tab])
    assert len(gallery.previews()) == len(gallery.pictures) == len(gallery) >= 8
    for place in (0, 4):
        best = gallery.best(gallery[place].condition)
        assert best[0].index == place and best[0].score > 0.99
        assert sorted(match.index for match in best) == list(range(len(gallery)))


def test_masks_of_clothing_start_from_drawn_people_and_others_from_landscapes():
    clothes = ("background", "skin", "hair", "top", "legwear_long", "footwear")
    people = gallery_of("mask-to-image", MaskCondition(classes=clothes))
    shares = people.layout.condition.mean((1, 2))
    assert (shares > 0.002).all() and shares[0] > 0.5
    ground = people.layout.condition[0] > 0
    assert (np.asarray(people.layout.picture)[ground] == 255).all()
    condition = CONDITIONS["mask-to-image"]
    scenes = gallery_of("mask-to-image", condition)
    assert scenes.layout.condition[condition.classes.index("sky")].mean() > 0.1


def of(matching: Matching) -> Correspondence:
    return Correspondence.of(CoCosPipelineOutput([noise()], [noise()], matching))


def features() -> torch.Tensor:
    return torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(0))


CENTRES = (np.stack(np.meshgrid(range(16), range(16)), -1) + 0.5) / 16


def test_each_place_comes_from_its_match():
    same = of(Matching(features(), features()))
    assert np.allclose(same.places, CENTRES) and same.grids == ((16, 16),)
    mirrored = of(Matching(features(), features().flip(3), patch_size=1))
    assert np.allclose(mirrored.places, CENTRES[:, ::-1])


def test_sure_matches_are_known_from_guesses():
    sure = of(Matching(features(), features()))
    guess = of(Matching(torch.zeros(1, 8, 16, 16), torch.zeros(1, 8, 16, 16)))
    assert sure.sure.min() > 0.9 and guess.sure.max() == pytest.approx(1 / 16)


def test_a_coherent_painting_tells_of_the_flow_that_it_was_painted_from():
    pipe = tiny.blending_pipeline()
    point = ((0.3, 0.3), (0.7, 0.6))
    found = Correspondence.of(pipe(noise(), noise(1), points=[point]))
    rows, columns = found.sure.shape
    place = found.places[int(0.3 * rows), int(0.3 * columns)]
    assert np.abs(place - point[1]).max() < 1 / rows
    assert found.sure.min() >= 0 and found.sure.max() <= 1


def test_what_is_shown_many_times_or_comes_from_another_class_is_a_guess():
    cells = torch.from_numpy(CENTRES * 16)
    first = torch.zeros(16, 16, dtype=torch.long)
    assert (shown_once(cells, first, [(16, 16)]) == 1).all()
    stretched = torch.cat([cells[:, :8], cells[:, :1].expand(16, 8, 2)], 1)  # of one column
    once = shown_once(stretched, first, [(16, 16)])
    assert (once[:, 3:8] == 1).all() and once[:, 8:].max() < 0.6
    halves = first.clone()
    halves[:, 8:] = 1  # from another exemplar, of fewer cells
    assert (shown_once(cells, halves, [(16, 16), (8, 8)])[:, :8] == 1).all()
    same = of(Matching(features(), features()))
    here, there = np.zeros((2, 16, 16), np.uint8)
    there[:4] = 1
    sure = same.of_one_class(here, [there])
    assert sure[:4].max() <= 0.1 and np.array_equal(sure[4:], same.sure[4:])
    assert np.array_equal(same.of_one_class(here, [None]), same.sure)


def test_of_two_looks_each_cell_tells_which_it_came_from():
    condition = CONDITIONS["mask-to-image"]
    painter = Painter(tiny.blending_pipeline(condition, SIZE, mix_condition=False))
    mask = np.zeros((condition.channels, SIZE, SIZE), np.float32)
    mask[0, : SIZE // 2] = mask[3, SIZE // 2 :] = 1
    red, blue = (Image.new("RGB", (SIZE, SIZE), color) for color in ("red", "blue"))
    painting = painter.paint(mask, red, second=Exhibit(blue, None), regions=regions_of(mask, [3]))
    found = painting.correspondence
    half = len(found.which) // 2
    assert (found.which[:half] == 0).all() and (found.which[half:] == 1).all()
    sent = found.sent()
    assert np.array_equal(list(base64.b64decode(sent["which"])), found.which.flat)
    assert sent["secondGrid"] == sent["other"]
    warped = np.asarray(painting.warped)
    third = len(warped) // 3  # between them both are seen
    assert np.abs(warped[:third].astype(int) - (255, 0, 0)).max() <= 1
    assert np.abs(warped[-third:].astype(int) - (0, 0, 255)).max() <= 1
    assert regions_of(mask, []) is None


def test_a_link_names_only_parts_that_can_be_taken():
    taken = gradio.CheckboxGroup([("top", 3), ("coat", 5)])
    second = SecondLook(gradio.Image(), gradio.Gallery(), taken, gradio.Button())
    assert classes_of("5.3.3.x.0.99", second) == [3, 5]
    assert classes_of(None, second) == []


def test_it_is_sent_in_a_few_bytes_for_each_cell():
    found = of(Matching(features(), features()))
    sent = found.sent()
    assert sent["grid"] == sent["other"] == [16, 16]
    places = np.frombuffer(base64.b64decode(sent["flow"]), "<u2").reshape(16, 16, 2)
    assert np.allclose(places / 65535, CENTRES, atol=1e-4)
    assert set(base64.b64decode(sent["sure"])) <= set(range(230, 256))
    assert len(sent["flow"]) + len(sent["sure"]) < 8 * 16 * 16


def cells(sent: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(sent), np.uint8).reshape(16, 16)


def test_classes_have_their_names_and_edges_none():
    found = of(Matching(features(), features()))
    condition = MaskCondition(classes=("ground", "legwear_long"))
    layout = np.zeros((SIZE, SIZE), np.uint8)
    layout[:, SIZE // 2 :] = 1
    sent = names_sent(found, condition, layout, [None])
    assert sent["names"] == ["ground", "trousers"] and "there" not in sent
    assert np.array_equal(cells(sent["here"]), np.repeat([[0] * 8 + [1] * 8], 16, 0))
    assert names_sent(found, CONDITIONS["edge-to-face"], noise(), [noise()]) == {}


def test_places_on_a_figure_are_called_by_the_nearest_joint():
    found = of(Matching(features(), features()))
    figure = pose()
    sent = names_sent(found, CONDITIONS["pose-to-body"], figure, [figure])
    names = [sent["names"][number] for number in cells(sent["there"]).flat]
    for joint, name in ((4, "right wrist"), (0, "nose")):
        x, y = (figure.joints[joint, :2] / SIZE * 16).astype(int)
        assert names[16 * y + x] == name
    assert names[0] == ""
    nobody = Pose.from_array(np.full((18, 2), np.nan), figure.size)
    sent = names_sent(found, CONDITIONS["pose-to-body"], figure, [nobody])
    assert not cells(sent["there"]).any() and cells(sent["here"]).any()


PIN = {"from": [0.1, 0.2], "to": [0.3, 1]}


def test_pairs_of_points_are_those_of_the_same_look():
    assert pairs_of({"pins": [PIN], "look": "a"}, "a") == [((0.1, 0.2), (0.3, 1.0), 0)]
    assert len(pairs_of({"pins": 9 * [PIN], "look": "a"}, "a")) == MOST_PINS
    for value in (None, {}, {"pins": [PIN], "look": "b"}, {"pins": [], "look": "a"}):
        assert pairs_of(value, "a") is None


@pytest.mark.parametrize(
    "pins",
    [
        5,
        [5],
        [{}],
        [[1, 2]],
        [PIN | {"to": 3}],
        [PIN | {"to": ["x", 0]}],
        [PIN | {"from": [0, 1.01]}],
    ],
)
def test_what_are_no_pairs_of_points_are_refused(pins: Any):
    with pytest.raises(ValueError, match="pinned point"):
        pairs_of({"pins": pins, "look": "a"}, "a")


def test_equal_pictures_are_one_file_that_is_not_written_again():
    first = as_file(noise())
    written = Path(first).stat()
    assert as_file(noise()) == first != as_file(noise(1))
    assert (Path(first).stat().st_ino, Path(first).stat().st_size) == (
        written.st_ino,
        written.st_size,
    )
    assert Path(first).is_relative_to(UPLOADS)
