"""What each tab shows before anything was done."""

import base64
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf import bundled_names
from cocosnet_hf.bundled import ASSETS, READERS
from tests.support import tiny
from tests.support.demo_page import CONDITIONS, SIZE, noise
from tests.support.pictures import whole_picture

gradio = pytest.importorskip("gradio", reason="needs the extra demo")
from studio.first_sight import RECORD, first_sight, made_of, store  # noqa: E402
from studio.gallery import (  # noqa: E402
    FIRST,
    FOLDER,
    Exhibit,
    Gallery,
    gallery_of,
    real_face,
)
from studio.layer_tab import FIRST_PHOTOS, MODEL, WORN, first_address  # noqa: E402
from studio.painters import DemoResult, Painter  # noqa: E402


class Refusing(Painter):
    """One that would keep visitors waiting."""

    def paint(self, *_: object, **__: object) -> DemoResult:
        """Never."""
        raise AssertionError("painted at the start of the page")


def opened(address: str, folder: Path = FOLDER) -> Image.Image:
    if address.startswith("data:"):
        return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    return whole_picture(folder / address.removeprefix("gallery/"))


@pytest.mark.parametrize("tab", bundled_names())
def test_the_stored_pictures_are_of_the_bundled_models_and_galleries(tab: str):
    # Otherwise: python -m tools.paint_first_sights
    gallery = gallery_of(tab, CONDITIONS[tab])
    painter = Refusing(tiny.pipeline(CONDITIONS[tab]), is_bundled=True)
    value = first_sight(tab, painter, gallery)
    width, height = value["size"]
    assert min(width, height) >= 384 and max(width, height) >= 512
    for name in ("image", "download", "before", "warped"):
        assert opened(value[name]).size == (width, height), name
    assert value["flow"] and value["movable"] and "asked" not in value
    assert sum(file.stat().st_size for file in (FOLDER / tab / FIRST).iterdir()) < 400_000


def test_no_face_is_painted_from_a_painted_one_at_first():
    gallery = gallery_of("edge-to-face", CONDITIONS["edge-to-face"])
    assert np.array_equal(gallery.look.picture, real_face())
    assert gallery.index_of(real_face()) not in FIRST_PHOTOS and "NASA" in gallery.told


def test_what_is_worn_at_first_is_of_the_bundled_model_and_its_gallery():
    # Otherwise: python -m tools.paint_first_sights edge-to-face
    pipe = tiny.pipeline(CONDITIONS[MODEL], SIZE)
    assert first_address(Painter(pipe)) == ""
    assert first_address(Painter(pipe, is_bundled=True)).endswith("/worn.json")
    value = json.loads(WORN.read_text())
    gallery = gallery_of(MODEL, CONDITIONS[MODEL])
    for place, name in zip(FIRST_PHOTOS, value["photos"], strict=True):
        assert np.array_equal(Image.open(WORN.parent / name), gallery[place].picture)
    for (rows, columns), flow in zip(value["cells"], value["flows"], strict=True):
        places = np.frombuffer(base64.b64decode(flow), "<u2").reshape(rows, columns, 2)
        # Portraits are alike: where a face has its middle the other one has a place near it.
        middle = places[rows // 3 : -rows // 3, columns // 3 : -columns // 3] / 65535
        assert np.abs(middle.mean((0, 1)) - 0.5).max() < 0.15


@pytest.mark.parametrize("tab", bundled_names())
def test_the_first_sight_tells_guesses_from_what_is_sure(tab: str):
    record = json.loads((FOLDER / tab / FIRST / RECORD).read_text())
    sure = np.frombuffer(base64.b64decode(record["value"]["sure"]), np.uint8)
    # Of a pose nearly all is guided: only where no limb is near must be guessed.
    assert np.ptp(np.percentile(sure, (1, 99))) > 60


def test_any_other_model_paints_it_at_the_start():
    tab = "mask-to-image"
    painter = Painter(tiny.pipeline(CONDITIONS[tab], SIZE, mix_condition=False))
    gallery = gallery_of(tab, CONDITIONS[tab])
    painting = painter.paint(gallery.layout.condition, gallery.look.picture)
    shown = opened(first_sight(tab, painter, gallery)["download"])
    assert np.array_equal(shown, painting.image)


@pytest.mark.parametrize("tab", bundled_names())
def test_what_is_stored_is_of_the_networks_that_guide_the_matching(
    tab: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import studio.first_sight

    large = shutil.ignore_patterns("*.safetensors")
    shutil.copytree(ASSETS, tmp_path / "assets", ignore=large)
    monkeypatch.setattr(studio.first_sight, "ASSETS", tmp_path / "assets")
    known = {made_of(tab)}
    for reader in READERS[tab]:
        with (tmp_path / "assets" / reader / "config.json").open("a") as file:
            file.write(" ")
        known.add(made_of(tab))
    assert len(known) == 1 + len(READERS[tab])


def test_what_is_stored_is_shown_until_the_gallery_changes(
    tmp_path, monkeypatch: pytest.MonkeyPatch
):
    import studio.first_sight

    tab = "edge-to-face"
    monkeypatch.setattr(studio.first_sight, "FOLDER", tmp_path)
    (tmp_path / tab).mkdir()
    noise().save(tmp_path / tab / "00.jpg")
    painter = Painter(tiny.pipeline(CONDITIONS[tab], SIZE), is_bundled=True)
    gallery = Gallery([Exhibit(noise(n), noise(n)) for n in (0, 1)], CONDITIONS[tab])
    painted = first_sight(tab, painter, gallery)
    store(tab, painter, gallery)
    shown = first_sight(tab, Refusing(painter.pipe, is_bundled=True), gallery)
    assert shown["flow"] == painted["flow"] and shown["look"] == painted["look"]
    wrong = np.asarray(opened(shown["image"], tmp_path), int) - np.asarray(opened(painted["image"]))
    assert np.abs(wrong).max() == 0
    noise(5).save(tmp_path / tab / "00.jpg")
    assert made_of(tab) and first_sight(tab, painter, gallery)["image"] == painted["image"]
