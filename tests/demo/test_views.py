"""What the demo offers and shows."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cocosnet_hf import MaskCondition, Matching
from tests.support.demo_page import CONDITIONS, SIZE, UPLOADS, noise

gradio = pytest.importorskip("gradio", reason="needs the extra demo")
from studio.gallery import gallery_of  # noqa: E402
from studio.page import as_file  # noqa: E402
from studio.painters import DemoResult  # noqa: E402
from studio.views import (  # noqa: E402
    confidence_view,
    flow_view,
    match_text,
    match_view,
    point_of,
    shown,
)


@pytest.mark.parametrize("tab", CONDITIONS)
def test_every_condition_finds_its_own_picture_first(tab: str):
    gallery = gallery_of(tab, CONDITIONS[tab])
    assert len(gallery.previews()) == len(gallery.pictures) == len(gallery) >= 8
    for place in (0, 3):
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


@pytest.fixture
def same() -> DemoResult:
    """A painting whose every place matches itself in the exemplar."""
    features = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    matching = Matching(features, features, stride=SIZE // 16)
    return DemoResult(noise(), noise(), noise(), noise(), matching)


def test_a_point_is_shown_with_its_match_in_words_and_rings(same: DemoResult):
    point = (21.0, 37.0)
    text = match_text(same, point)
    assert "(21, 37)" in text and "(22, 38)" in text and "100%" in text
    view = match_view(same, point)
    left = view.crop((0, 0, 384, 384))
    right = view.crop((384 + 8, 0, 2 * 384 + 8, 384))
    scale = 384 / SIZE
    for picture, (x, y) in ((left, point), (right, (21.5, 37.5))):
        at = round((x + 0.5) * scale), round((y + 0.5) * scale)
        assert picture.getpixel((at[0] + 9, at[1])) == (255, 255, 255, 255)
    glow = np.asarray(right.convert("L"), float)
    assert glow[226:234, 126:134].mean() > glow[:100, 200:].mean() + 30


def test_places_that_match_have_one_colour_in_the_flow(same: DemoResult):
    view = np.asarray(flow_view(same).convert("RGB"), float)
    assert np.abs(view[:, :384] - view[:, -384:]).mean() < 8
    mirrored = DemoResult(*4 * [noise()], matching=mirrored_matching())
    turned = np.asarray(flow_view(mirrored).convert("RGB"), float)
    assert np.abs(turned[:, :384] - turned[:, -384:]).mean() > 30


def mirrored_matching() -> Matching:
    features = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    return Matching(features, features.flip(3), stride=SIZE // 16, patch_size=1)


def test_sure_matches_are_bright(same: DemoResult):
    unsure = DemoResult(
        *4 * [noise()], matching=Matching(torch.zeros(1, 8, 16, 16), torch.zeros(1, 8, 16, 16))
    )
    bright, dark = (np.asarray(confidence_view(p).convert("L")).mean() for p in (same, unsure))
    assert bright > dark + 60


def test_a_click_on_the_enlarged_painting_is_its_pixel(same: DemoResult):
    assert shown(same).size == (384, 384)
    assert point_of(same, (6 * 21 + 2, 6 * 37 + 5)) == pytest.approx((21.33, 37.83), abs=0.01)


def test_equal_pictures_are_one_file_that_is_not_written_again():
    first = as_file(noise())
    written = Path(first).stat()
    assert as_file(noise()) == first != as_file(noise(1))
    assert (Path(first).stat().st_ino, Path(first).stat().st_size) == (
        written.st_ino,
        written.st_size,
    )
    assert Path(first).is_relative_to(UPLOADS)
