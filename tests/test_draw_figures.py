"""The drawn people whose layouts the demo's gallery is painted from."""

from pathlib import Path

import demo_page
import draw_figures
import numpy as np
import paint_gallery
import pytest
import studio.gallery
import tiny
from draw_figures import CLASSES, COLORS, FIGURES, SIDE, Drawing, Figure, draw_layout, joints
from PIL import Image

from cocosnet_hf import Condition, Pose
from cocosnet_hf.conditions.pose import JOINTS, read_pose
from cocosnet_hf.synthetic import SyntheticExamples, write_imagefolder
from train.config import load_config

NAMED = [pytest.param(figure, id=f"{place:02d}") for place, figure in enumerate(FIGURES)]


@pytest.fixture(scope="module")
def recipes() -> dict[str, Condition]:
    """The conditions of the two bundled pipelines that paint people."""
    configs = demo_page.DEMO.parent / "train" / "configs"
    tabs = ("mask-to-image", "pose-to-body")
    return {tab: load_config(configs / f"{tab}.yaml").networks.make_condition() for tab in tabs}


def test_the_colours_are_those_of_the_recipe(recipes: dict[str, Condition]):
    assert CLASSES == recipes["mask-to-image"].classes
    assert tuple(COLORS.values()) == recipes["mask-to-image"].colors


@pytest.mark.parametrize("figure", NAMED)
def test_a_layout_is_read_as_it_was_drawn(figure: Figure, recipes: dict[str, Condition]):
    read = recipes["mask-to-image"].labels(draw_layout(figure), SIDE, SIDE).numpy()
    assert np.array_equal(read, Drawing(figure).labels())


@pytest.mark.parametrize("figure", NAMED)
def test_a_figure_stands_in_the_middle_and_fills_the_height(figure: Figure):
    rows, columns = np.nonzero(Drawing(figure).labels())
    assert abs(rows.min() - draw_figures.TOP) < 5 and abs(rows.max() - draw_figures.BOTTOM) < 5
    assert abs((columns.min() + columns.max()) / 2 - SIDE / 2) < 12


@pytest.mark.parametrize("figure", NAMED)
def test_every_joint_lies_on_the_drawn_person(figure: Figure):
    labels = Drawing(figure).labels()
    for name, (x, y, score) in zip(JOINTS, joints(figure), strict=True):
        assert score == 1 and labels[int(y), int(x)] != 0, name


@pytest.mark.parametrize("figure", NAMED)
def test_a_face_is_seen_and_all_that_is_worn(figure: Figure):
    labels = Drawing(figure).labels()
    worn = {
        "headwear": figure.hat,
        "eyewear": figure.glasses,
        "top": figure.top,
        "outerwear": figure.coat,
        "dress": figure.dress,
        "legwear_long": figure.trousers,
        "skirt_shorts": figure.shorts or figure.skirt,
        "bag": figure.bag,
        "accessory": figure.scarf or figure.belt,
    }
    seen = {CLASSES[label] for label in np.unique(labels)}
    expected = {name for name, worn_one in worn.items() if worn_one}
    assert seen == expected | {"background", "skin", "hair", "footwear"}
    x, y, _ = joints(figure)[JOINTS.index("nose")]
    assert CLASSES[labels[int(y), int(x)]] == "skin"


def test_all_classes_appear_and_no_two_figures_stand_alike():
    seen = set().union(*(np.unique(Drawing(figure).labels()).tolist() for figure in FIGURES))
    assert seen == set(range(len(CLASSES)))
    postures = [joints(figure)[:, :2] for figure in FIGURES]
    for place, one in enumerate(postures):
        for other in postures[:place]:
            assert np.abs(one - other).max() > 10


def test_the_written_files_are_read_by_both_conditions(
    tmp_path: Path, recipes: dict[str, Condition]
):
    draw_figures.main([str(tmp_path)])
    for place, figure in enumerate(FIGURES):
        mask, pose = tmp_path / f"masks/{place:02d}.png", tmp_path / f"poses/{place:02d}.json"
        assert Image.open(mask).size == (SIDE, SIDE)
        read = recipes["mask-to-image"].labels(mask, SIDE, SIDE).numpy()
        assert np.array_equal(read, Drawing(figure).labels())
        assert np.allclose(read_pose(pose).joints, joints(figure), atol=0.01)
    encoded = recipes["pose-to-body"].encode(pose, 64, 64)
    assert (encoded[3:].amin((1, 2)) < 0.1).all()  # each of the 17 limbs is there


@pytest.mark.parametrize("tab", ["mask-to-image", "pose-to-body"])
def test_the_gallery_has_the_layouts_of_drawn_figures(
    tab: str, recipes: dict[str, Condition], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    condition = recipes[tab]
    pipe = tiny.pipeline(condition, 64, mix_condition=tab == "pose-to-body")
    monkeypatch.setattr(paint_gallery, "bundled", lambda _: pipe)
    monkeypatch.setattr(paint_gallery, "FOLDER", tmp_path / "gallery")
    monkeypatch.setattr(studio.gallery, "FOLDER", tmp_path / "gallery")
    people = write_imagefolder(SyntheticExamples("pose", 64, length=6), tmp_path / "people")
    kept = (4 * paint_gallery.NEIGHBOURS + 1, 2 * paint_gallery.NEIGHBOURS)
    paint_gallery.main([tab, str(people), "--keep", *map(str, kept)])
    gallery = studio.gallery.gallery_of(tab, condition)
    assert len(gallery) == 2
    for exhibit, figure in zip(gallery.exhibits, (FIGURES[4], FIGURES[2]), strict=True):
        drawn = draw_layout(figure)
        if tab == "pose-to-body":
            drawn = Pose(joints(figure), (SIDE, SIDE))
        difference = condition.encode(exhibit.condition, 64, 64) - condition.encode(drawn, 64, 64)
        assert difference.abs().mean() < 0.001
