"""Drawings and label maps that stand in columns of a data set."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf.conditions import EdgeCondition, MaskCondition
from cocosnet_hf.datasets import DataSettings, TrainingExamples
from cocosnet_hf.synthetic import SyntheticExamples
from tests.support.rows import MEMORY, ListRows, always, exemplars_of

pytest.importorskip("datasets")


def test_a_drawing_in_a_column_is_read_as_lines():
    drawing = Image.new("L", (40, 40), 255)
    drawing.paste(0, (10, 0, 12, 40))
    row = {"image": Image.new("RGB", (40, 40), "red"), "condition": drawing, "id": "drawn"}
    data = TrainingExamples(ListRows([row]), EdgeCondition(), replace(MEMORY, augment=False))
    lines = data[0]["condition"][0]
    # The stroke is thinned to one pixel; thinning also takes a pixel off its ends.
    assert 28 <= lines.sum() <= 32
    assert lines[:, 6:8].sum() == lines.sum()


def test_a_drawing_keeps_its_thin_lines_and_may_be_empty_where_it_is_cut():
    drawing = np.full((160, 160), 255, np.uint8)
    drawing[:, 13] = drawing[30] = 0
    row = {
        "image": Image.new("RGB", (160, 160), "red"),
        "condition": Image.fromarray(drawing),
        "id": "drawn",
    }
    settings = replace(MEMORY, image_size=16, load_size=40, flip=0.0)
    data = TrainingExamples(ListRows([row]), EdgeCondition(), settings)
    lines = [data[epoch, 0]["condition"][0] for epoch in range(40)]
    found = {(bool(cut.any(0).all()), bool(cut.any(1).all())) for cut in lines}
    assert found >= {(False, False), (True, False), (False, True)}
    assert max(cut.sum() for cut in lines) <= 2 * 16


def test_a_drawing_without_a_line_is_a_broken_example():
    row = {"image": Image.new("RGB", (40, 40)), "condition": Image.new("L", (40, 40), 255)}
    settings = replace(MEMORY, max_broken_share=0.0)
    data = TrainingExamples(ListRows([row | {"id": "blank"}]), EdgeCondition(), settings)
    with pytest.raises(RuntimeError, match="blank cannot be used: The drawing has no line"):
        data[0]


@pytest.mark.parametrize("kind", ["edge", "pose"])
def test_a_labels_column_gives_label_maps_to_conditions_that_are_no_masks(kind: str):
    examples = SyntheticExamples(kind, 48, length=3)
    settings = DataSettings(
        condition_column="condition" if kind == "pose" else None,
        labels_column="labels",
        label_classes=len(examples.classes),
        exemplar_column="exemplar",
        exemplar_condition_column="exemplar_condition" if kind == "pose" else None,
        exemplar_labels_column="exemplar_labels",
        image_size=32,
        load_size=36,
    )
    example = TrainingExamples(examples, examples.condition, settings)[0]
    assert example["condition_labels"].shape == example["exemplar_labels"].shape == (32, 32)
    assert 0 < example["condition_labels"].max() < len(examples.classes)


@pytest.mark.parametrize("missing", ["labels", "exemplar_labels"])
def test_a_row_without_its_label_map_is_a_broken_example(missing: str):
    photo, labels = Image.new("RGB", (32, 32), "red"), Image.new("L", (32, 32))
    row = {"image": photo, "labels": labels, "exemplar": photo, "exemplar_labels": labels}
    settings = DataSettings(
        labels_column="labels",
        label_classes=2,
        exemplar_column="exemplar",
        exemplar_labels_column="exemplar_labels",
        image_size=32,
        load_size=32,
        real_probability=1.0,
        max_broken_share=0.0,
    )
    data = TrainingExamples(
        ListRows([row | {missing: None, "id": "one"}]), EdgeCondition(), settings
    )
    with pytest.raises(RuntimeError, match="There is no label map of .*one"):
        data[0]


def test_a_flip_exchanges_the_sides_of_a_label_map():
    photo = Image.new("RGB", (32, 32), "red")
    labels = np.repeat(np.array([[0, 1, 2, 3]], np.uint8), 32, 0).repeat(8, 1)
    row = {"image": photo, "labels": Image.fromarray(labels), "id": "one"}
    settings = DataSettings(
        labels_column="labels",
        label_classes=4,
        label_sides=((0, 3),),
        image_size=32,
        load_size=32,
        flip=1.0,
        real_probability=0.0,
        hard_probability=0.0,
    )
    edges = Image.new("L", (32, 32), 255)
    edges.paste(0, (10, 0, 12, 32))
    rows = ListRows([row | {"edges": edges}])
    found = TrainingExamples(rows, EdgeCondition(), replace(settings, condition_column="edges"))
    assert found[0]["condition_labels"][0, ::8].tolist() == [0, 2, 1, 3]
    plain = replace(settings, condition_column="edges", label_sides=())
    unswapped = TrainingExamples(rows, EdgeCondition(), plain)
    assert unswapped[0]["condition_labels"][0, ::8].tolist() == [3, 2, 1, 0]
    few = replace(plain, label_classes=3)
    with pytest.raises(RuntimeError, match=r"'one'.*classes 0..2, got .* from 0 to 3"):
        TrainingExamples(rows, EdgeCondition(), few)[0]


def test_values_of_a_label_map_are_grouped_into_classes():
    photo = Image.new("RGB", (32, 32), "red")
    labels = np.repeat(np.array([[0, 7, 3, 9]], np.uint8), 32, 0).repeat(8, 1)
    rows = ListRows([{"image": photo, "labels": Image.fromarray(labels), "id": "one"}])
    settings = DataSettings(
        labels_column="labels",
        label_classes=3,
        label_groups=((9,), (0, 3), (7,)),
        image_size=32,
        load_size=32,
        flip=0.0,
    )
    example = TrainingExamples(rows, EdgeCondition(), settings)[0]
    assert example["condition_labels"][0, ::8].tolist() == [1, 2, 1, 0]
    without_seven = replace(settings, label_groups=((9,), (0, 3), (1,)))
    with pytest.raises(RuntimeError, match=r"map of one.*values in label_groups.*\[7\] outside"):
        TrainingExamples(rows, EdgeCondition(), without_seven)[0]
    masks = replace(settings, condition_column="labels", labels_column=None, label_classes=None)
    example = TrainingExamples(rows, MaskCondition.from_names("abc"), masks)[0]
    assert example["condition_labels"][0, ::8].tolist() == [1, 2, 1, 0]
    with pytest.raises(ValueError, match="each of the 2 classes of the condition, got 3"):
        TrainingExamples(rows, MaskCondition.from_names("ab"), masks)
    with pytest.raises(ValueError, match="use one of them"):
        TrainingExamples(rows, MaskCondition.from_names("abc", values={7: 1}), masks)
    with pytest.raises(ValueError, match="of which there are none"):
        unlabelled = replace(settings, labels_column=None, label_classes=None)
        TrainingExamples(rows, EdgeCondition(), unlabelled)


def test_an_index_of_grouped_labels_compares_groups():
    def row(name: str, top: int, bottom: int) -> dict:
        labels = np.full((32, 32), bottom, np.uint8)
        labels[:16] = top
        return {
            "image": Image.fromarray(labels * 20).convert("RGB"),
            "labels": Image.fromarray(labels),
            "id": name,
        }

    rows = ListRows([row("query", 5, 0), row("other", 0, 5), row("alike", 6, 0)])
    settings = DataSettings(
        labels_column="labels",
        label_classes=2,
        label_groups=((0,), (5, 6)),
        retrieve=True,
        image_size=32,
        load_size=32,
    )
    data = TrainingExamples(rows, EdgeCondition(), always(settings, "easy"))
    assert exemplars_of(data)[0] == 2


@pytest.mark.parametrize("groups", [((0,), (1,)), ((0,), (1, 2), (2,))])
def test_label_groups_that_are_no_classes_are_refused(groups: tuple[tuple[int, ...], ...]):
    with pytest.raises(ValueError, match="label_groups"):
        DataSettings(labels_column="labels", label_classes=3, label_groups=groups)


@pytest.mark.parametrize("pair", [(0, 4), (1,), (0, 1, 2)])
def test_sides_that_are_no_pairs_of_classes_are_refused(pair: tuple[int, ...]):
    with pytest.raises(ValueError, match="pairs of classes below 'label_classes'"):
        DataSettings(labels_column="labels", label_classes=4, label_sides=(pair,))
