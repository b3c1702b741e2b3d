"""The examples of the README and of docs/using.md run as they stand."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cocosnet_hf import MaskCondition, Matching, bundled
from cocosnet_hf.bundled import ASSETS
from tests.support import tiny
from tests.support.documents import blocks
from tests.support.pictures import whole_picture

(PAINTING,) = blocks("README.md", "python")
FITTING, BLENDING, APPLICATIONS = blocks("docs/using.md", "python")
FACES = ASSETS / "edge-to-face" / "examples"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of an example."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_example_of_photos_as_they_are_runs(folder: Path):
    shutil.copy(FACES / "layout.jpg", folder / "portrait.jpg")
    person = whole_picture(ASSETS / "mask-to-image" / "examples" / "exemplar.png")
    person.convert("RGB").save(folder / "street.jpg")
    names: dict[str, Any] = {}
    exec(FITTING, names)
    assert names["face"].width == names["face"].height
    assert abs(names["figure"].height - 2 * names["figure"].width) <= 1
    assert abs(names["pose"].size[0] - 2 * names["pose"].size[1]) <= 1


def test_the_example_of_painting_runs(folder: Path):
    condition = MaskCondition.from_names(["ground", "sky"])
    tiny.pipeline(condition, image_size=64).save_pretrained(folder / "folder-or-user" / "repo")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (70, 80, 3), np.uint8)).save(folder / "exemplar.jpg")
    for name in ("mask.png", "exemplar_mask.png"):
        Image.fromarray(rng.integers(0, 2, (70, 80), np.uint8)).save(folder / name)
    names: dict[str, Any] = {"x": 10, "y": 20}
    exec(PAINTING, names)
    assert names["out"].images[0].size == names["out"].warped_exemplars[0].size == (72, 64)
    assert isinstance(names["out"].matching, Matching)


def test_the_example_of_blending_runs(folder: Path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (300, 300, 3), np.uint8)).save(folder / "exemplar.jpg")
    mask = Image.fromarray(rng.integers(0, 2, (64, 64), np.uint8))
    mask.save(folder / "mask.png")
    masks = MaskCondition.from_names(["ground", "sky"])
    pipe = tiny.blending_pipeline(masks)
    condition = {"exemplar_condition": mask}
    names: dict[str, Any] = {"pipe": lambda *paths, **knobs: pipe(*paths, **condition, **knobs)}
    exec(BLENDING, names)
    assert names["out"].images[0].size == names["out"].blend[0].size == (256, 256)


def test_the_example_of_applications_runs(folder: Path):
    for name in ("portrait", "ann"):
        shutil.copy(FACES / "layout.jpg", folder / f"{name}.jpg")
    shutil.copy(FACES / "exemplar.jpg", folder / "eve.jpg")
    portrait = whole_picture(folder / "portrait.jpg")
    edges = bundled("edge-to-face").condition
    changed = edges.preview(edges.encode(portrait, 256, 256))
    ImageDraw.Draw(changed).line((40, 20, 80, 20), fill=0, width=2)
    changed.save(folder / "changed.png")
    lipstick = Image.new("RGBA", portrait.size)
    lipstick.paste("red", (0, 0, portrait.width // 2, portrait.height))
    lipstick.save(folder / "lipstick.png")
    names: dict[str, Any] = {}
    exec(APPLICATIONS, names)

    different = (np.asarray(names["edited"]) != np.asarray(portrait)).any(2)
    height, width = different.shape
    assert different[: height // 4, : width // 2].any()
    assert not different[-height // 4 :].any()

    assert [picture.size for picture in names["made_up"]] == [
        whole_picture(folder / name).size for name in ("ann.jpg", "eve.jpg")
    ]
    red = np.asarray(names["made_up"][0], float) - np.asarray(portrait, float)
    assert red[:, : width // 3, 0].mean() > 30 > red[:, -width // 3 :, 0].mean()
