"""Photos and what belongs to them, in rows: of one shape, turned alike, read by one reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf.conditions import Condition, EdgeCondition, MaskCondition, PartEdgeCondition
from cocosnet_hf.datasets import DataSettings, TrainingExamples
from tests.support.metadata import exif_block, turned_by_tag
from tests.support.rows import MEMORY, ListRows

STORED = np.kron(np.arange(12).reshape(3, 4) % 5, np.ones((16, 20), int)).astype(np.uint8)
PARTS = MaskCondition.from_names("abcde")
PLAIN = replace(MEMORY, image_size=48, load_size=48, augment=False, max_broken_share=0.0)


def photo_file(folder: Path, tag: int = 1) -> str:
    """A photo that shows its labels as greys, with an orientation tag."""
    path = folder / f"photo{tag}.png"
    picture = Image.fromarray(STORED * 20).convert("RGB")
    picture.save(path, exif=exif_block([turned_by_tag(tag)]))
    return str(path)


def example(row: dict[str, Any], condition: Condition = PARTS, **settings: Any) -> dict[str, Any]:
    data = replace(PLAIN, **settings)
    return TrainingExamples(ListRows([row | {"id": "one"}]), condition, data)[0]


def agree(found: dict[str, Any]) -> bool:
    shown = ((found["image"][0] + 1) * 127.5 / 20).round().long()
    return bool((shown == found["condition_labels"]).float().mean() > 0.9)


@pytest.mark.parametrize("tag", range(5, 9))
def test_a_mask_of_the_stored_pixels_is_turned_with_its_photo(
    tag: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    row = {"image": photo_file(tmp_path, tag), "condition": Image.fromarray(STORED)}
    assert agree(example(row))
    assert "it was turned likewise" in caplog.text


@pytest.mark.parametrize("tag", range(1, 9))
def test_a_mask_with_the_tag_of_its_photo_is_turned_by_it(
    tag: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    Image.fromarray(STORED).save(tmp_path / "mask.png", exif=exif_block([turned_by_tag(tag)]))
    assert agree(
        example({"image": photo_file(tmp_path, tag), "condition": str(tmp_path / "mask.png")})
    )
    assert caplog.text == ""


def test_a_mask_of_the_upright_photo_stays_as_it_is(tmp_path: Path):
    mask = Image.fromarray(np.rot90(STORED, -1).copy())
    assert agree(example({"image": photo_file(tmp_path, 6), "condition": mask}))


@pytest.mark.parametrize("tag", [2, 3, 4])
def test_where_the_shape_does_not_tell_it_is_said_what_was_taken(
    tag: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    row = {"image": photo_file(tmp_path, tag), "condition": Image.fromarray(STORED)}
    example(row)
    assert "taken as drawn on the upright photo" in caplog.text


SHAPES = {
    "square": np.zeros((64, 64), np.uint8),
    "turned": np.zeros((80, 48), np.uint8),
    "cropped": np.zeros((48, 70), np.uint8),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kind", ["mask", "drawing", "parts", "labels", "exemplar"])
def test_what_has_another_shape_than_its_photo_is_a_broken_example(
    kind: str, name: str, tmp_path: Path
):
    picture = Image.fromarray(SHAPES[name])
    photo = photo_file(tmp_path)
    row: dict[str, Any] = {"image": photo, "condition": picture}
    condition: Condition = PARTS
    settings: dict[str, Any] = {}
    if kind == "drawing":
        condition = EdgeCondition()
        picture.paste(255, (10, 0, 14, 40))
    elif kind == "parts":
        condition = PartEdgeCondition()
    elif kind == "labels":
        condition = EdgeCondition()
        settings = {"condition_column": None, "labels_column": "condition", "label_classes": 5}
    elif kind == "exemplar":
        row |= {"condition": Image.fromarray(STORED), "exemplar": photo, "own": picture}
        settings = {
            "exemplar_column": "exemplar",
            "exemplar_condition_column": "own",
            "real_probability": 1.0,
        }
    with pytest.raises(RuntimeError, match="another shape.*neither is turned"):
        example(row, condition, **settings)


def test_label_maps_beside_edges_are_read_in_every_dress(tmp_path: Path):
    photo = photo_file(tmp_path)
    settings = {"condition_column": None, "labels_column": "condition", "label_classes": 5}
    plane = Image.fromarray(STORED)
    paletted = plane.copy()
    paletted.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    black = Image.new("L", plane.size)
    dresses = [
        plane,
        paletted,
        Image.fromarray(STORED.astype(np.uint16)),
        Image.merge("RGB", [plane] * 3),
        Image.merge("RGB", [plane, black, black]),
        Image.merge("RGBA", [black, black, black, plane]),
        Image.merge("LA", [plane, Image.new("L", plane.size, 255)]),
    ]
    for number, picture in enumerate(dresses):
        found = example({"image": photo, "condition": picture}, EdgeCondition(), **settings)
        assert agree(found), number


def test_groups_of_labels_are_read_in_every_dress(tmp_path: Path):
    values = Image.fromarray(np.array([0, 30, 7, 9, 11], np.uint8)[STORED])
    groups = ((0,), (30,), (7,), (9,), (11,))
    for tag, picture in ((1, values), (1, Image.merge("RGB", [values] * 3)), (6, values)):
        row = {"image": photo_file(tmp_path, tag), "condition": picture}
        assert agree(example(row, label_groups=groups))


@pytest.mark.parametrize("tag", [1, 6])
def test_the_index_of_exemplars_turns_masks_as_the_examples_do(tag: int, tmp_path: Path):
    from cocosnet_hf.datasets.reading import Reader

    reader = Reader(DataSettings(condition_column="condition"), PARTS)
    row = {"image": photo_file(tmp_path, tag), "condition": Image.fromarray(STORED), "id": "one"}
    compared = reader.layout_of(reader.read(row, 0))
    expected = PARTS.descriptor(compared)
    assert np.array_equal(PARTS.descriptor(reader.read_layout(row, 0)), expected)
