"""The demo's page as programs, visitors and attackers find it."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tiny
from demo_page import CONDITIONS, DEMO, SIZE, UPLOADS, noise, pose, served
from demo_page import painters as tiny_painters
from huggingface_hub import SpaceCard
from PIL import Image, ImageDraw
from segmenter import save_segmenter

from cocosnet_hf import MaskCondition, bundled_names
from cocosnet_hf.applications import transfer_layer
from train.config import load_config

gradio = pytest.importorskip("gradio", reason="needs the extra demo")
from gradio_client import Client, handle_file  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402
from studio.gallery import LOOK, gallery_of  # noqa: E402
from studio.inputs import as_canvas, as_figure, read_drawing  # noqa: E402
from studio.limits import MAX_UPLOAD  # noqa: E402
from studio.mask_tab import on_canvas  # noqa: E402
from studio.painters import Painter  # noqa: E402
from studio.views import shown  # noqa: E402


@pytest.fixture(scope="module")
def painting() -> dict[str, Painter]:
    return tiny_painters()


@pytest.fixture(scope="module")
def address(painting: dict[str, Painter]) -> Iterator[str]:
    with served(painting) as url:
        yield url


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return Client(address, verbose=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures to send: photos, an index map, class colours, a drawing and a text."""
    folder = tmp_path_factory.mktemp("files")
    noise(0).save(folder / "photo.png")
    noise(1).save(folder / "exemplar.png")
    labels = Image.fromarray(
        (np.arange(SIZE * SIZE).reshape(SIZE, SIZE) // 97 % 12).astype("uint8")
    )
    labels.save(folder / "labels.png")
    condition = CONDITIONS["mask-to-image"]
    condition.preview(condition.encode(labels, SIZE, SIZE)).save(folder / "colours.png")
    drawing = Image.new("L", (SIZE, SIZE), 255)
    ImageDraw.Draw(drawing).ellipse((12, 12, 50, 50), outline=0, width=3)
    drawing.save(folder / "drawing.png")
    (folder / "text.png").write_text("not a picture")
    return folder


def painted(painter: Painter, files: Path, condition: Any, *own: Any) -> list[np.ndarray]:
    out = painter.pipe(condition, Image.open(files / "exemplar.png"), *own)
    return [np.asarray(out.images[0]), np.asarray(out.warped_exemplars[0])]


def answered(pictures: tuple[str, str]) -> list[np.ndarray]:
    return [np.asarray(Image.open(path).convert("RGB")) for path in pictures]


def test_the_endpoints_are_the_three_jobs(client: Client):
    found = client.view_api(return_format="dict")
    assert set(found["named_endpoints"]) == {"/mask_to_image", "/edge_to_face", "/pose_to_body"}


@pytest.mark.parametrize("name", ["labels.png", "colours.png"])
def test_masks_are_painted_from_indices_and_from_colours(
    client: Client, painting: dict[str, Painter], files: Path, name: str
):
    found = client.predict(
        handle_file(files / name), handle_file(files / "exemplar.png"), api_name="/mask_to_image"
    )
    expected = painted(painting["mask-to-image"], files, Image.open(files / "labels.png"))
    assert all(map(np.array_equal, answered(found), expected))


@pytest.mark.parametrize("drawing", [False, True])
def test_edges_are_painted_from_photos_and_from_drawings(
    client: Client, painting: dict[str, Painter], files: Path, drawing: bool
):
    path = files / ("drawing.png" if drawing else "photo.png")
    found = client.predict(
        handle_file(path), handle_file(files / "exemplar.png"), drawing, api_name="/edge_to_face"
    )
    picture = Image.open(path)
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
    assert Image.open(names["picture"]).size == (SIZE, SIZE)


def test_the_space_runs_the_tested_gradio():
    header = SpaceCard.load(DEMO / "README.md").data
    pins = (DEMO.parent / "constraints.txt").read_text().split()
    assert header.sdk == "gradio" and f"gradio=={header.sdk_version}" in pins
    assert len(header.short_description) <= 60
    assert (DEMO / header.app_file).is_file()


class Visitor:
    """A session of the page, whose parts go by their `elem_id`."""

    def __init__(self, address: str, session: str) -> None:
        self.address = address
        self.session = session
        config = httpx.get(f"{address}config").json()
        self.parts = {part["id"]: part["props"] for part in config["components"]}
        self.events = config["dependencies"]

    def event(self, part: str, action: str) -> dict[str, Any]:
        """What an action on a part triggers first."""
        return next(
            event
            for event in self.events
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


def test_a_painting_is_kept_for_its_own_visitor_only(address: str, files: Path):
    first, second = Visitor(address, "first"), Visitor(address, "second")
    drawing = as_canvas(Image.open(files / "colours.png"))
    exemplar = first.upload(files / "photo.png")
    first.do("mask-to-image-paint", "click", drawing, exemplar, False)
    click = {"index": [9, 9], "value": None}
    look = first.event("mask-to-image-result", "select")
    found = first.answer(look, None, event_data=click)
    assert found["success"] and "came from" in found["output"]["data"][1]
    refused = second.answer(look, None, event_data=click)
    assert not refused["success"] and "no longer kept" in refused["output"]["error"]


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
    (then,) = (
        event
        for event in visitor.events
        if event["trigger_after"] == visitor.event(part, action)["id"]
    )
    (box,) = then["outputs"]
    assert then["trigger_only_on_success"]
    assert visitor.answer(then)["output"]["data"] == [False]
    return visitor.parts[box]["elem_id"]


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
        visitor.do(f"{tab}-paint", "click", changed, photo, True)
        (event,) = (
            e
            for e in visitor.events
            if e["trigger_after"] == visitor.event(f"{tab}-paint", "click")["id"]
        )
        views = visitor.answer(event, None)["output"]["data"]
        before, after = (np.asarray(Image.open(view["path"])) for view in views[2])
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


@pytest.mark.slow
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
    _, edges = visitor.do("edge-to-face-upload", "upload", photo, 0.2, False)
    (joints,) = visitor.do("pose-to-body-upload", "upload", visitor.upload(tmp_path / "pose.json"))
    own = as_figure(pose(), pose().joints[:, :2] / SIZE)
    for tab, editor, more in (
        ("mask-to-image", mask, []),
        ("edge-to-face", edges, []),
        ("pose-to-body", joints, [own]),
    ):
        picture, _ = visitor.do(f"{tab}-paint", "click", editor, exemplar, False, *more)
        painted = Image.open(picture["path"])
        assert painted.width / painted.height == aspect[0] / aspect[1], tab

    portrait, canvas = visitor.do("layers-upload", "upload", photo)
    layer = as_canvas(Image.new("RGBA", tuple(canvas["size"]), "red"))
    others = [{"image": exemplar, "caption": None}]
    ((worn,),) = visitor.do("layers-paint", "click", layer, portrait, others, 1)
    assert np.asarray(Image.open(worn["image"]["path"]))[..., 0].mean() > 250


def test_paint_is_carried_to_each_portrait(address: str, painting: dict[str, Painter], files: Path):
    visitor = Visitor(address, "layers")
    portraits = [visitor.upload(files / name) for name in ("exemplar.png", "labels.png")]
    portrait, canvas = visitor.do("layers-upload", "upload", visitor.upload(files / "photo.png"))
    size = tuple(canvas["size"])
    layer = Image.new("RGBA", size)
    layer.paste("red", (0, 0, size[0] // 2, size[1]))
    others = [{"image": portrait, "caption": None} for portrait in portraits]
    (found,) = visitor.do("layers-paint", "click", as_canvas(layer), portrait, others, 0.6)
    expected = transfer_layer(
        painting["edge-to-face"].pipe,
        layer,
        Image.open(files / "photo.png").resize(size, Image.Resampling.BICUBIC),
        [files / "exemplar.png", files / "labels.png"],
        strength=0.6,
    )
    worn = [np.asarray(Image.open(one["image"]["path"])) for one in found]
    assert all(map(np.array_equal, worn, expected))
    too_many = visitor.event("layers-paint", "click")
    refused = visitor.answer(too_many, as_canvas(layer), portrait, 5 * others, 0.6)
    assert "Choose 1 to 8 portraits, got 10" in refused["output"]["error"]


@pytest.mark.slow
def test_the_tab_of_poses_takes_a_pipeline_as_its_recipe_makes_it(files: Path):
    tab = "pose-to-body"
    recipe = load_config(DEMO.parent / "train" / "configs" / f"{tab}.yaml").networks
    condition = recipe.make_condition()
    mixed = recipe.correspondence_arguments()["mix_condition"]
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
            picture, _ = visitor.do(f"{tab}-paint", "click", figure, exemplar, False)
            expected = shown(painter.paint(gallery[place].condition, gallery.look.picture))
            painted = np.asarray(Image.open(picture["path"]), int)
            assert np.abs(painted - expected).max() <= 1
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
    assert "There is no exemplar yet" in refused["output"]["error"]


def test_strokes_that_come_while_one_is_painted_replace_each_other(address: str):
    visitor = Visitor(address, "live")
    for editor in ("mask-to-image-canvas", "edge-to-face-canvas", "pose-to-body-pose"):
        assert visitor.event(editor, "input")["trigger_mode"] == "always_last"


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", str(DEMO / "app.py"), "app.py", "../setup.cfg", str(UPLOADS)],
    ids=["system", "absolute", "relative", "parent", "uploads"],
)
def test_no_file_of_the_server_is_served(address: str, path: str):
    assert httpx.get(f"{address}gradio_api/file={path}").status_code in (403, 404)


@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}])
def test_no_file_of_the_server_is_taken_for_an_upload(address: str, meta: dict[str, Any]):
    local = {"path": str(DEMO / "README.md"), "orig_name": "a.png"} | meta
    answer = httpx.post(
        f"{address}gradio_api/call/edge_to_face", json={"data": [local, local, False]}
    )
    stream = httpx.get(f"{address}gradio_api/call/edge_to_face/{answer.json()['event_id']}").text
    assert "event: error" in stream and "not a picture" not in stream
    assert str(DEMO) not in stream


def test_no_file_is_fetched_from_an_address(
    client: Client, files: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = []
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *a, **k: asked.append(a[0]) or look_up(*a, **k)
    )
    with pytest.raises(AppError, match="not its address"):
        client.predict(
            handle_file(files / "photo.png"),
            handle_file("https://pictures.invalid/a.png"),
            api_name="/edge_to_face",
        )
    assert "pictures.invalid" not in asked


def test_a_file_that_is_too_large_is_refused(address: str):
    for size in (MAX_UPLOAD + 1, MAX_UPLOAD + 2**21):
        upload = {"files": ("a.png", b"\0" * size)}
        answer = httpx.post(f"{address}gradio_api/upload", files=upload)
        assert answer.status_code == 413
        assert "maximum" in answer.text or "at most" in answer.text


def test_a_request_that_is_too_large_is_refused_even_if_it_does_not_say_so(address: str):
    body = (b"0" * 2**20 for _ in range(16))
    answer = httpx.post(
        f"{address}gradio_api/queue/join",
        content=body,
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 413


RECORDER = """
import runpy, sys
log, program, *words = sys.argv[1:]
asked = open(log, "a", buffering=1)

def heard(event, details):
    if event in ("socket.connect", "socket.sendto"):
        print(details[1][0], file=asked)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        print(details[0], file=asked)

sys.addaudithook(heard)
sys.argv = [program, *words]
sys.path.insert(0, program.rpartition("/")[0])
runpy.run_path(program, run_name="__main__")
"""


@pytest.mark.slow
def test_the_program_opens_its_page_and_asks_nobody_for_anything(tmp_path: Path, files: Path):
    pipe = tiny.pipeline(image_size=SIZE)
    pipe.save_pretrained(tmp_path / "faces")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}/"
    words = ["--edge-to-face", str(tmp_path / "faces"), "--port", address[:-1].rpartition(":")[2]]
    unset = {"HF_HUB_OFFLINE", "GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    log = tmp_path / "asked.txt"
    server = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(log), str(DEMO / "app.py"), *words],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(DEMO.parent), "HF_HOME": str(tmp_path / "home")},
    )
    try:
        config = json.dumps(wait_for(server, f"{address}config"))
        for tab in CONDITIONS:
            ready = tab == "edge-to-face" or tab in bundled_names()
            assert (f"{tab}-paint" in config) == ready
            assert (f"--{tab} FOLDER_OR_HUB_ID" in config) == (not ready)
        found = Client(address, verbose=False).predict(
            handle_file(files / "photo.png"),
            handle_file(files / "exemplar.png"),
            api_name="/edge_to_face",
        )
    finally:
        server.terminate()
        server.wait()
    expected = painted(Painter(pipe), files, Image.open(files / "photo.png"))
    for picture, wanted in zip(answered(found), expected, strict=True):
        assert np.abs(picture.astype(int) - wanted).max() <= 2
    asked = set(log.read_text().split())
    assert asked and asked <= {"127.0.0.1", "localhost"}


def wait_for(server: subprocess.Popen, address: str) -> dict[str, Any]:
    """What an address answers as soon as it does."""
    while server.poll() is None:
        try:
            return httpx.get(address).raise_for_status().json()
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"the server ended with {server.returncode}")
