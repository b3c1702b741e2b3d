"""Which photo becomes the exemplar."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cocosnet_hf.conditions import EdgeCondition
from cocosnet_hf.datasets import DataSettings, TrainingExamples, open_source, open_training_data
from cocosnet_hf.synthetic import SyntheticExamples, write_imagefolder
from tests.support.rows import (
    COUNT,
    MEMORY,
    SCENE,
    ListRows,
    always,
    equal,
    exemplars_of,
    mask_rows,
)

pytest.importorskip("datasets")

EPOCHS = 12


def test_one_draw_decides_between_hard_easy_and_the_photo_itself(scenes: DataSettings):
    settings = replace(scenes, retrieve=True, hard_rank=4)
    easy, hard = (
        exemplars_of(open_training_data(always(settings, kind), SCENE)) for kind in ("easy", "hard")
    )
    data = open_training_data(replace(settings, augment=False), SCENE)
    photos = [data[index]["image"] for index in range(COUNT)]
    kinds: dict[str, int] = dict.fromkeys(("self", "easy", "hard"), 0)
    for index in range(COUNT):
        assert len({index, easy[index], hard[index]}) == 3
        for epoch in range(EPOCHS):
            example = data[epoch, index]
            seen = [torch.equal(example["exemplar"], photo) for photo in photos].index(True)
            kind = {index: "self", easy[index]: "easy", hard[index]: "hard"}[seen]
            assert (kind == "self") == bool(example["is_self_pair"])
            kinds[kind] += 1
    shares = {kind: count / (EPOCHS * COUNT) for kind, count in kinds.items()}
    assert shares == pytest.approx({"self": 0.3, "easy": 0.5, "hard": 0.2}, abs=0.1)
    shares = [float(data[epoch, 0]["is_self_pair"]) for epoch in range(150)]
    assert 0.2 < np.mean(shares) < 0.4


def test_the_easy_exemplar_overlaps_more_than_the_hard_one(scenes: DataSettings):
    settings = replace(scenes, retrieve=True, hard_rank=10)
    data = open_training_data(settings, SCENE)
    maps = [np.array(data.reader.read(data.rows[i], i).condition.value) for i in range(COUNT)]

    def agreement(kind: str) -> float:
        choices = exemplars_of(open_training_data(always(settings, kind), SCENE))
        return float(np.mean([(maps[i] == maps[choices[i]]).mean() for i in range(COUNT)]))

    assert agreement("easy") > agreement("hard") + 0.05


def test_label_maps_beside_edges_decide_which_exemplar_is_near(
    scenes: DataSettings, tmp_path: Path
):
    masks = always(replace(scenes, retrieve=True, cache_dir=str(tmp_path)), "easy")
    labels = replace(
        masks,
        condition_column=None,
        labels_column=scenes.condition_column,
        label_classes=SCENE.channels,
    )
    by_labels = exemplars_of(open_training_data(labels, EdgeCondition()))
    assert by_labels == exemplars_of(open_training_data(masks, SCENE))


def test_edge_jitter_changes_the_lines_and_not_the_photo():
    examples = SyntheticExamples("edge", 64, length=2)
    settings = replace(MEMORY, condition_column=None, image_size=64, load_size=64)
    plain, varied = (
        TrainingExamples(examples, EdgeCondition(), replace(settings, edge_jitter=jitter))
        for jitter in (0.0, 0.9)
    )
    changed = 0
    for epoch in range(4):
        assert torch.equal(plain[epoch, 0]["image"], varied[epoch, 0]["image"])
        changed += not torch.equal(plain[epoch, 0]["condition"], varied[epoch, 0]["condition"])
    assert changed
    still = TrainingExamples(
        examples, EdgeCondition(), replace(settings, edge_jitter=0.9, augment=False)
    )
    assert torch.equal(still[0, 0]["condition"], still[1, 0]["condition"])


def test_the_index_of_a_folder_is_built_once(
    scenes: DataSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = always(replace(scenes, retrieve=True, cache_dir=str(tmp_path)), "easy")
    first = exemplars_of(open_training_data(settings, SCENE))
    assert len(list(tmp_path.glob("exemplars-*.safetensors"))) == 1
    # Reading the pictures again would fail.
    monkeypatch.setattr("cocosnet_hf.datasets.reading.Reader.read_layout", None)
    assert exemplars_of(open_training_data(settings, SCENE)) == first


def test_validation_takes_the_easy_exemplar_from_the_training_rows(
    scenes: DataSettings, tmp_path: Path
):
    write_imagefolder(SyntheticExamples("mask", 40, length=2, first=3), tmp_path, "test")
    train = open_source(scenes, SCENE)
    settings = replace(scenes, source=str(tmp_path), split="test", retrieve=True).for_validation()
    data = TrainingExamples(open_source(settings, SCENE), SCENE, settings, pool=train)
    # The same drawings are in the training folder, so they are their own nearest exemplars.
    assert exemplars_of(data, TrainingExamples(train, SCENE, settings)) == [3, 4]
    assert [float(data[epoch, 1]["is_self_pair"]) for epoch in range(5)] == [0] * 5
    assert equal(data[0, 1], data[7, 1])
    assert torch.equal(data[0]["exemplar_labels"], data[0]["condition_labels"])


def test_a_list_names_easy_and_hard_references(scenes: DataSettings, tmp_path: Path):
    path = tmp_path / "refs.txt"
    path.write_text(
        "images/mask-0-000001.png, mask-0-000004.png, mask-0-000005\n\n"
        "mask-0-000002,mask-0-000002\n"
    )
    settings = replace(scenes, exemplar_list=str(path))
    easy, hard = (open_training_data(always(settings, kind), SCENE) for kind in ("easy", "hard"))
    assert exemplars_of(easy)[:3] == [0, 4, 2]
    assert exemplars_of(hard)[:3] == [0, 5, 2]
    assert [bool(hard[index]["is_self_pair"]) for index in range(3)] == [True, False, True]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("mask-0-000001\n", "Line 1 .* must be"),
        (
            "mask-0-000001, mask-0-000002\nmask-0-000001, nobody.png\n",
            "Line 2 .*'nobody.png' names",
        ),
    ],
)
def test_a_wrong_line_of_a_list_is_reported(
    scenes: DataSettings, tmp_path: Path, lines: str, message: str
):
    path = tmp_path / "refs.txt"
    path.write_text(lines)
    with pytest.raises(ValueError, match=message):
        open_training_data(replace(scenes, exemplar_list=str(path)), SCENE)


def test_a_list_that_is_no_text_is_named(scenes: DataSettings, tmp_path: Path):
    path = tmp_path / "refs.txt"
    path.write_bytes("bücher.jpg, ünder.jpg".encode("latin-1"))
    with pytest.raises(ValueError, match=r"refs\.txt' is no text in UTF-8"):
        open_training_data(replace(scenes, exemplar_list=str(path)), SCENE)


def saved_rows(folder: Path, *names: str, **columns: None) -> ListRows:
    """Rows that name photos saved in a folder, and masks in memory."""
    rows = mask_rows(len(names))
    for row, name in zip(rows, names, strict=True):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        row.pop("image").save(path)
        row |= {"image": str(path)} | columns
    return rows


def test_an_ambiguous_name_in_a_list_is_refused(tmp_path: Path):
    rows = saved_rows(tmp_path, "a/1.png", "b/1.png", id=None)
    path = tmp_path / "refs.txt"
    path.write_text("a/1.png, b/1.png\n")
    settings = always(replace(MEMORY, exemplar_list=str(path)), "easy")
    data = TrainingExamples(rows, SCENE, settings)
    assert exemplars_of(data) == [1, 1] and data[1]["is_self_pair"] == 1
    path.write_text("1.png, b/1.png\n")
    with pytest.raises(ValueError, match="name of several examples"):
        TrainingExamples(rows, SCENE, settings)


def test_a_row_without_an_id_is_called_by_its_file_only(tmp_path: Path):
    rows = saved_rows(tmp_path, "a.png", "b.png", id=None)
    path = tmp_path / "refs.txt"
    path.write_text("a, b\n")
    settings = always(replace(MEMORY, exemplar_list=str(path)), "easy")
    data = TrainingExamples(rows, SCENE, settings)
    assert exemplars_of(data) == [1, 1] and data[1]["is_self_pair"] == 1
    path.write_text("a, None\n")
    with pytest.raises(ValueError, match="'None' names no example"):
        TrainingExamples(rows, SCENE, settings)


def test_a_null_in_the_exemplar_column_means_the_photo_itself():
    rows = mask_rows(2)
    for row, other in zip(rows, (None, rows[0]), strict=True):
        row["exemplar"] = other and other["image"]
        row["exemplar_condition"] = other and other["condition"]
    settings = replace(
        MEMORY,
        exemplar_column="exemplar",
        exemplar_condition_column="exemplar_condition",
        real_probability=1.0,
    )
    data = TrainingExamples(rows, SCENE, settings)
    assert [float(data[i]["is_self_pair"]) for i in range(2)] == [1, 0]
