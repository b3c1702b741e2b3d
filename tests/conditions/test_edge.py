"""EdgeCondition and PartEdgeCondition: lines, distances, the official 15 channels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from skimage.feature import canny

from cocosnet_hf.conditions import EdgeCondition, PartEdgeCondition
from cocosnet_hf.conditions.faces import CELEBAMASK_FACE_CLASSES
from cocosnet_hf.conditions.lines import truncated_distance
from cocosnet_hf.conditions.part_edge import FACE_PARTS, mask_outline
from tests.support import preprocess_reference
from tests.support.segmenter import save_segmenter

EDGES = EdgeCondition()
FACES = PartEdgeCondition()


def photo(height: int = 48, width: int = 64) -> Image.Image:
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).rectangle((16, 12, 44, 34), fill=(20, 60, 120))
    return image


def drawing(ground: int = 255, line: int = 0) -> Image.Image:
    image = Image.new("L", (64, 48), ground)
    ImageDraw.Draw(image).line((8, 24, 56, 24), fill=line, width=5)
    return image


def test_a_photo_gives_canny_edges_and_the_distance_to_them():
    encoded = EDGES.encode(photo(), 48, 64)
    lines = canny(np.asarray(photo().convert("L")))
    assert encoded.dtype == torch.float32
    assert torch.equal(encoded[0], torch.from_numpy(lines).float())
    row, column = 0, 63
    rows, columns = np.nonzero(lines)
    nearest = (np.abs(rows - row) + np.abs(columns - column)).min()
    assert encoded[1, row, column] == nearest / EDGES.reach
    near = dataclasses.replace(EDGES, reach=2).encode(photo(), 48, 64)
    assert torch.equal(near[1], (encoded[1] * EDGES.reach / 2).clamp(max=1))


@pytest.mark.parametrize(
    "source",
    [
        np.asarray(photo()),
        np.asarray(photo()) / 255,
        torch.tensor(np.asarray(photo())).permute(2, 0, 1),
        photo().convert("RGBA"),
        photo().quantize(4),
    ],
    ids=["array", "float array", "tensor", "opaque RGBA", "palette"],
)
def test_every_kind_of_photo_gives_the_same_edges(source):
    assert EDGES.natural_size(source) == (48, 64)
    assert torch.equal(EDGES.encode(source, 48, 64), EDGES.encode(photo(), 48, 64))


def test_a_photo_is_resized_bilinearly_before_its_edges_are_taken():
    large = photo().resize((150, 110), Image.Resampling.BICUBIC)
    resized = large.resize((64, 48), Image.Resampling.BILINEAR)
    assert torch.equal(EDGES.encode(large, 48, 64), EDGES.encode(resized, 48, 64))
    source = {"photo": large, "parts": {"hair": np.ones((48, 64), bool)}}
    assert torch.equal(FACES.encode(source, 48, 64)[0], EDGES.encode(resized, 48, 64)[0])


def test_a_photo_is_its_own_source():
    image = photo()
    assert EDGES.from_photo(image) is image


def test_higher_thresholds_leave_fewer_edges():
    noise = np.random.default_rng(0).integers(0, 256, (48, 48)).astype(np.uint8)
    few = EdgeCondition(sigma=1.0, low=0.3, high=0.6).encode(noise, 48, 48)
    assert few[0].sum() < EDGES.encode(noise, 48, 48)[0].sum()


def test_a_photo_without_edges_is_infinitely_far_from_them():
    encoded = EDGES.encode(np.full((16, 16, 3), 90, np.uint8), 16, 16)
    assert torch.equal(encoded[0], torch.zeros(16, 16))
    assert torch.equal(encoded[1], torch.ones(16, 16))


@pytest.mark.parametrize(("ground", "line"), [(255, 0), (0, 255), (200, 60)])
def test_drawn_lines_are_found_dark_on_light_and_light_on_dark(ground: int, line: int):
    encoded = EDGES.encode({"edges": drawing(ground, line)}, 48, 64)
    inner = encoded[0, :, 12:52]
    assert torch.equal(inner.nonzero()[:, 0], torch.full((40,), 24))
    assert not encoded[0, :21].any() and not encoded[0, 28:].any()


def test_strokes_on_a_transparent_layer_are_the_lines():
    layer = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    ImageDraw.Draw(layer).line((8, 24, 56, 24), fill=(255, 255, 255, 255), width=5)
    expected = EDGES.encode({"edges": drawing()}, 48, 64)
    assert torch.equal(EDGES.encode({"edges": layer}, 48, 64), expected)


def test_a_thin_drawn_line_survives_being_made_smaller():
    image = Image.new("L", (512, 512), 255)
    ImageDraw.Draw(image).line((0, 255, 511, 255), fill=0, width=1)
    assert EDGES.encode({"edges": image}, 32, 32)[0].sum() >= 30


@given(arrays(bool, (8, 12)))
def test_the_lines_of_an_encoded_condition_encode_to_the_same_condition(lines: np.ndarray):
    encoded = EDGES.encode(lines, 8, 12)
    assert torch.equal(EDGES.encode(encoded[0] > 0, 8, 12), encoded)


@given(arrays(bool, (7, 9)))
def test_the_distance_is_the_smallest_sum_of_steps_to_a_line(lines: np.ndarray):
    rows, columns = np.nonzero(lines)
    y, x = np.mgrid[:7, :9]
    steps = np.abs(y[..., None] - rows) + np.abs(x[..., None] - columns)
    nearest = steps.min(-1) // 3 if len(rows) else np.full((7, 9), 255)
    assert np.array_equal(truncated_distance(lines), nearest)


@given(st.integers(800, 900))
def test_a_line_too_far_away_counts_as_none(width: int):
    lines = np.zeros((1, width), bool)
    lines[0, 0] = True
    assert truncated_distance(lines)[0, 764:].tolist() == [254] + [255] * (width - 765)


def test_an_outline_has_both_pixels_of_every_differing_pair():
    mask = np.zeros((5, 5), bool)
    mask[2, 2] = True
    plus = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
    assert np.array_equal(mask_outline(mask)[1:4, 1:4], plus)
    assert mask_outline(mask).sum() == 5


def test_the_preview_shows_dark_lines_on_white():
    encoded = EDGES.encode({"edges": drawing()}, 48, 64)
    picture = np.asarray(EDGES.preview(encoded))
    assert (picture[24, 32] == 0).all()
    assert (picture[4, 4] == 255).all()
    assert torch.equal(EDGES.encode({"edges": Image.fromarray(picture)}, 48, 64), encoded)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"edges": Image.new("L", (16, 16), 255)}, "no line"),
        ({"lines": drawing()}, "one key 'edges'"),
        (np.full((16, 16, 3), np.nan), "NaN"),
        (np.full((16, 16, 3), 7.0), "0..1 when floating"),
        (Image.new("RGB", (1, 1)), "1 x 1 pixels"),
        (np.ones((1, 1), bool), "1 x 1 pixels"),
        (torch.ones(0, 0, dtype=torch.bool), "0 x 0 pixels"),
        (3, "got int"),
    ],
)
def test_an_unusable_edge_source_is_refused_with_the_reason(source, message: str):
    with pytest.raises(ValueError, match=message):
        EDGES.encode(source, 16, 16)


@pytest.mark.parametrize(
    "settings", [{"sigma": -1.0}, {"low": 0.5, "high": 0.2}, {"high": 1.5}, {"low": -0.1}]
)
def test_impossible_edge_settings_are_refused(settings: dict):
    with pytest.raises(ValueError, match="sigma >= 0 and 0 <= low <= high <= 1"):
        EdgeCondition(**settings)


@pytest.mark.parametrize(("file", "case"), preprocess_reference.cases("edge"))
def test_face_edges_equal_the_reference_in_every_value(file: str, case: str):
    recorded = preprocess_reference.load(file, case)
    side = int((recorded["src_parts_packed"].size * 8 / len(FACE_PARTS)) ** 0.5)
    parts = np.unpackbits(recorded["src_parts_packed"])[: len(FACE_PARTS) * side * side]
    parts = parts.reshape(len(FACE_PARTS), side, side)
    masks = {
        name: Image.fromarray(part * 255)
        for name, part, present in zip(
            FACE_PARTS, parts, recorded["src_parts_present"], strict=True
        )
        if present
    }
    expected = preprocess_reference.expected(recorded)
    encoded = FACES.encode(
        {"photo": Image.fromarray(recorded["src_image"]), "parts": masks}, *expected.shape[1:]
    )
    assert torch.equal(encoded, expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_part_masks_are_read_from_any_kind_of_file(mode: str, tmp_path: Path):
    part = np.zeros((48, 64), np.uint8)
    part[8:40, 16:48] = 255
    Image.fromarray(part).convert(mode).save(tmp_path / "00000_skin.png")
    photo = Image.new("RGB", (64, 48), "gray")
    found = FACES.encode({"photo": photo, "parts": {"skin": tmp_path / "00000_skin.png"}}, 48, 64)
    expected = FACES.encode({"photo": photo, "parts": {"skin": part > 0}}, 48, 64)
    assert torch.equal(found, expected)


def test_a_part_mask_whose_palette_begins_with_white_is_read_by_its_colours(tmp_path: Path):
    part = np.zeros((48, 64), np.uint8)
    part[8:40, 16:48] = 1
    inverse = Image.fromarray(1 - part)
    inverse.putpalette([255, 255, 255, 0, 0, 0])
    inverse.save(tmp_path / "skin.png")
    photo = Image.new("RGB", (64, 48), "gray")
    found = FACES.encode({"photo": photo, "parts": {"skin": tmp_path / "skin.png"}}, 48, 64)
    expected = FACES.encode({"photo": photo, "parts": {"skin": part}}, 48, 64)
    assert torch.equal(found, expected)


def test_a_photo_as_a_part_mask_is_refused():
    photo = Image.new("RGB", (64, 48), "gray")
    colored = Image.new("RGB", (64, 48), "red")
    several = Image.linear_gradient("L").resize((64, 48))
    several.putpalette(list(range(256)) * 3)
    assert several.mode == "P"
    for part in (colored, several):
        with pytest.raises(ValueError, match="mask of skin must be black where.*it has colours"):
            FACES.encode({"photo": photo, "parts": {"skin": part}}, 48, 64)


def label_map() -> np.ndarray:
    labels = np.zeros((48, 64), np.uint8)
    labels[8:40, 16:48] = CELEBAMASK_FACE_CLASSES.index("skin")
    labels[20:26, 28:36] = CELEBAMASK_FACE_CLASSES.index("nose")
    labels[2:8, 16:48] = CELEBAMASK_FACE_CLASSES.index("hair")
    labels[40:46, 16:48] = CELEBAMASK_FACE_CLASSES.index("neck")
    return labels


def test_a_label_map_gives_the_parts_with_skin_beneath_them():
    labels = label_map()
    nose = labels == CELEBAMASK_FACE_CLASSES.index("nose")
    hair = labels == CELEBAMASK_FACE_CLASSES.index("hair")
    skin = (labels == CELEBAMASK_FACE_CLASSES.index("skin")) | nose
    parts = {"skin": skin, "nose": nose, "hair": hair, "mouth": None}
    expected = FACES.encode({"photo": photo(), "parts": parts}, 48, 64)
    for source in (labels, Image.fromarray(labels), torch.from_numpy(labels)):
        assert torch.equal(FACES.encode({"photo": photo(), "parts": source}, 48, 64), expected)


def test_a_missing_part_is_one_everywhere():
    encoded = FACES.encode({"photo": photo(), "parts": label_map()}, 48, 64)
    missing = [1 + FACE_PARTS.index(name) for name in FACE_PARTS if name not in ("skin", "nose")]
    missing.remove(1 + FACE_PARTS.index("hair"))
    assert torch.equal(encoded[missing], torch.ones(len(missing), 48, 64))


def test_the_photos_edges_inside_the_face_are_left_out():
    whole = {"skin": np.ones((48, 64), bool)}
    encoded = FACES.encode({"photo": photo(), "parts": whole}, 48, 64)
    assert not encoded[0].any()
    hairy = FACES.encode({"photo": photo(), "parts": {"hair": whole["skin"]}}, 48, 64)
    assert torch.equal(hairy[0], EDGES.encode(photo(), 48, 64)[0])


def test_the_preview_of_face_edges_shows_their_outlines():
    encoded = FACES.encode({"photo": photo(), "parts": label_map()}, 48, 64)
    assert FACES.natural_size({"photo": photo(), "parts": label_map()}) == (48, 64)
    picture = torch.tensor(np.asarray(FACES.preview(encoded).convert("L")))
    assert torch.equal(picture == 0, encoded[0] == 1)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (photo(), "got Image; condition.from_photo"),
        ({"photo": photo()}, r"got \['photo'\]"),
        ({"photo": photo(), "parts": {"chin": label_map()}}, r"Unknown face parts \['chin'\]"),
        ({"photo": photo(), "parts": {}}, "No face part"),
        ({"photo": photo(), "parts": np.zeros((48, 64), int)}, "No face part"),
        ({"photo": photo(), "parts": label_map() + 100}, r"labels 0\.\.18, got 100"),
        ({"photo": photo(), "parts": label_map() / 255}, "integers or bool"),
        ({"photo": photo(), "parts": photo()}, "one plane"),
    ],
)
def test_an_unusable_face_source_is_refused_with_the_reason(source, message: str):
    with pytest.raises(ValueError, match=message):
        FACES.encode(source, 48, 64)


def test_a_photo_is_parsed_by_a_transformers_model(tmp_path: Path):
    save_segmenter(tmp_path, ["eye_g", "eye_g"])
    source = FACES.from_photo(photo(), model=str(tmp_path))
    assert (source["parts"] == CELEBAMASK_FACE_CLASSES.index("glasses")).all()
    assert FACES.encode(source, 48, 64).shape == (15, 48, 64)


def test_a_model_without_face_parts_is_refused(tmp_path: Path):
    save_segmenter(tmp_path, ["cat", "dog"])
    with pytest.raises(ValueError, match="found no face part"):
        FACES.from_photo(photo(), model=str(tmp_path))
