"""What a canvas starts from: its own picture, or what a model finds in a photo."""

import dataclasses
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image, ImageDraw

from cocosnet_hf import MaskCondition
from cocosnet_hf.conditions.pose import DEFAULT_POSE_ESTIMATOR
from tests.support import tiny
from tests.support.demo_page import CONDITIONS, SIZE, noise
from tests.support.estimator import save_estimator
from tests.support.segmenter import save_segmenter

gradio = pytest.importorskip("gradio", reason="needs the extra demo")
from studio.edge_tab import lines_before  # noqa: E402
from studio.gallery import standing_figure  # noqa: E402
from studio.inputs import (  # noqa: E402
    as_canvas,
    as_figure,
    downloaded,
    empty_canvas,
    read_start,
    start_of,
)
from studio.mask_tab import labelled  # noqa: E402
from studio.painters import Painter  # noqa: E402
from studio.pose_tab import found_in  # noqa: E402


def test_an_edited_canvas_remembers_what_it_began_with():
    loaded, drawn = as_canvas(noise()), as_canvas(noise(1))
    assert start_of(loaded) == loaded
    assert start_of(drawn | {"start": loaded}) == loaded
    assert start_of(drawn | {"start": "/etc/passwd"})["image"] == drawn["image"]
    assert start_of(None) is None


@pytest.mark.parametrize(
    "empty", [empty_canvas(SIZE, SIZE), as_canvas(Image.new("RGBA", (SIZE, SIZE)))]
)
def test_a_canvas_may_have_been_empty_before_it_was_painted_on(empty: dict[str, Any]):
    drawing = Image.new("RGBA", (SIZE, SIZE))
    ImageDraw.Draw(drawing).line((8, 8, 24, 8), "black", 3)
    value = as_canvas(drawing) | {"start": empty}
    before = read_start(value)
    assert before.size == drawing.size and before.getextrema()[3] == (0, 0)
    painter, photo = Painter(tiny.pipeline(image_size=SIZE)), noise(1)
    kept = painter.paint({"edges": drawing}, photo, before=lines_before(value)).result
    changed = (np.asarray(kept) != np.asarray(photo)).any(2)
    assert changed[8, 8:24].any() and not changed[-8:, -8:].any()  # far from the line
    with pytest.raises(ValueError, match="canvas is empty"):
        read_start(empty)


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes the folder of a model in the Hub's cache, while the Hub itself may be asked."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def place(model: str) -> Path:
        folder, revision = tmp_path / f"models--{model.replace('/', '--')}", "0" * 40
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text(revision)
        return folder / "snapshots" / revision

    return place


@pytest.fixture
def cached_parser(cached: Callable[[str], Path]) -> MaskCondition:
    """A condition whose parser lies in the Hub's cache."""
    save_segmenter(cached("alice/parser"), ["sky", "ground"])
    return MaskCondition(classes=("ground", "sky"), parser="alice/parser")


def test_a_photo_is_labelled_by_a_model_that_is_at_hand(
    cached_parser: MaskCondition, monkeypatch: pytest.MonkeyPatch
):
    asked = recorded_look_ups(monkeypatch)
    found = labelled(noise(size=(48, 32)), cached_parser)
    encoded = cached_parser.encode(found, 32, 48)
    assert encoded.sum() == 32 * 48
    assert asked == []


def test_a_pose_is_found_in_a_photo_by_a_model_that_is_at_hand(
    cached: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
):
    folder = cached(DEFAULT_POSE_ESTIMATOR)
    save_estimator(folder)
    asked = recorded_look_ups(monkeypatch)
    photo, condition = noise(size=(48, 96)), CONDITIONS["pose-to-body"]
    editor = found_in(photo, condition, standing_figure())
    expected = condition.from_photo(photo, str(folder))
    assert editor.value == as_figure(expected, standing_figure(), condition.min_score)
    assert editor.props["guide"].startswith("data:image/jpeg")
    assert asked == []


def test_a_model_may_be_a_folder(tmp_path: Path):
    assert downloaded(str(tmp_path)) == str(tmp_path)


def test_no_model_is_fetched_for_a_visitor(
    cached_parser: MaskCondition, monkeypatch: pytest.MonkeyPatch
):
    asked = recorded_look_ups(monkeypatch)
    with pytest.raises(FileNotFoundError, match="hf download alice/other"):
        labelled(noise(), dataclasses.replace(cached_parser, parser="alice/other"))
    with pytest.raises(ValueError, match="upload it in step 1"):
        labelled(noise(), MaskCondition.from_names(("sky", "sea")))
    with pytest.warns(UserWarning, match="drag the joints onto this photo"):
        nobody = Image.new("RGB", (96, 64), (90, 140, 200))
        editor = found_in(nobody, CONDITIONS["pose-to-body"], standing_figure())
    assert editor.value["size"] == [96, 64]
    assert all(score == 1 for _, _, score in editor.value["joints"])
    assert asked == []


def recorded_look_ups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts that are looked up from now on; none is found.

    This machine's own are looked up as ever: a server that another test of this process left may
    ask at any time.
    """
    asked: list[str] = []
    genuine = socket.getaddrinfo

    def look_up(*address: Any, **hints: Any) -> Any:
        if address[0] in ("127.0.0.1", "localhost"):
            return genuine(*address, **hints)
        asked.append(address[0])
        raise OSError(f"no network here for {address} and {hints}")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked
