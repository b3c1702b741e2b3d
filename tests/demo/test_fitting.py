"""A visitor's own photo is fitted to what the models know, and put back."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf.photos import crop_to_face
from tests.support.paths import REPOSITORY
from tests.support.pictures import whole_picture

pytest.importorskip("gradio", reason="needs the extra demo")
from tests.demo.test_page import Visitor  # noqa: E402

TAB = "edge-to-face"


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A painted face in a larger picture."""
    scene = Image.new("RGB", (400, 300), (120, 130, 140))
    painted = sorted((REPOSITORY / "demo" / "gallery" / TAB).glob("*.jpg"))[0]
    scene.paste(Image.open(painted).resize((100, 100)), (200, 100))
    path = tmp_path_factory.mktemp("photos") / "portrait.png"
    scene.save(path)
    return path


def test_the_exemplar_is_cropped_to_the_face_and_put_back(address: str, portrait: Path):
    visitor = Visitor(address, "fitting")
    photo = visitor.upload(portrait)
    cropped, whole, *_, keep = visitor.do(f"{TAB}-fit", "click", photo)
    assert same(cropped, crop_to_face(portrait)) and keep is False
    back, *_ = visitor.do(f"{TAB}-unfit", "click", whole)
    assert same(back, Image.open(portrait))


def test_a_layout_is_traced_from_the_face_alone(address: str, portrait: Path):
    visitor = Visitor(address, "tracing")
    photo = visitor.upload(portrait)
    for button, event in (("upload", "upload"), ("crop", "click")):
        cropped, canvas, whole, *_ = visitor.do(f"{TAB}-{button}", event, photo, 0.2, False)
        assert same(cropped, crop_to_face(portrait))
        width, height = canvas["size"]
        assert width == height
    back, canvas, *_ = visitor.do(f"{TAB}-uncrop", "click", whole, 0.2, False)
    assert same(back, Image.open(portrait)) and canvas["size"][0] > canvas["size"][1]


def test_a_photo_without_a_face_is_refused_with_the_remedy(address: str, files: Path):
    visitor = Visitor(address, "nobody")
    event, photo = visitor.event(f"{TAB}-fit", "click"), visitor.upload(files / "photo.png")
    refused = visitor.answer(event, photo)
    assert not refused["success"] and "from the front" in refused["output"]["error"]


def same(shown: dict, expected: Image.Image) -> bool:
    """Whether the page shows this picture."""
    return np.array_equal(np.asarray(whole_picture(shown["path"])), np.asarray(expected))
