"""The demo's page as visitors' browsers ask it."""

import base64
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import numpy as np
import pytest
from PIL import Image

from cocosnet_hf import MaskCondition
from tests.support import tiny
from tests.support.demo_page import CONDITIONS, DEMO, SIZE, noise, pose, served
from tests.support.keypoints import CANVAS, STANDING, openpose
from tests.support.pictures import whole_picture
from tests.support.segmenter import save_segmenter
from train.config import load_config

gradio = pytest.importorskip("gradio", reason="needs the extra demo")
from gradio_client import Client  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402
from studio.gallery import LOOK, gallery_of  # noqa: E402
from studio.inputs import as_canvas, as_figure, read_drawing  # noqa: E402
from studio.mask_tab import on_canvas  # noqa: E402
from studio.painters import Painter  # noqa: E402


class Visitor:
    """A session of the page, whose parts go by their `elem_id`."""

    def __init__(self, address: str, session: str) -> None:
        self.address = address
        self.session = session
        config = httpx.get(f"{address}config").json()
        self.parts = {part["id"]: part["props"] for part in config["components"]}
        self.events = config["dependencies"]

    def event(self, part: str, action: str) -> dict[str, Any]:
        """What an action on a part asks the server for first."""
        return next(
            event
            for event in self.events
            if event["backend_fn"]
            for target, kind in event["targets"]
            if kind == action and self.parts[target].get("elem_id") == part
        )

    def upload(self, path: Path) -> dict[str, Any]:
        """The description of a file that was sent."""
        sent = {"files": (path.name, path.read_bytes())}
        (found,) = httpx.post(f"{self.address}gradio_api/upload", files=sent).json()
        return {"path": found, "meta": {"_type": "gradio.FileData"}}

    def value(self, part: str) -> Any:
        """What a part holds when the page opens."""
        return next(p["value"] for p in self.parts.values() if p.get("elem_id") == part)

    def answer(self, event: dict[str, Any], *data: Any, **more: Any) -> dict[str, Any]:
        """What the server answers to an event."""
        request = {"session_hash": self.session, "fn_index": event["id"], "data": data} | more
        httpx.post(f"{self.address}gradio_api/queue/join", json=request).raise_for_status()
        with httpx.stream(
            "GET",
            f"{self.address}gradio_api/queue/data",
            params={"session_hash": self.session},
            timeout=60,
        ) as stream:
            for line in stream.iter_lines():
                if "process_completed" in line:
                    return json.loads(line.removeprefix("data:"))
        raise AssertionError("the stream ended without an answer")

    def do(self, part: str, action: str, *data: Any, **more: Any) -> list[Any]:
        """What an action puts into the parts that it changes."""
        answer = self.answer(self.event(part, action), *data, **more)
        assert answer["success"], answer
        return [
            value.get("value") if isinstance(value, dict) and "__type__" in value else value
            for value in answer["output"]["data"]
        ]


def picture_of(value: dict[str, Any], name: str = "download") -> np.ndarray:
    """A picture of what a board shows."""
    path = unquote(value[name].removeprefix("gradio_api/file="))
    return np.asarray(whole_picture(Path(path)))


def test_a_painting_comes_with_all_that_is_shown_of_it(address: str, files: Path):
    visitor = Visitor(address, "first")
    drawing = as_canvas(whole_picture(files / "colours.png"))
    exemplar = visitor.upload(files / "photo.png")
    sent = {"asked": 7, "look": "", "pins": []}
    (value,) = visitor.do("mask-to-image-paint", "click", sent, drawing, exemplar, False, 0.5)
    assert value["asked"] == 7 and value["size"] == [SIZE, SIZE] and not value["movable"]
    assert value["names"][:2] == ["sky", "sun"] and "here" in value and "there" not in value
    for name in ("image", "before", "warped", "exemplar"):
        assert httpx.get(f"{address}{value[name]}").status_code == 200, name
    # Shown compressed: of noise as here single pixels may move far, all together do not.
    shown, painted = (picture_of(value, name).astype(float) for name in ("image", "download"))
    assert np.abs(shown - painted).mean() < 6 < np.abs(shown - shown.mean((0, 1))).mean()
    assert np.array_equal(picture_of(value, "exemplar").shape, (SIZE, SIZE, 3))


def test_what_cannot_be_painted_live_is_told_on_the_board(address: str):
    visitor = Visitor(address, "empty")
    empty = as_canvas(Image.new("RGBA", (SIZE, SIZE)))
    exemplar = visitor.value("mask-to-image-exemplar")
    given = ({"asked": 3}, empty, exemplar, False, 0.5)
    (value,) = visitor.do("mask-to-image-result", "input", *given)
    assert value["asked"] == 3 and "The canvas is empty" in value["problem"]
    refused = visitor.answer(visitor.event("mask-to-image-paint", "click"), *given)
    assert "The canvas is empty" in refused["output"]["error"]


@pytest.mark.slow
def test_a_pair_of_pinned_points_is_painted(files: Path):
    tab = "edge-to-face"
    painter = Painter(tiny.blending_pipeline(CONDITIONS[tab], SIZE))
    with served(dict.fromkeys(CONDITIONS) | {tab: painter}) as url:
        visitor = Visitor(url, "pinning")
        given = (visitor.value(f"{tab}-canvas"), visitor.upload(files / "photo.png"), False, 0.5)
        (first,) = visitor.do(f"{tab}-paint", "click", None, *given)
        pins = [{"from": [0.3, 0.3], "to": [0.9, 0.9]}]
        sent = {"asked": 1, "look": first["look"], "pins": pins}
        (second,) = visitor.do(f"{tab}-paint", "click", sent, *given)
        (third,) = visitor.do(f"{tab}-paint", "click", sent | {"look": "another"}, *given)
    assert first["movable"] and second["flow"] != first["flow"] == third["flow"]
    assert not np.array_equal(picture_of(second), picture_of(first))


def test_the_best_match_is_not_the_layouts_own_picture(address: str):
    visitor, tab = Visitor(address, "matching"), "mask-to-image"
    drawing = visitor.value(f"{tab}-canvas")
    pictures, order, _, exemplar, keep = visitor.do(f"{tab}-suggest", "click", drawing)
    assert pictures[0]["caption"] == "100%" and order[0] == 0 and not keep
    gallery = gallery_of(tab, CONDITIONS[tab])
    assert np.array_equal(whole_picture(exemplar["path"]), gallery[order[1]].picture)
    again, straight, _ = visitor.do(f"{tab}-unsort", "click", exemplar)
    assert straight == list(range(len(gallery))) and again[0]["caption"] is None


def test_a_tab_without_a_model_says_so_and_how_to_get_one():
    with served(dict.fromkeys(CONDITIONS)) as url:
        page = json.dumps(httpx.get(f"{url}config").json())
        for tab in CONDITIONS:
            assert f"--{tab} FOLDER_OR_HUB_ID" in page
        with pytest.raises(AppError, match="COCOSNET_POSE_TO_BODY"):
            client = Client(url, verbose=False)
            client.predict({}, None, api_name="/pose_to_body")


@pytest.mark.parametrize("tab", ["mask-to-image", "edge-to-face"])
def test_another_layout_is_no_change_of_the_exemplar(address: str, tab: str):
    visitor = Visitor(address, "keeping")
    for load in ((f"{tab}-examples", "select"), (f"{tab}-upload", "upload")):
        assert unticked(visitor, *load) == f"{tab}-keep"


def unticked(visitor: Visitor, part: str, action: str) -> str:
    """The box that what follows an action unticks."""
    after = visitor.event(part, action)["id"]
    then = [event for event in visitor.events if event["trigger_after"] == after]
    # In the browser, so that no late answer undoes what the visitor chose meanwhile.
    assert all(event["trigger_only_on_success"] and not event["backend_fn"] for event in then)
    (box,) = next(event["outputs"] for event in then if event["js"] == "() => false")
    return visitor.parts[box]["elem_id"]


@pytest.mark.slow
def test_a_photo_that_a_model_labels_is_another_layout(tmp_path: Path, files: Path):
    tab = "mask-to-image"
    save_segmenter(tmp_path / "parser", ["sky", "ground"])
    condition = MaskCondition(classes=("ground", "sky"), parser=str(tmp_path / "parser"))
    painter = Painter(tiny.pipeline(condition, SIZE, mix_condition=False))
    with served(dict.fromkeys(CONDITIONS) | {tab: painter}) as url:
        visitor = Visitor(url, "labelling")
        photo = visitor.upload(files / "photo.png")
        (canvas,) = visitor.do(f"{tab}-photo", "upload", photo)
        labels = condition.from_photo(files / "photo.png", condition.parser)
        found = condition.encode(labels, SIZE, SIZE)
        assert found.amax((1, 2)).tolist() == [1, 1]
        assert canvas == on_canvas(labels, condition)
        assert unticked(visitor, f"{tab}-photo", "upload") == f"{tab}-keep"
        # Who ticks it again changes the photo from this layout on.
        drawing = read_drawing(canvas)
        another = condition.colors[int(found[0, :16, :16].mean() > 0.5)]
        drawing.paste(another, (0, 0, 64, 64))
        changed = as_canvas(drawing) | {"start": canvas}
        (value,) = visitor.do(f"{tab}-paint", "click", None, changed, photo, True, 0.5)
        before, after = picture_of(value, "before"), picture_of(value)
    different = (before != after).any(2)
    assert different[:8, :8].any() and not different[32:].any()


@pytest.mark.slow
def test_keypoints_without_a_size_become_a_figure_in_a_square(address: str, tmp_path: Path):
    joints = np.nan_to_num(pose().joints)
    joints[0] = (9 * SIZE, 0, 0.2)
    content = {"people": [{"pose_keypoints_2d": joints.ravel().tolist()}]}
    (tmp_path / "pose.json").write_text(json.dumps(content))
    visitor = Visitor(address, "unsized")
    (figure,) = visitor.do("pose-to-body-upload", "upload", visitor.upload(tmp_path / "pose.json"))
    assert figure["size"] == [256, 256]
    found = np.array(figure["joints"])
    assert found[0, 2] == 0
    assert np.ptp(found[found[:, 2] > 0, 1]) == pytest.approx(0.8 * 256, abs=1)


def test_one_of_several_people_is_chosen(address: str, tmp_path: Path):
    scrap = STANDING * (np.arange(18) < 4)[:, None]
    (tmp_path / "pose.json").write_text(json.dumps(openpose(scrap, STANDING, **CANVAS)))
    visitor = Visitor(address, "several")
    file = visitor.upload(tmp_path / "pose.json")
    (figure,) = visitor.do("pose-to-body-upload", "upload", file)
    assert np.array(figure["joints"])[:, 2].astype(bool).sum() == 18
    after = visitor.event("pose-to-body-upload", "upload")["id"]
    (then,) = (
        event for event in visitor.events if event["trigger_after"] == after and event["backend_fn"]
    )
    (choice,) = visitor.answer(then, file)["output"]["data"]
    assert choice["visible"] and choice["value"] == 1
    assert choice["choices"] == [["Person 0", 0], ["Person 1", 1]]
    (figure,) = visitor.do("pose-to-body-person", "input", file, 0)
    assert np.array(figure["joints"])[:, 2].astype(bool).sum() == 4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* of the drawing would be ink")  # the edges of noise
@pytest.mark.parametrize("aspect", [(1, 8), (5, 1), (8, 1)], ids=["tall", "lying", "flat"])
def test_what_the_page_makes_of_a_long_file_can_be_painted(
    address: str, files: Path, tmp_path: Path, aspect: tuple[int, int]
):
    visitor = Visitor(address, "long")
    exemplar = visitor.upload(files / "exemplar.png")
    width, height = (90 * share for share in aspect)
    noise(size=(width, height)).save(tmp_path / "photo.png")
    photo = visitor.upload(tmp_path / "photo.png")
    Image.fromarray(np.tri(height, width, dtype=np.uint8)).save(tmp_path / "labels.png")
    figure = pose((height, width))
    content = {"keypoints": figure.joints.tolist(), "size": [height, width]}
    (tmp_path / "pose.json").write_text(json.dumps(content))

    (mask,) = visitor.do("mask-to-image-upload", "upload", visitor.upload(tmp_path / "labels.png"))
    _, edges, *_ = visitor.do("edge-to-face-upload", "upload", photo, 0.2, False)
    (joints,) = visitor.do("pose-to-body-upload", "upload", visitor.upload(tmp_path / "pose.json"))
    own = as_figure(pose(), pose().joints[:, :2] / SIZE)
    for tab, editor, more in (
        ("mask-to-image", mask, []),
        ("edge-to-face", edges, []),
        ("pose-to-body", joints, [own]),
    ):
        given = (None, editor, exemplar, False, 0.5, *more)
        (value,) = visitor.do(f"{tab}-paint", "click", *given)
        width, height = value["size"]
        assert width / height == aspect[0] / aspect[1], tab

    portrait, canvas, *_ = visitor.do("layers-upload", "upload", photo)
    assert np.divide(*canvas["size"]) == pytest.approx(aspect[0] / aspect[1], rel=0.01)
    (worn,) = visitor.do(
        "layers-paint", "click", portrait, [{"image": exemplar, "caption": None}], False
    )
    ((rows, columns),) = worn["cells"]
    assert len(base64.b64decode(worn["flows"][0])) == 4 * rows * columns


def test_makeup_follows_the_matching_into_each_portrait(
    address: str, painting: dict[str, Painter], files: Path
):
    visitor = Visitor(address, "layers")
    portraits = [visitor.upload(files / name) for name in ("exemplar.png", "labels.png")]
    portrait, canvas, *_ = visitor.do(
        "layers-upload", "upload", visitor.upload(files / "photo.png")
    )
    others = [{"image": portrait, "caption": None} for portrait in portraits]
    (worn,) = visitor.do("layers-paint", "click", portrait, others, False)
    pipe, grid = painting["edge-to-face"].pipe, SIZE // 4
    photo = whole_picture(files / "photo.png").resize(canvas["size"], Image.Resampling.BICUBIC)
    assert worn["grid"] == [grid, grid]
    for name, address_of_photo, flow in zip(
        ("exemplar.png", "labels.png"), worn["photos"], worn["flows"], strict=True
    ):
        sent = httpx.get(f"{visitor.address}{address_of_photo}").content
        shown_photo = Image.open(io.BytesIO(sent))
        assert np.array_equal(shown_photo, whole_picture(files / name).convert("RGB"))
        expected = pipe.match(shown_photo, photo).coherent().position[0]
        shares = np.frombuffer(base64.b64decode(flow), "<u2").reshape(expected.shape) / 65535
        assert np.abs(shares * (grid - 1) - expected.numpy()).max() <= 0.001
    too_many = visitor.answer(visitor.event("layers-paint", "click"), portrait, 5 * others, False)
    assert "Choose 1 to 8 portraits, got 10" in too_many["output"]["error"]


@pytest.mark.slow
def test_the_tab_of_poses_takes_a_pipeline_as_its_recipe_makes_it(files: Path):
    tab = "pose-to-body"
    recipe = load_config(DEMO.parent / "train" / "configs" / f"{tab}.yaml").networks
    condition = recipe.make_condition()
    mixed = recipe.options["correspondence"]["mix_condition"]
    painter = Painter(tiny.pipeline(condition, SIZE, mix_condition=mixed))
    gallery = gallery_of(tab, condition)

    def same(figure: dict[str, Any], place: int) -> bool:
        return np.allclose(figure["joints"], gallery[place].condition.joints, atol=0.01)

    with served(dict.fromkeys(CONDITIONS) | {tab: painter}) as url:
        visitor = Visitor(url, "posing")
        exemplar = visitor.value(f"{tab}-exemplar")
        (found,) = visitor.do(f"{tab}-edit", "click", exemplar)
        assert same(found, LOOK)
        gallery[3].picture.save(files / "shown.png")
        (found,) = visitor.do(f"{tab}-edit", "click", visitor.upload(files / "shown.png"))
        assert same(found, 3)
        for place in (2, 5):
            click = {"index": place, "value": None}
            (figure,) = visitor.do(f"{tab}-examples", "select", event_data=click)
            assert same(figure, place)
            (value,) = visitor.do(f"{tab}-paint", "click", None, figure, exemplar, False, 0.5)
            expected = painter.paint(gallery[place].condition, gallery.look.picture).image
            assert np.abs(picture_of(value).astype(int) - expected).max() <= 1
            pictures, *_ = visitor.do(f"{tab}-suggest", "click", figure)
            assert pictures[0]["caption"] == "100%"
        photo = visitor.upload(files / "photo.png")
        for button, event in (("photo", "upload"), ("edit", "click")):
            (standing,) = visitor.do(f"{tab}-{button}", event, photo)
            assert standing["size"] == [SIZE, SIZE]
            assert not same(standing, LOOK)


def test_edit_takes_the_layout_of_the_picture_that_is_shown(address: str, tmp_path: Path):
    tab, visitor = "mask-to-image", Visitor(address, "editing")
    condition = CONDITIONS[tab]
    exhibit = gallery_of(tab, condition)[3]
    exhibit.picture.save(tmp_path / "shown.png")
    found, keep = visitor.do(f"{tab}-edit", "click", visitor.upload(tmp_path / "shown.png"))
    assert found == on_canvas(exhibit.condition, condition)
    assert keep
    refused = visitor.answer(visitor.event(f"{tab}-edit", "click"), None)
    assert "There is no look yet" in refused["output"]["error"]


def test_makeup_is_among_the_first_tabs(address: str):
    parts = httpx.get(f"{address}config").json()["components"]
    tabs = [part["props"]["id"] for part in parts if part["type"] == "tabitem"]
    assert tabs.index("layers") <= 1 and sorted(tabs) == sorted([*CONDITIONS, "layers"])


def test_strokes_that_come_while_one_is_painted_replace_each_other(address: str):
    visitor = Visitor(address, "live")
    for tab in CONDITIONS:
        assert visitor.event(f"{tab}-result", "input")["trigger_mode"] == "always_last"
