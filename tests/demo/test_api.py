"""The demo as programs use it."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import SpaceCard
from PIL import Image

from cocosnet_hf import Pose
from tests.support.demo_page import DEMO, SIZE, noise, pose
from tests.support.keypoints import SIZE as CANVAS_SIZE
from tests.support.keypoints import STANDING, openpose
from tests.support.pictures import whole_picture
from tests.support.visitor import answered, painted

gradio = pytest.importorskip("gradio", reason="needs the extra demo")
from gradio_client import Client, handle_file  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402
from studio.painters import TABS, Painter  # noqa: E402


def test_the_endpoints_are_the_jobs_of_the_tabs(client: Client):
    found = client.view_api(return_format="dict")
    assert set(found["named_endpoints"]) == {"/" + tab.replace("-", "_") for tab in TABS}


@pytest.mark.parametrize("name", ["labels.png", "colours.png"])
def test_masks_are_painted_from_indices_and_from_colours(
    client: Client, painting: dict[str, Painter], files: Path, name: str
):
    found = client.predict(
        handle_file(files / name), handle_file(files / "exemplar.png"), api_name="/mask_to_image"
    )
    expected = painted(painting["mask-to-image"], files, whole_picture(files / "labels.png"))
    assert all(map(np.array_equal, answered(found), expected))


def test_the_mask_of_a_turned_exemplar_lies_on_it(client: Client, files: Path, tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.new("RGB", (96, 64), "red")
    stored.save(tmp_path / "photo.jpg", exif=exif)
    asked = [files / "labels.png", tmp_path / "photo.jpg", tmp_path / "own.png"]
    for size in ((96, 64), (64, 96)):
        Image.new("L", size).save(tmp_path / "own.png")
        client.predict(*map(handle_file, asked), api_name="/mask_to_image")
    Image.new("L", (64, 64)).save(tmp_path / "own.png")
    with pytest.raises(AppError, match="64 x 64 pixels .* and its photo 64 x 96"):
        client.predict(*map(handle_file, asked), api_name="/mask_to_image")


def test_landscapes_are_painted_by_their_own_model(
    client: Client, painting: dict[str, Painter], files: Path
):
    labels = files / "labels.png"
    found = client.predict(
        handle_file(labels), handle_file(files / "exemplar.png"), api_name="/mask_to_landscape"
    )
    expected = painted(painting["mask-to-landscape"], files, whole_picture(labels))
    assert all(map(np.array_equal, answered(found), expected))


@pytest.mark.parametrize("drawing", [False, True])
def test_edges_are_painted_from_photos_and_from_drawings(
    client: Client, painting: dict[str, Painter], files: Path, drawing: bool
):
    path = files / ("drawing.png" if drawing else "photo.png")
    found = client.predict(
        handle_file(path), handle_file(files / "exemplar.png"), drawing, api_name="/edge_to_face"
    )
    picture = whole_picture(path)
    expected = painted(painting["edge-to-face"], files, {"edges": picture} if drawing else picture)
    assert all(map(np.array_equal, answered(found), expected))


def test_poses_are_painted_from_keypoints(
    client: Client, painting: dict[str, Painter], files: Path
):
    content = {"keypoints": pose().joints.tolist(), "size": [SIZE, SIZE]}
    found = client.predict(
        content, handle_file(files / "exemplar.png"), content, api_name="/pose_to_body"
    )
    expected = painted(painting["pose-to-body"], files, pose(), pose())
    assert all(map(np.array_equal, answered(found), expected))


def test_a_program_chooses_a_person_of_several(
    client: Client, painting: dict[str, Painter], files: Path
):
    scrap = STANDING * (np.arange(18) < 4)[:, None]
    side = max(CANVAS_SIZE)  # square, as the exemplar is
    content = [openpose(scrap, STANDING, canvas_height=side, canvas_width=side)]
    whole, part = (Pose.from_array(rows, (side, side)) for rows in (STANDING, scrap))
    for people, poses in (((), (whole, whole)), ((0, 1), (part, whole)), ((1, 0), (whole, part))):
        found = client.predict(
            content, handle_file(files / "exemplar.png"), content, *people, api_name="/pose_to_body"
        )
        expected = painted(painting["pose-to-body"], files, *poses)
        assert all(map(np.array_equal, answered(found), expected))


def test_a_missing_pose_of_the_exemplar_is_asked_for(client: Client, files: Path):
    content = {"keypoints": pose().joints.tolist(), "size": [SIZE, SIZE]}
    with pytest.raises(AppError, match="needs the exemplar"):
        client.predict(content, handle_file(files / "exemplar.png"), api_name="/pose_to_body")


def test_a_file_that_is_no_picture_is_answered_with_a_message(client: Client, files: Path):
    with pytest.raises(AppError, match="picture is not a picture that can be read"):
        client.predict(
            handle_file(files / "text.png"),
            handle_file(files / "exemplar.png"),
            api_name="/edge_to_face",
        )


def test_the_example_of_the_spaces_page_runs(
    address: str, files: Path, monkeypatch: pytest.MonkeyPatch
):
    (code,) = re.findall(r"```python\n(.*?)```", (DEMO / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(files)
    noise().save("photo.jpg")
    noise(1).save("exemplar.jpg")
    names: dict[str, Any] = {}
    exec(code.replace("http://127.0.0.1:7860", address), names)
    assert whole_picture(names["picture"]).size == (SIZE, SIZE)


def test_the_space_runs_the_tested_gradio():
    header = SpaceCard.load(DEMO / "README.md").data
    pins = (DEMO.parent / "constraints.txt").read_text().split()
    assert header.sdk == "gradio" and f"gradio=={header.sdk_version}" in pins
    assert len(header.short_description) <= 60
    assert (DEMO / header.app_file).is_file()
