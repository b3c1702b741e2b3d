"""What the demo reads: files, canvases, masks, edges, poses."""

import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.nn.functional as F
from PIL import Image

from cocosnet_hf import EdgeCondition, MaskCondition, Pose
from cocosnet_hf.conditions.pose import JOINTS
from tests.support import tiny
from tests.support.demo_page import CONDITIONS, SIZE, noise, pose
from tests.support.metadata import matrix_profile

gradio = pytest.importorskip("gradio", reason="needs the extra demo")
from studio.edge_tab import edge_drawing  # noqa: E402
from studio.gallery import standing_figure  # noqa: E402
from studio.inputs import (  # noqa: E402
    FIGURE_SHARE,
    FIGURE_SIDE,
    MAX_SIDE,
    as_canvas,
    as_figure,
    canvas_size,
    empty_canvas,
    mask_drawing,
    painted_mask,
    pose_of,
    posed,
    read_drawing,
    read_keypoints,
    read_label_map,
    read_lines,
    read_photo,
    read_picture,
    uploaded_mask,
)
from studio.mask_tab import largest, on_canvas  # noqa: E402
from studio.painters import Painter  # noqa: E402


def bomb(path: Path) -> Path:
    """A PNG of a few hundred bytes that claims 60000 x 60000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
            file.write(struct.pack(">I", len(body)) + kind + body)
            file.write(struct.pack(">I", zlib.crc32(kind + body)))
    return path


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


@pytest.mark.parametrize(
    ("mode", "name"),
    [("RGBA", "turned.png"), ("RGBA", "turned.tif"), ("P", "turned.png"), ("RGB", "turned.jpg")],
)
@pytest.mark.parametrize("read", [read_photo, read_lines, read_label_map])
def test_a_large_picture_is_made_smaller_and_turned_as_a_small_one(
    uploads: Path, read: Callable, mode: str, name: str
):
    quarters = Image.fromarray(np.uint8([[[250, 0, 0, 255], [0, 0, 0, 255]],
                                         [[0, 0, 250, 255], [250, 250, 250, 128]]]))  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = 6
    found = []
    for side in (600, 4200):
        large = quarters.resize((side * 4 // 5, side), Image.Resampling.NEAREST).convert(mode)
        large.save(uploads / name, exif=exif, quality=95)
        found.append(read({"path": str(uploads / name)}, "picture"))
    small, shrunk = found
    assert small.size == (600, 480) and shrunk.size == (MAX_SIDE, round(MAX_SIDE * 0.8))
    assert shrunk.mode == small.mode or read is read_lines
    again = np.asarray(shrunk.convert("RGBA").resize(small.size, Image.Resampling.NEAREST), int)
    off = np.abs(again - np.asarray(small.convert("RGBA"), int)).max(2)
    assert (off < 12).mean() > 0.98  # all but the borders of the quarters


@pytest.mark.parametrize(("mode", "name"), [("I;16", "drawing.png"), ("I", "drawing.tif")])
def test_a_large_drawing_of_16_bits_keeps_its_lines(uploads: Path, mode: str, name: str):
    lines = np.full((1400, 1500), 65535, np.uint16)
    lines[680:720, 200:1300] = 6000
    Image.fromarray(lines).convert(mode).save(uploads / name)
    drawing = read_lines({"path": str(uploads / name)}, "drawing")
    assert max(drawing.size) == MAX_SIDE
    ink = EdgeCondition().encode({"edges": drawing}, 256, 256)[0]
    rows = ink.nonzero()[:, 0]
    assert ink[:, 100:150].any(0).all() and rows.min() > 120 and rows.max() < 136


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


def test_class_numbers_in_a_channel_are_read_as_the_library_reads_them_and_shown(uploads: Path):
    condition = CONDITIONS["mask-to-image"]
    labels = Image.fromarray((np.arange(64 * 64).reshape(64, 64) // 97 % 12).astype(np.uint8))
    none = Image.new("L", labels.size)
    Image.merge("RGB", [labels, none, none]).save(uploads / "red.png")
    with pytest.warns(UserWarning, match="red channel holds class numbers"):
        drawing = uploaded_mask({"path": str(uploads / "red.png")}, "label map", condition)
    assert np.array_equal(painted_mask(drawing, condition), condition.encode(labels, 64, 64))


def test_an_area_of_a_strange_colour_is_refused_and_not_snapped(uploads: Path):
    condition = CONDITIONS["mask-to-image"]
    picture = condition.preview(condition.encode(np.zeros((64, 64), int), 64, 64))
    picture.paste((0, 255, 1), (20, 20, 50, 50))
    picture.save(uploads / "strange.png")
    with pytest.raises(ValueError, match="#00ff01 .*near no class colour"):
        uploaded_mask({"path": str(uploads / "strange.png")}, "label map", condition)


def test_what_is_no_label_map_is_refused_in_plain_words(uploads: Path):
    condition = CONDITIONS["mask-to-image"]
    noise().save(uploads / "photo.png")
    Image.new("L", (8, 8), 99).save(uploads / "numbers.png")
    last = f"{condition.channels - 1} ({condition.classes[-1]})"
    for name, message in (
        ("photo.png", "looks like a photo"),
        ("numbers.png", f"known are 0 \\({condition.classes[0]}\\) to {re.escape(last)}"),
    ):
        with pytest.raises(ValueError, match=message):
            uploaded_mask({"path": str(uploads / name)}, "label map", condition)


def test_keypoints_of_no_known_form_are_refused_in_plain_words(uploads: Path):
    (uploads / "pose.json").write_text(json.dumps({"keypoints": [[1, 2], [3, 4]], "size": [9, 9]}))
    with pytest.raises(ValueError, match="no person in a form that is known here"):
        read_keypoints({"path": str(uploads / "pose.json")})


@pytest.mark.parametrize("suffix", ["avif", "webp"])
def test_phone_and_browser_formats_are_read(uploads: Path, suffix: str):
    noise(size=(96, 64)).save(uploads / f"photo.{suffix}")
    assert read_photo({"path": str(uploads / f"photo.{suffix}")}, "photo").size == (96, 64)


def test_an_uploaded_photo_comes_in_the_colours_of_its_profile(uploads: Path):
    plain = Image.new("RGB", (32, 32), (97, 149, 85))
    plain.save(uploads / "wide.png", icc_profile=matrix_profile())
    assert read_photo({"path": str(uploads / "wide.png")}, "photo").getpixel((5, 5))[0] < 70


def test_an_uploaded_drawing_keeps_its_transparency(uploads: Path):
    layer = Image.new("RGBA", (64, 64))
    layer.paste((255, 255, 255, 255), (30, 8, 33, 56))
    layer.save(uploads / "layer.png")
    drawing = read_lines({"path": str(uploads / "layer.png")}, "picture")
    assert CONDITIONS["edge-to-face"].encode({"edges": drawing}, 64, 64)[0].sum() > 30


def test_the_first_class_to_paint_with_is_a_garment():
    condition = MaskCondition(classes=("background", "skin", "hair", "top", "dress"))
    labels = np.zeros((8, 8), np.uint8)
    labels[1:7], labels[6] = 1, 3
    assert largest(Image.fromarray(labels), condition) == 3
