"""The pictures that the demo offers, painted anew."""

from pathlib import Path

import pytest

from cocosnet_hf import Condition, Pose, bundled
from cocosnet_hf.synthetic import SyntheticExamples, write_imagefolder
from demo.studio import gallery
from tests.support.demo_page import CONDITIONS, SIZE, save_recipe_pipelines
from tests.support.pictures import whole_picture
from tools import paint_gallery
from tools.people import FIGURES, HEIGHT, WIDTH, draw_layout, joints

OF_PHOTOS = ("edge-to-face", "mask-to-landscape")
"""The tabs whose looks are photos without a mask, as high as wide."""


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Condition]:
    """Untrained pipelines in place of the bundled ones, with the conditions of their recipes."""
    monkeypatch.setitem(bundled.__globals__, "ASSETS", tmp_path / "assets")
    return save_recipe_pipelines(tmp_path / "assets")


@pytest.mark.parametrize(
    "tab",
    [pytest.param(tab, marks=[pytest.mark.slow] * (tab != "edge-to-face")) for tab in CONDITIONS],
)
def test_a_gallery_is_painted_by_the_bundled_pipeline(
    assets: dict[str, Condition], tab: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gallery, "FOLDER", tmp_path / "gallery")
    monkeypatch.setattr(paint_gallery, "FOLDER", tmp_path / "gallery")
    monkeypatch.setattr(gallery, "FIRST_PAIRS", {tab: (0, 1)})  # in the order of the files
    source = write_imagefolder(SyntheticExamples("pose", SIZE, length=8), tmp_path / "people")
    if tab in OF_PHOTOS:
        source = source / "images"
    sheet = tmp_path / "sheet.jpg"
    paint_gallery.main([tab, str(source), "--keep", "4", "6", "1", "--sheet", str(sheet)])
    height = SIZE if tab in OF_PHOTOS else SIZE * HEIGHT // WIDTH
    assert whole_picture(sheet).size == (3 * SIZE, height)
    paint_gallery.main([tab, str(source), "--keep", "4", "6", "1"])  # in place of the former ones
    found = gallery.gallery_of(tab, assets[tab])
    assert len(found) == 3 + (tab == "edge-to-face")
    if tab != "edge-to-face":
        stored = assets[tab].encode(found[0].condition, SIZE, SIZE)
        drawn = paint_gallery.drawn_layouts(assets[tab])[4]
        assert (stored - assets[tab].encode(drawn, SIZE, SIZE)).abs().mean() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("tab", ["mask-to-image", "pose-to-body"])
def test_the_gallery_has_the_layouts_of_drawn_figures(
    tab: str, assets: dict[str, Condition], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    condition = assets[tab]
    monkeypatch.setattr(paint_gallery, "FOLDER", tmp_path / "gallery")
    monkeypatch.setattr(gallery, "FOLDER", tmp_path / "gallery")
    people = write_imagefolder(SyntheticExamples("pose", 64, length=6), tmp_path / "people")
    kept = (4 * paint_gallery.NEIGHBOURS + 1, 2 * paint_gallery.NEIGHBOURS)
    paint_gallery.main([tab, str(people), "--keep", *map(str, kept)])
    stored = gallery.gallery_of(tab, condition)
    assert len(stored) == 2
    for exhibit, figure in zip(stored.exhibits, (FIGURES[4], FIGURES[2]), strict=True):
        drawn = draw_layout(figure)
        if tab == "pose-to-body":
            drawn = Pose(joints(figure), (HEIGHT, WIDTH))
        size = exhibit.picture.height, exhibit.picture.width
        difference = condition.encode(exhibit.condition, *size) - condition.encode(drawn, *size)
        assert difference.abs().mean() < 0.001
