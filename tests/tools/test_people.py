"""The drawn people whose layouts the demo's gallery is painted from."""

from pathlib import Path

import numpy as np
import pytest

from cocosnet_hf import Condition
from cocosnet_hf.conditions.joints import JOINTS, read_pose
from tests.support.pictures import whole_picture
from tools import draw_figures
from tools.people import (
    CLASSES,
    COLORS,
    FIGURES,
    HEIGHT,
    WIDTH,
    Drawing,
    Figure,
    canvas,
    draw_layout,
    joints,
)
from tools.recipes import recipe_file
from train.config import load_config

NAMED = [pytest.param(figure, id=f"{place:02d}") for place, figure in enumerate(FIGURES)]


@pytest.fixture(scope="module")
def recipes() -> dict[str, Condition]:
    """The conditions of the two bundled pipelines that paint people."""
    tabs = ("mask-to-image", "pose-to-body")
    return {tab: load_config(recipe_file(tab)).networks.make_condition() for tab in tabs}


def test_the_colours_are_those_of_the_recipe(recipes: dict[str, Condition]):
    assert CLASSES == recipes["mask-to-image"].classes
    assert tuple(COLORS.values()) == recipes["mask-to-image"].colors


@pytest.mark.parametrize("figure", NAMED)
def test_a_layout_is_read_as_it_was_drawn(figure: Figure, recipes: dict[str, Condition]):
    read = recipes["mask-to-image"].labels(draw_layout(figure), HEIGHT, WIDTH).numpy()
    assert np.array_equal(read, Drawing(figure).labels())


@pytest.mark.parametrize("figure", NAMED)
def test_a_figure_stands_in_the_middle_and_fills_the_height(figure: Figure):
    rows, columns = np.nonzero(Drawing(figure).labels())
    assert abs(rows.min() - canvas.TOP) < 8 and abs(rows.max() - canvas.BOTTOM) < 8
    assert abs((columns.min() + columns.max()) / 2 - WIDTH / 2) < 12


@pytest.mark.parametrize("figure", NAMED)
def test_every_joint_lies_on_the_drawn_person(figure: Figure):
    labels = Drawing(figure).labels()
    for name, (x, y, score) in zip(JOINTS, joints(figure), strict=True):
        column, row = int(x), int(y)
        near = labels[row - 2 : row + 3, column - 2 : column + 3]  # ears lie on the frayed outline
        assert score == 1 and near.any(), name


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
        assert whole_picture(mask).size == (WIDTH, HEIGHT)
        read = recipes["mask-to-image"].labels(mask, HEIGHT, WIDTH).numpy()
        assert np.array_equal(read, Drawing(figure).labels())
        assert np.allclose(read_pose(pose).joints, joints(figure), atol=0.01)
    encoded = recipes["pose-to-body"].encode(pose, 64, 64)
    assert (encoded[3:].amin((1, 2)) < 0.1).all()  # each of the 17 limbs is there
