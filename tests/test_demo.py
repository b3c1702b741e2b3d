"""The demo's parts: what it reads, paints, offers and shows."""

import dataclasses
import importlib.util
import json
import socket
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from demo_page import CONDITIONS, SIZE, UPLOADS, noise, pose, save_recipe_pipelines, served
from estimator import save_estimator
from huggingface_hub import constants
from loopback_hub import connected_hub
from PIL import Image, ImageDraw
from segmenter import save_segmenter

from cocosnet_hf import Condition, MaskCondition, Matching, PartEdgeCondition, Pose, bundled
from cocosnet_hf.applications import edit_photo
from cocosnet_hf.conditions.pose import DEFAULT_POSE_ESTIMATOR, JOINTS

gradio = pytest.importorskip("gradio", reason="needs the extra demo")
import studio.gallery  # noqa: E402
from studio import painters  # noqa: E402
from studio.edge_tab import edge_drawing, lines_before  # noqa: E402
from studio.gallery import Exhibit, gallery_of, standing_figure, store  # noqa: E402
from studio.inputs import (  # noqa: E402
    FIGURE_SHARE,
    FIGURE_SIDE,
    MAX_SIDE,
    as_canvas,
    as_figure,
    canvas_size,
    downloaded,
    empty_canvas,
    mask_drawing,
    painted_mask,
    pose_of,
    posed,
    read_drawing,
    read_keypoints,
    read_label_map,
    read_photo,
    read_picture,
    read_start,
    start_of,
)
from studio.mask_tab import labelled, on_canvas  # noqa: E402
from studio.page import as_file  # noqa: E402
from studio.painters import PREPARED, Painter, Painting, open_painters  # noqa: E402
from studio.pose_tab import found_in  # noqa: E402
from studio.views import (  # noqa: E402
    confidence_view,
    flow_view,
    match_text,
    match_view,
    point_of,
    shown,
)


def bomb(path: Path) -> Path:
    """A PNG of a few hundred bytes that claims 60000 x 60000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
            file.write(struct.pack(">I", len(body)) + kind + body)
            file.write(struct.pack(">I", zlib.crc32(kind + body)))
    return path


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    """A new folder among gradio's uploads."""
    folder = UPLOADS / tmp_path.name
    folder.mkdir()
    return folder


# Inputs --------------------------------------------------------------------------------------


def test_a_file_that_is_no_picture_is_refused_without_saying_where_it_lies(uploads: Path):
    path = uploads / "notes.png"
    path.write_text("not a picture")
    with pytest.raises(ValueError, match="exemplar is not a picture") as caught:
        read_picture({"path": str(path)}, "exemplar")
    assert str(uploads) not in str(caught.value)


def test_a_damaged_picture_is_refused_without_saying_where_it_lies(uploads: Path):
    path = uploads / "cut.png"
    noise().save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="damaged or truncated") as caught:
        read_picture({"path": str(path)}, "exemplar")
    assert str(uploads) not in str(caught.value)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(uploads: Path):
    with pytest.raises(ValueError, match="60000 x 60000|not a picture"):
        read_picture({"path": str(bomb(uploads / "bomb.png"))}, "exemplar")


def test_a_vector_picture_is_refused(uploads: Path):
    (uploads / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(ValueError, match="not a picture"):
        read_picture({"path": str(uploads / "page.eps")}, "exemplar")


def test_a_picture_that_was_not_uploaded_is_not_read(tmp_path: Path, uploads: Path):
    noise().save(tmp_path / "secret.png")
    (uploads / "link.png").symlink_to(tmp_path / "secret.png")
    for path in (tmp_path / "secret.png", uploads / "link.png", uploads / ".." / ".." / "a.png"):
        with pytest.raises(ValueError, match="must be an uploaded file"):
            read_picture({"path": str(path)}, "exemplar")
        with pytest.raises(ValueError, match="must be an uploaded file"):
            read_keypoints({"path": str(path)})


@pytest.mark.parametrize("upload", [None, {}, {"path": None, "url": "data:image/png;base64,AA"}])
def test_a_missing_file_is_asked_for(upload: dict[str, Any] | None):
    with pytest.raises(ValueError, match="exemplar"):
        read_picture(upload, "exemplar")


@pytest.mark.parametrize("name", ["large.png", "large.jpg"])
def test_a_large_photo_is_made_smaller(uploads: Path, name: str):
    noise(size=(2200, 1100)).save(uploads / name)
    photo = read_photo({"path": str(uploads / name)}, "exemplar")
    assert photo.size == (MAX_SIDE, MAX_SIDE // 2)


@pytest.mark.parametrize("read", [read_picture, read_photo, read_label_map])
def test_a_picture_that_is_far_too_long_is_refused(uploads: Path, read: Callable):
    Image.new("L", (8, 4000)).save(uploads / "strip.png")
    with pytest.raises(ValueError, match="8 x 4000 pixels; pictures may be at most 8 times"):
        read({"path": str(uploads / "strip.png")}, "label map")


def test_a_large_label_map_is_made_smaller_without_new_labels(uploads: Path):
    labels = Image.fromarray(np.random.default_rng(0).choice([2, 9], (1100, 2200)).astype(np.uint8))
    labels.putpalette(bytes(range(256)) * 3)
    labels.save(uploads / "large.png")
    found = read_label_map({"path": str(uploads / "large.png")}, "label map")
    assert found.size == (MAX_SIDE, MAX_SIDE // 2)
    assert np.unique(found).tolist() == [2, 9]


def test_a_long_mask_lies_on_a_canvas_that_can_be_read():
    canvas = on_canvas(np.zeros((64, 512), np.uint8), CONDITIONS["mask-to-image"])
    assert read_drawing(canvas).size == (MAX_SIDE, MAX_SIDE // 8)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((100, 100), (256, 256)), ((64, 256), (256, 1024)), ((90, 60), (384, 256))]
    + [((800, 100), (1024, 128)), ((12, 60), (205, 1024))],
)
def test_canvases_are_of_a_size_to_paint_on(size: tuple[int, int], expected: tuple[int, int]):
    assert canvas_size(*size) == expected


def test_a_palette_picture_keeps_its_indices(uploads: Path):
    labels = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) % 12)
    labels.putpalette(bytes(range(256)) * 3)
    labels.save(uploads / "labels.png")
    found = read_picture({"path": str(uploads / "labels.png")}, "mask")
    assert np.array_equal(np.asarray(found), np.asarray(labels))


def test_a_drawing_comes_back_from_the_canvas_as_it_went():
    drawing = noise().convert("RGBA")
    drawing.putalpha(noise(1).convert("L").point(lambda level: 255 * (level > 128)))
    found = np.asarray(read_drawing(as_canvas(drawing)))
    assert np.array_equal(found[..., 3], np.asarray(drawing)[..., 3])
    assert np.array_equal(found[found[..., 3] > 0], np.asarray(drawing)[found[..., 3] > 0])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "canvas is empty"),
        (empty_canvas(64, 64), "canvas is empty"),
        (as_canvas(Image.new("RGBA", (64, 64))), "canvas is empty"),
        ({"image": "http://127.0.0.1/secret.png"}, "canvas is empty"),
        ({"image": "data:image/png;base64,****"}, "did not send a picture"),
        ({"image": "data:image/png;base64,AAAA"}, "cannot identify|not a picture"),
        (as_canvas(Image.new("RGBA", (MAX_SIDE + 1, 8), "red")), "at most"),
    ],
)
def test_an_unusable_canvas_is_refused(value: dict[str, Any] | None, message: str):
    with pytest.raises((ValueError, OSError), match=message):
        read_drawing(value)


def test_what_is_not_painted_belongs_to_no_class():
    condition = MaskCondition(classes=("a", "b"), colors=("#ff0000", "#00ff00"))
    drawing = Image.new("RGBA", (16, 16))
    drawing.paste((0, 250, 0, 255), (0, 0, 8, 16))
    found = painted_mask(drawing, condition)
    assert found[:, :, :8].mean((1, 2)).tolist() == [0, 1]
    assert not found[:, :, 8:].any()


@pytest.mark.parametrize(
    "condition",
    [
        MaskCondition(classes=("a", "other"), unknown=1),
        MaskCondition(classes=("a", "background")),
    ],
)
def test_what_is_not_painted_is_unknown_or_background_where_there_is_such_a_class(
    condition: MaskCondition,
):
    found = painted_mask(Image.new("RGBA", (16, 16)), condition)
    assert found[1].all() and not found[0].any()


@pytest.mark.parametrize("condition", [CONDITIONS["mask-to-image"], MaskCondition.celebahq()])
def test_a_mask_comes_back_from_the_canvas_as_it_went(condition: MaskCondition):
    labels = np.arange(256).reshape(16, 16) % condition.channels
    drawing = mask_drawing(labels, condition, 16, 16)
    assert np.array_equal(painted_mask(drawing, condition), condition.encode(labels, 16, 16))


def test_edges_come_back_from_the_canvas_nearly_as_they_went():
    painter = Painter(tiny.pipeline(image_size=SIZE))
    photo = noise(size=(12, 12)).resize((96, 96))
    drawing = edge_drawing(painter, photo, painter.condition.high)
    assert drawing.size == (4 * SIZE, 4 * SIZE)
    expected = painter.condition.encode(photo, SIZE, SIZE)[0]
    found = painter.condition.encode({"edges": drawing}, SIZE, SIZE)[0]
    assert expected.sum() > 50
    # Drawn strokes are thinned, which takes corners off Canny's edges and adds nothing.
    assert not (found > expected).any()
    near = F.max_pool2d(found[None], 3, stride=1, padding=1)[0]
    assert (near * expected).sum() > 0.95 * expected.sum()


@pytest.mark.parametrize("side", [SIZE, 100, 256], ids=["small", "no multiple", "large"])
@pytest.mark.parametrize("aspect", [1 / 8, 1 / 3, 1, 5, 8])
def test_edges_of_a_long_photo_can_be_painted(aspect: float, side: int):
    painter = Painter(tiny.pipeline(image_size=side))
    long = round(64 * max(aspect, 1 / aspect))
    size = (long, 64) if aspect > 1 else (64, long)
    blocks = noise(size=(size[0] // 16, size[1] // 16)).convert("1")
    photo = blocks.convert("RGB").resize(size, Image.Resampling.NEAREST)
    drawing = read_drawing(as_canvas(edge_drawing(painter, photo, painter.condition.high)))
    assert max(drawing.size) >= 256
    width, height = painter.fitted(*drawing.size)  # which refuses what is too long
    assert width / height == pytest.approx(aspect, rel=0.1)
    drawn, found = (
        painter.condition.encode(source, height, width)[0] for source in ({"edges": drawing}, photo)
    )
    for one, other in ((drawn, found), (found, drawn)):
        near = F.max_pool2d(other[None], 5, stride=1, padding=2)[0]
        assert (near * one).sum() > 0.8 * one.sum() > 50


def test_a_lower_threshold_finds_more_edges():
    painter = Painter(tiny.pipeline(image_size=SIZE))
    photo = noise(size=(12, 12)).resize((96, 96))
    few, many = (np.asarray(edge_drawing(painter, photo, high)).sum() for high in (0.4, 0.05))
    assert many > few


@pytest.mark.parametrize(
    "content",
    [
        {"openpose": "/etc/passwd", "size": [64, 64]},
        {"candidate": "/etc/passwd", "subset": "/etc/passwd", "size": [64, 64]},
        {"keypoints": "/etc/passwd", "size": [64, 64]},
        "/etc/passwd",
        None,
    ],
)
def test_a_pose_is_never_read_from_a_path(content: Any):
    with pytest.raises(ValueError, match="A pose must be"):
        pose_of(content)


def test_a_huge_pose_is_drawn_on_a_picture_of_bounded_size():
    large = pose((8000, 4000))
    content = {"keypoints": large.joints.tolist(), "size": [8000, 4000]}
    found = pose_of(content)
    assert found.size == (FIGURE_SIDE, FIGURE_SIDE // 2)
    assert np.allclose(found.joints[:, :2] / FIGURE_SIDE, large.joints[:, :2] / 8000)


@pytest.mark.parametrize("size", [(801, 100), (100, 801)])
def test_a_pose_on_a_picture_that_is_far_too_long_is_refused(size: tuple[int, int]):
    with pytest.raises(ValueError, match=f"{size[1]} x {size[0]} pixels, .* at most 8 times"):
        pose_of({"keypoints": pose(size).joints.tolist(), "size": list(size)})


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (20, 5000), (0.1, 30)])
def test_keypoints_without_a_size_stand_in_the_middle_of_a_square(
    uploads: Path, scale: float, shift: float
):
    joints = pose().joints * (scale, scale, 1) + (shift, shift, 0)
    joints[JOINTS.index("nose")] = (9 * SIZE * scale, 0, 0.2)  # too unsure to count
    content = [{"people": [{"pose_keypoints_2d": np.nan_to_num(joints).ravel().tolist()}]}]
    (uploads / "openpose.json").write_text(json.dumps(content))
    found = read_keypoints({"path": str(uploads / "openpose.json")}, min_score=0.3)
    assert found.size == (FIGURE_SIDE, FIGURE_SIDE)
    sure = joints[:, 2] > 0.3
    before, after = joints[sure, :2], found.joints[sure, :2]
    assert (after.min(0) + after.max(0)) / 2 == pytest.approx([FIGURE_SIDE / 2] * 2)
    assert np.ptp(after, 0).max() == pytest.approx(FIGURE_SHARE * FIGURE_SIDE)
    ratio = np.ptp(after, 0) / np.ptp(before, 0)
    assert ratio[0] == pytest.approx(ratio[1])
    assert np.isnan(found.joints[~sure, :2]).all()


def test_keypoints_of_nobody_without_a_size_leave_all_joints_hidden(uploads: Path):
    content = {"people": [{"pose_keypoints_2d": [0] * 54}]}
    (uploads / "openpose.json").write_text(json.dumps(content))
    found = read_keypoints({"path": str(uploads / "openpose.json")})
    assert {row[2] for row in as_figure(found, standing_figure())["joints"]} == {0}


def test_joints_that_the_condition_leaves_out_lie_hidden_where_they_were_found():
    joints = pose().joints.copy()
    joints[JOINTS.index("nose"), 2] = 0.2
    figure = as_figure(Pose(joints, (SIZE, SIZE)), standing_figure(), min_score=0.3)
    assert figure["joints"][0] == [*joints[0, :2].round(2), 0]
    assert all(score for _, _, score in figure["joints"][1:])


def test_hidden_joints_are_missing_ones():
    joints = pose().joints.copy()
    joints[JOINTS.index("l_ear")] = np.nan
    figure = as_figure(Pose(joints, (SIZE, SIZE)), standing_figure())
    assert np.isfinite(figure["joints"]).all()
    found = posed(figure)
    assert np.isnan(found.joints[JOINTS.index("l_ear"), 0])
    assert np.allclose(found.joints[:, :2], joints[:, :2], atol=0.01, equal_nan=True)


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
    editor = found_in(photo, condition)
    expected = condition.from_photo(photo, str(folder))
    assert editor.value == as_figure(expected, standing_figure(), condition.min_score)
    assert editor.props["guide"].startswith("data:image/png")
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
        labelled(noise(), CONDITIONS["mask-to-image"])
    with pytest.warns(UserWarning, match="drag the joints onto the photo"):
        editor = found_in(noise(size=(96, 64)), CONDITIONS["pose-to-body"])
    assert editor.value["size"] == [96, 64]
    assert all(score == 1 for _, _, score in editor.value["joints"])
    assert asked == []


def recorded_look_ups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts that are looked up from now on; none is found."""
    asked: list[str] = []

    def look_up(*address: Any, **hints: Any) -> Any:
        asked.append(address[0])
        raise OSError(f"no network here for {address} and {hints}")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


# Painters, gallery and views -----------------------------------------------------------------


def test_a_painter_paints_what_its_pipeline_paints():
    pipe = tiny.pipeline(image_size=SIZE)
    painting = Painter(pipe).paint(noise(), noise(1))
    expected = pipe(noise(), noise(1))
    assert np.array_equal(painting.image, expected.images[0])
    assert np.array_equal(painting.warped, expected.warped_exemplars[0])
    assert np.array_equal(painting.exemplar, noise(1))
    assert painting.condition.size == painting.image.size


def test_an_edited_exemplar_keeps_what_its_layout_keeps():
    pipe = tiny.pipeline(CONDITIONS["mask-to-image"], SIZE, mix_condition=False)
    photo, before = noise(1, (3 * SIZE, 3 * SIZE)), np.zeros((SIZE, SIZE), np.uint8)
    after = before.copy()
    after[:16, :16] = 3
    painting = Painter(pipe).paint(after, photo, before=before)
    assert np.array_equal(painting.result, edit_photo(pipe, photo, after, before))
    assert np.array_equal(painting.image, pipe(after, photo).images[0])
    assert painting.compared == (photo, painting.result)
    assert shown(painting).size == (384, 384)
    kept = Painter(pipe).paint(before, photo, before=before)
    assert np.array_equal(kept.result, photo)


def test_gpus_are_borrowed_where_the_package_spaces_lends_them(monkeypatch: pytest.MonkeyPatch):
    lent: list[tuple[int, Any]] = []

    def gpu(duration: int) -> Callable:
        return lambda task: lambda *a, **k: lent.append((duration, task)) or task(*a, **k)

    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=gpu))
    spec = importlib.util.spec_from_file_location("studio.with_spaces", painters.__file__)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    painter = module.Painter(tiny.pipeline(image_size=SIZE))
    painter.paint(noise(), noise(1))
    painter.transfer_layer(Image.new("RGBA", (SIZE, SIZE)), noise(), noise(1))
    assert [duration for duration, _ in lent] == [30, 30]
    painters.Painter(tiny.pipeline(image_size=SIZE)).paint(noise(), noise(1))
    assert len(lent) == 2
    # What a borrowed process raises is lost, except for what is meant for the page.
    with pytest.raises(gradio.Error, match="at least 8 x 8 are needed"):
        painter.paint(noise(), noise(size=(4, 4)))


def test_an_exemplar_is_prepared_once_and_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch):
    pipe = tiny.pipeline(image_size=SIZE)
    prepared, encode = [], pipe.encode_exemplar
    monkeypatch.setattr(pipe, "encode_exemplar", lambda *a: prepared.append(a) or encode(*a))
    painter = Painter(pipe)
    for seed in (0, 0, *range(PREPARED + 1), 0):
        painter.paint(noise(), noise(seed))
    assert len(prepared) == PREPARED + 2
    assert len(painter._prepared) == PREPARED


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Condition]:
    """Untrained pipelines in place of the bundled ones, with the conditions of their recipes."""
    monkeypatch.setitem(bundled.__globals__, "ASSETS", tmp_path / "assets")
    return save_recipe_pipelines(tmp_path / "assets")


def test_a_bundled_pipeline_has_its_tab_as_soon_as_it_is_there(assets: dict[str, Condition]):
    found = open_painters({})
    for tab, painter in found.items():
        assert painter.condition == assets[tab]
        gallery = gallery_of(tab, painter.condition)
        own = gallery.look.condition
        painting = painter.paint(gallery.layout.condition, gallery.look.picture, own)
        assert painting.image.size == (SIZE, SIZE)
        assert gallery.best(gallery[3].condition)[0].index == 3
        assert gallery.find(gallery[3].picture.convert("RGBA")) is gallery[3]
        assert gallery.find(gallery[3].picture.rotate(180)) is None
    with served(found) as url:
        page = httpx.get(f"{url}config").text
    assert "legwear_long" in page and "mask-to-image-paint" in page and "pose-to-body-paint" in page
    assert "does not come with this version" not in page


def test_a_stored_pose_has_its_missing_joints_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(studio.gallery, "FOLDER", tmp_path)
    joints = pose((96, SIZE)).joints.copy()
    joints[JOINTS.index("nose")] = np.nan
    condition = CONDITIONS["pose-to-body"]
    exhibits = [Exhibit(noise(), Pose(joints, (96, SIZE))), Exhibit(noise(1), pose())]
    store(exhibits, tmp_path / "pose-to-body", condition)
    found = gallery_of("pose-to-body", condition).layout.condition
    assert found.size == (96, SIZE)
    assert np.allclose(found.joints[:, :2], joints[:, :2], atol=0.01, equal_nan=True)


def test_a_tab_takes_a_folder_with_one_variant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(painters, "bundled_names", list)
    tiny.pipeline(CONDITIONS["pose-to-body"]).save_pretrained(tmp_path, variant="fp16")
    found = open_painters({"pose-to-body": str(tmp_path)})
    assert found["pose-to-body"].condition == CONDITIONS["pose-to-body"]


def test_a_tab_takes_a_pipeline_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(painters, "bundled_names", list)
    with connected_hub(monkeypatch, tmp_path):
        tiny.pipeline(CONDITIONS["pose-to-body"]).push_to_hub("alice/bodies")
        found = open_painters({"pose-to-body": "alice/bodies"})
    assert found["pose-to-body"].condition == CONDITIONS["pose-to-body"]
    assert found["mask-to-image"] is None and found["edge-to-face"] is None


def test_a_pipeline_for_another_tab_is_refused(tmp_path: Path):
    tiny.pipeline().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="mask-to-image needs a pipeline with a mask condition"):
        open_painters({"mask-to-image": str(tmp_path)})


def test_the_one_pipeline_of_a_space_takes_the_tab_of_its_condition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tiny.pipeline(CONDITIONS["pose-to-body"]).save_pretrained(tmp_path)
    monkeypatch.setattr(painters, "bundled_names", list)
    monkeypatch.setenv("COCOSNET_PIPELINE", str(tmp_path))
    found = open_painters({})
    assert found["pose-to-body"].condition == CONDITIONS["pose-to-body"]
    assert found["mask-to-image"] is None and found["edge-to-face"] is None


def test_a_pipeline_without_a_tab_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tiny.pipeline(PartEdgeCondition()).save_pretrained(tmp_path)
    monkeypatch.setenv("COCOSNET_PIPELINE", str(tmp_path))
    with pytest.raises(ValueError, match="celebahq-edge condition, for which there is no tab"):
        open_painters({})


def test_each_tab_takes_the_pipeline_that_its_variable_names(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COCOSNET_EDGE_TO_FACE", "alice/faces")
    assert painters.named_in_environment() == {"edge-to-face": "alice/faces"}


@pytest.mark.parametrize("tab", CONDITIONS)
def test_every_condition_finds_its_own_picture_first(tab: str):
    gallery = gallery_of(tab, CONDITIONS[tab])
    assert len(gallery.previews()) == len(gallery.pictures) == len(gallery) >= 8
    for place in (0, 3):
        best = gallery.best(gallery[place].condition)
        assert best[0].index == place and best[0].score > 0.99
        assert sorted(match.index for match in best) == list(range(len(gallery)))


def test_masks_of_clothing_start_from_drawn_people_and_others_from_landscapes():
    clothes = ("background", "skin", "hair", "top", "legwear_long", "footwear")
    people = gallery_of("mask-to-image", MaskCondition(classes=clothes))
    shares = people.layout.condition.mean((1, 2))
    assert (shares > 0.002).all() and shares[0] > 0.5
    ground = people.layout.condition[0] > 0
    assert (np.asarray(people.layout.picture)[ground] == 255).all()
    condition = CONDITIONS["mask-to-image"]
    scenes = gallery_of("mask-to-image", condition)
    assert scenes.layout.condition[condition.classes.index("sky")].mean() > 0.1


@pytest.fixture
def same() -> Painting:
    """A painting whose every place matches itself in the exemplar."""
    features = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    matching = Matching(features, features, stride=SIZE // 16)
    return Painting(noise(), noise(), noise(), noise(), matching)


def test_a_point_is_shown_with_its_match_in_words_and_rings(same: Painting):
    point = (21.0, 37.0)
    text = match_text(same, point)
    assert "(21, 37)" in text and "(22, 38)" in text and "100%" in text
    view = match_view(same, point)
    left = view.crop((0, 0, 384, 384))
    right = view.crop((384 + 8, 0, 2 * 384 + 8, 384))
    scale = 384 / SIZE
    for picture, (x, y) in ((left, point), (right, (21.5, 37.5))):
        at = round((x + 0.5) * scale), round((y + 0.5) * scale)
        assert picture.getpixel((at[0] + 9, at[1])) == (255, 255, 255, 255)
    glow = np.asarray(right.convert("L"), float)
    assert glow[226:234, 126:134].mean() > glow[:100, 200:].mean() + 30


def test_places_that_match_have_one_colour_in_the_flow(same: Painting):
    view = np.asarray(flow_view(same).convert("RGB"), float)
    assert np.abs(view[:, :384] - view[:, -384:]).mean() < 8
    mirrored = Painting(*4 * [noise()], matching=mirrored_matching())
    turned = np.asarray(flow_view(mirrored).convert("RGB"), float)
    assert np.abs(turned[:, :384] - turned[:, -384:]).mean() > 30


def mirrored_matching() -> Matching:
    features = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    return Matching(features, features.flip(3), stride=SIZE // 16, patch_size=1)


def test_sure_matches_are_bright(same: Painting):
    unsure = Painting(
        *4 * [noise()], matching=Matching(torch.zeros(1, 8, 16, 16), torch.zeros(1, 8, 16, 16))
    )
    bright, dark = (np.asarray(confidence_view(p).convert("L")).mean() for p in (same, unsure))
    assert bright > dark + 60


def test_a_click_on_the_enlarged_painting_is_its_pixel(same: Painting):
    assert shown(same).size == (384, 384)
    assert point_of(same, (6 * 21 + 2, 6 * 37 + 5)) == pytest.approx((21.33, 37.83), abs=0.01)


def test_equal_pictures_are_one_file_that_is_not_written_again():
    first = as_file(noise())
    written = Path(first).stat()
    assert as_file(noise()) == first != as_file(noise(1))
    assert (Path(first).stat().st_ino, Path(first).stat().st_size) == (
        written.st_ino,
        written.st_size,
    )
    assert Path(first).is_relative_to(UPLOADS)
