"""Instance maps are cut and flipped with their photo, and a missing one is said."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf import MaskCondition
from cocosnet_hf.datasets import DataSettings
from cocosnet_hf.datasets.composing import compose
from cocosnet_hf.datasets.reading import BrokenExample, Reader

SIDE = 16
CONDITION = MaskCondition.from_names(["ground", "thing"])
SETTINGS = DataSettings(
    condition_column="label",
    instances_column="instance",
    image_size=SIDE,
    load_size=SIDE + 4,
    flip=1.0,
)


def row(numbers: np.ndarray) -> dict[str, Any]:
    """A photo that shows its instances in grey, their map, and things where it is not 0."""
    grey = Image.fromarray((numbers % 251).astype(np.uint8))
    return {
        "image": grey.convert("RGB"),
        "label": Image.fromarray((numbers > 0).astype(np.uint8)),
        "instance": Image.fromarray(numbers.astype(np.uint16)),
    }


def numbers() -> np.ndarray:
    """Cityscapes' way: class * 1000 + number."""
    found = np.zeros((SIDE + 4, SIDE + 4), int)
    found[4:9, 2:9], found[4:9, 9:17] = 26001, 26002
    return found


def test_an_instance_map_goes_where_its_photo_and_its_labels_go():
    reader = Reader(SETTINGS, CONDITION)
    example = reader.read(row(numbers()), 0)
    made = compose(example, None, CONDITION, SETTINGS, np.random.default_rng(1))
    found = made["instances"]
    assert found.shape == (SIDE, SIDE)
    assert set(found.unique().tolist()) == {0, 26001, 26002}
    assert (found > 0).equal(made["condition_labels"] == 1)
    shown = ((made["image"][0] + 1) * 127.5).round().long()
    assert shown.equal(found % 251)
    assert found[:, 0].max() == 0 and found.argmax() % SIDE < SIDE / 2  # flipped: 26002 is left


def test_a_map_in_colours_is_read_as_coco_writes_it():
    given = row(numbers())
    planes = [numbers() % 256, numbers() // 256 % 256, numbers() // 65536]
    given["instance"] = Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))
    found = Reader(SETTINGS, CONDITION).read(given, 0).instances
    assert np.array_equal(np.asarray(found), numbers())


def test_a_row_without_its_map_or_with_one_of_another_shape_is_broken():
    reader = Reader(SETTINGS, CONDITION)
    with pytest.raises(BrokenExample, match="has no instance map, .* every class counts as one"):
        reader.read(row(numbers()) | {"instance": None}, 0)
    with pytest.raises(BrokenExample, match="instance map of row 0"):
        reader.read(row(numbers()) | {"instance": Image.new("I;16", (SIDE, 3))}, 0)


def test_without_the_column_there_are_no_instances():
    settings = DataSettings(condition_column="label", image_size=SIDE, load_size=SIDE)
    example = Reader(settings, CONDITION).read(row(numbers()), 0)
    made = compose(example, None, CONDITION, settings, np.random.default_rng(1))
    assert "instances" not in made
