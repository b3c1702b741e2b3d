"""Where data come from: folders, saved data sets, parquet, keypoints."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf.conditions import EdgeCondition, PoseCondition
from cocosnet_hf.datasets import DataSettings, TrainingExamples, open_source, open_training_data
from cocosnet_hf.synthetic import SyntheticExamples, write_imagefolder
from tests.support.keypoints import SIZE, STANDING, flat, openpose
from tests.support.rows import COUNT, MEMORY, SCENE, ListRows, equal, take

datasets = pytest.importorskip("datasets")


@pytest.mark.parametrize("streaming", [False, True])
def test_a_folder_parquet_and_tars_hold_the_same_examples(
    folder: Path, parquet: Path, scenes: DataSettings, tmp_path: Path, streaming: bool
):
    import tarfile

    tars = tmp_path / "tars"
    tars.mkdir()
    for shard, numbers in enumerate((range(6), range(6, 12))):
        with tarfile.open(tars / f"train-{shard}.tar", "w") as tar:
            for number in numbers:
                name = f"mask-0-{number:06d}"
                tar.add(folder / "train" / "images" / f"{name}.png", f"{name}.image.png")
                tar.add(folder / "train" / "labels" / f"{name}.png", f"{name}.label.png")
    settings = replace(scenes, streaming=streaming)
    columns = {"image_column": "image.png", "condition_column": "label.png"}
    sources = [
        settings,
        replace(settings, source=str(parquet)),
        replace(settings, source=str(parquet / "*.parquet")),
        replace(settings, source=str(tars), **columns),
    ]
    found = []
    for source in sources:
        rows = open_source(source.for_validation(), SCENE)
        data = open_training_data(source.for_validation(), SCENE)
        examples = take(data, COUNT) if streaming else [data[i] for i in range(len(rows))]
        found.append(sorted(float(example["image"].sum()) for example in examples))
    assert len(found[0]) == COUNT
    assert all(sums == found[0] for sums in found[1:])


def test_a_folder_of_photos_alone_is_enough_for_edges(tmp_path: Path, cache: str):
    for number in range(3):
        image = SyntheticExamples("edge", 40)[number]["image"]
        image.save(tmp_path / f"{number}.png")
    settings = DataSettings(source=str(tmp_path), image_size=32, load_size=36, cache_dir=cache)
    data = open_training_data(settings, EdgeCondition())
    assert len(data) == 3
    assert data[1]["condition"].shape == (2, 32, 32)


def test_a_data_set_saved_to_disk_is_opened(scenes: DataSettings, tmp_path: Path):
    open_source(scenes, SCENE).save_to_disk(str(tmp_path / "saved"))
    data = open_training_data(replace(scenes, source=str(tmp_path / "saved")), SCENE)
    assert equal(data[0, 4], open_training_data(scenes, SCENE)[0, 4])


@pytest.mark.parametrize("split", ["train[:3]", "train[75%:]", "train"])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_saved_data_set_has_the_splits_of_what_was_saved(
    scenes: DataSettings, tmp_path: Path, split: str, streaming: bool
):
    open_source(scenes, SCENE).save_to_disk(str(tmp_path / "saved"))
    saved = replace(scenes, source=str(tmp_path / "saved"), split=split, streaming=streaming)
    expected = [row["id"] for row in open_source(replace(scenes, split=split), SCENE)]
    assert [row["id"] for row in open_source(saved, SCENE)] == expected


def test_several_splits_saved_as_one_data_set_are_called_train(
    scenes: DataSettings, tmp_path: Path
):
    rows = open_source(replace(scenes, split="train[:2]+train[5:]"), SCENE)
    assert "+" in str(rows.split)
    rows.save_to_disk(str(tmp_path / "saved"))
    saved = open_source(replace(scenes, source=str(tmp_path / "saved"), split="train[:4]"), SCENE)
    assert saved["id"] == rows["id"][:4]


@pytest.mark.parametrize("split", ["validation", "train[:3]+validation"])
def test_a_split_that_was_not_saved_is_an_error(scenes: DataSettings, tmp_path: Path, split: str):
    open_source(scenes, SCENE).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(ValueError, match=r'Unknown split "validation".*train'):
        open_source(replace(scenes, source=str(tmp_path / "saved"), split=split), SCENE)


def test_several_data_sets_saved_as_one_are_its_splits(scenes: DataSettings, tmp_path: Path):
    rows = open_source(scenes, SCENE)
    parts = {"train": rows.select(range(8)), "held_out": rows.select(range(8, COUNT))}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    saved = replace(scenes, source=str(tmp_path / "saved"), split="train[:2]+held_out")
    expected = [rows[place]["id"] for place in (0, 1, *range(8, COUNT))]
    assert [row["id"] for row in open_source(saved, SCENE)] == expected


def test_keypoints_in_metadata_become_poses(tmp_path: Path, cache: str):
    write_imagefolder(SyntheticExamples("pose", 128, length=2), tmp_path)
    settings = DataSettings(
        source=str(tmp_path),
        condition_column="keypoints",
        labels_column="label",
        label_classes=len(SyntheticExamples("pose", 128).classes),
        image_size=128,
        load_size=128,
        augment=False,
        cache_dir=cache,
    )
    example = open_training_data(settings, PoseCondition())[0]
    figure = example["condition"][:3].amax(0) > 0
    assert figure.any()
    person = example["condition_labels"] > 1
    assert person[figure].float().mean() > 0.75


def test_openpose_json_text_and_dicts_become_poses():
    pose = SyntheticExamples("pose", 64)[0]
    numbers = pose["condition"].joints * (0.5, 0.5, 1)
    people = {"people": [{"pose_keypoints_2d": numbers.reshape(-1).tolist()}]}
    conditions = [people, json.dumps(people), {"keypoints": numbers}, numbers.tolist()]
    rows = ListRows({"image": pose["image"], "condition": each, "id": "p"} for each in conditions)
    settings = replace(MEMORY, image_size=64, load_size=64, augment=False)
    data = TrainingExamples(rows, PoseCondition(), settings)
    assert all(torch.equal(data[i]["condition"], data[0]["condition"]) for i in range(4))


def test_the_other_forms_of_keypoints_become_poses_of_their_photo():
    photo = Image.new("RGB", (SIZE[1], SIZE[0]))
    canvas = {"canvas_height": 2 * SIZE[0], "canvas_width": 2 * SIZE[1]}
    twice = STANDING * (2, 2, 1)
    conditions = [
        flat(STANDING),
        [flat(STANDING)],
        {"keypoints": flat(STANDING), "bbox": [0, 0, 9, 9], "size": None},
        [{"keypoints": flat(STANDING), "score": 0.9}],
        json.dumps([openpose(STANDING)]).encode("utf-16"),
        openpose(twice, **canvas),  # whose picture was made smaller
        openpose(STANDING / (*SIZE[::-1], 1)),
    ]
    rows = ListRows({"image": photo, "condition": each, "id": "p"} for each in conditions)
    settings = replace(MEMORY, image_size=64, load_size=64, augment=False)
    data = TrainingExamples(rows, PoseCondition(draw_height=96), settings)
    for place in range(len(rows)):
        assert torch.equal(data[place]["condition"], data[0]["condition"])


@pytest.mark.parametrize("size", [(64, 96), (96, 96), (200, 100)])
def test_keypoints_of_a_picture_of_another_aspect_are_broken(size: tuple[int, int]):
    photo = Image.new("RGB", (SIZE[1], SIZE[0]))
    canvas = {"canvas_height": size[0], "canvas_width": size[1]}
    rows = ListRows(
        [{"image": photo, "condition": openpose(STANDING * (0.6, 0.6, 1), **canvas), "id": "p"}]
    )
    settings = replace(MEMORY, max_broken_share=0.0)
    with pytest.raises(RuntimeError, match="'p' lies on a picture of .*turned or cropped"):
        TrainingExamples(rows, PoseCondition(), settings)[0]


def two_people(**column: list) -> ListRows:
    """Photos with a scrap of somebody and a whole person, and further columns."""
    photo = Image.new("RGB", (SIZE[1], SIZE[0]))
    scrap = STANDING * (np.arange(18) < 2)[:, None]
    row = {"image": photo, "condition": openpose(scrap, STANDING)}
    count = len(next(iter(column.values())))
    return ListRows(
        row | {"id": f"row{k}"} | {name: values[k] for name, values in column.items()}
        for k in range(count)
    )


def test_the_person_who_is_there_most_is_taken_and_said_once(caplog: pytest.LogCaptureFixture):
    settings = replace(MEMORY, image_size=64, load_size=64, augment=False)
    data = TrainingExamples(two_people(n=[1, 2, 3]), PoseCondition(), settings)
    alone = two_people(n=[1])
    alone[0]["condition"] = openpose(STANDING)
    expected = TrainingExamples(alone, PoseCondition(), settings)[0]["condition"]
    assert all(torch.equal(data[place]["condition"], expected) for place in range(3))
    (said,) = [record.getMessage() for record in caplog.records]
    assert "'row0': The pose has 2 people; person 1" in said and "person_column" in said


def test_a_column_says_which_person_is_meant(caplog: pytest.LogCaptureFixture):
    rows = two_people(who=[0, 1, None, 7])
    for row in rows:
        row |= {"exemplar": row["image"], "exemplar_condition": row["condition"], "other": 0}
    settings = replace(
        MEMORY,
        image_size=64,
        load_size=64,
        augment=False,
        real_probability=1.0,
        person_column="who",
        exemplar_column="exemplar",
        exemplar_condition_column="exemplar_condition",
        exemplar_person_column="other",
        max_broken_share=1.0,
    )
    data = TrainingExamples(rows, PoseCondition(), settings)
    scrap, whole, likewise = (data[place] for place in range(3))
    assert torch.equal(whole["condition"], likewise["condition"])
    assert torch.equal(scrap["condition"], scrap["exemplar_condition"])
    assert torch.equal(scrap["condition"], whole["exemplar_condition"])
    drawn = [(example["condition"][:3].amax(0) > 0).sum() for example in (scrap, whole)]
    assert drawn[1] > 3 * drawn[0] > 0
    assert torch.equal(data[3]["condition"], scrap["condition"])  # the next one that can be read
    assert "person 7 is not there" in caplog.text


def test_a_column_of_people_is_for_keypoints():
    settings = replace(MEMORY, person_column="who")
    rows = ListRows([{"image": None, "condition": None, "who": 0}])
    with pytest.raises(ValueError, match="'who' says which person.*'edge' condition"):
        TrainingExamples(rows, EdgeCondition(), settings)
    with pytest.raises(ValueError, match="'exemplar_person_column' belong"):
        replace(MEMORY, exemplar_person_column="who")
