"""The pairs of item and exemplar that are evaluated."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf import EdgeCondition, PoseCondition
from cocosnet_hf.datasets import DataSettings
from cocosnet_hf.evaluation import EvaluationPairs
from cocosnet_hf.synthetic import SCENE_CLASSES
from tests.support.evaluating import DRAWN, SCENE, SIDE, photo
from tests.support.keypoints import SIZE, STANDING, openpose

pytest.importorskip("datasets")
pytestmark = pytest.mark.usefixtures("fresh_process")


def test_pairs_hold_photos_conditions_and_labels_of_item_and_exemplar():
    pairs = EvaluationPairs(DRAWN, SCENE, exemplars="column", limit=3)
    assert len(pairs) == 3
    row, pair = pairs.rows[2], pairs[2]
    assert (pair.index, pair.target.name) == (2, row["id"])
    for sample, name in ((pair.target, "image"), (pair.exemplar, "exemplar")):
        assert torch.equal(sample.photo, photo(row[name]))
        source = row[{"image": "condition", "exemplar": "exemplar_condition"}[name]]
        assert torch.equal(sample.condition, SCENE.encode(source, SIDE, SIDE))
        assert torch.equal(sample.labels, torch.from_numpy(np.array(source)).long())
    with pytest.raises(IndexError):
        pairs[3]


def test_labels_beside_edges_and_poses_are_read_as_they_are():
    settings = dataclasses.replace(
        DRAWN,
        condition_column=None,
        exemplar_condition_column=None,
        labels_column="labels",
        label_classes=len(SCENE_CLASSES),
        exemplar_labels_column="exemplar_labels",
    )
    pairs = EvaluationPairs(settings, EdgeCondition(), exemplars="column", limit=1)
    labels = torch.from_numpy(np.array(pairs.rows[0]["labels"])).long()
    assert torch.equal(pairs[0].target.labels, labels)
    assert pairs[0].target.condition.shape == (2, SIDE, SIDE)
    pairs = EvaluationPairs(DRAWN, PoseCondition(), exemplars="column", limit=1)
    expected = pairs.rows[0]["condition"]
    np.testing.assert_allclose(pairs[0].target.pose.joints, expected.joints)
    assert pairs[0].target.labels is None


def test_the_first_retrieved_training_photo_is_the_exemplar(saved: DataSettings):
    pairs = EvaluationPairs(saved, SCENE, exemplars="retrieval")
    masks = [SCENE.encode(row["label"]["path"], SIDE, SIDE) for row in pairs.pool]
    for index in range(len(pairs)):
        pair = pairs[index]
        assert pair.exemplar.name == pairs.nearest(index).name
        found = [row["id"] for row in pairs.pool].index(pair.exemplar.name)
        # What it lies on agrees with the mask better than most of the others do.
        overlap = [(mask * pair.target.condition).sum() for mask in masks]
        assert sorted(overlap, reverse=True).index(overlap[found]) < 3


def test_exemplars_of_the_tested_split_are_never_the_item_itself(saved: DataSettings):
    for exemplars in ("retrieval", "random"):
        pairs = EvaluationPairs(saved, SCENE, exemplars=exemplars, train_split="test")
        for pair in pairs:
            assert pair.exemplar.name != pair.target.name


def test_random_exemplars_depend_on_the_seed_and_not_on_the_limit(saved: DataSettings):
    drawn = {
        (seed, limit): [
            pair.exemplar.name
            for pair in EvaluationPairs(saved, SCENE, exemplars="random", seed=seed, limit=limit)
        ]
        for seed in (0, 1)
        for limit in (2, None)
    }
    assert drawn[0, 2] == drawn[0, None][:2]
    assert drawn[0, None] != drawn[1, None]


def test_a_smaller_pool_gives_exemplars_of_its_first_photos_only(saved: DataSettings):
    pairs = EvaluationPairs(saved, SCENE, exemplars="retrieval", pool_limit=1)
    first = pairs.pool[0]["id"]
    assert {pair.exemplar.name for pair in pairs} == {first}


def test_a_list_file_names_the_exemplars(saved: DataSettings, tmp_path: Path):
    reference = EvaluationPairs(saved, SCENE, exemplars="random")
    items = [row["id"] for row in reference.rows]
    photos = [row["id"] for row in reference.pool]
    lines = [f"images/{item}.png, {photos[2]}" for item in items]
    path = tmp_path / "list.txt"
    path.write_text("\n".join(lines))
    pairs = EvaluationPairs(saved, SCENE, exemplars=str(path), limit=2)
    assert [pair.exemplar.name for pair in pairs] == [photos[2]] * 2
    path.write_text("\n".join(lines[1:]))
    with pytest.raises(ValueError, match=f"no exemplar for 1 of 4 items, such as '{items[0]}'"):
        EvaluationPairs(saved, SCENE, exemplars=str(path))
    path.write_text(f"{items[0]}, nobody")
    with pytest.raises(ValueError, match="'nobody' names no example"):
        EvaluationPairs(saved, SCENE, exemplars=str(path))
    with pytest.raises(ValueError, match="There is no exemplar list 'nowhere.txt'"):
        EvaluationPairs(saved, SCENE, exemplars="nowhere.txt")


def test_pairs_that_cannot_be_made_are_refused(saved: DataSettings):
    with pytest.raises(ValueError, match="need 'exemplar_column'"):
        plain = dataclasses.replace(saved, exemplar_column=None, exemplar_condition_column=None)
        EvaluationPairs(plain, SCENE, exemplars="column")
    with pytest.raises(ValueError, match="'limit' must be at least 1, got 0"):
        EvaluationPairs(saved, SCENE, limit=0)
    with pytest.raises(ValueError, match=r"'train\[2:\]' and 'train' share photos.*own exemplars"):
        EvaluationPairs(dataclasses.replace(saved, split="train[2:]"), SCENE)
    with pytest.raises(ValueError, match="holds no other photo"):
        EvaluationPairs(saved, SCENE, exemplars="random", train_split="test", pool_limit=1)


def test_a_label_map_of_colours_is_refused():
    settings = dataclasses.replace(
        DRAWN,
        condition_column=None,
        exemplar_condition_column=None,
        labels_column="image",
        label_classes=2,
        exemplar_labels_column="exemplar",
    )
    pairs = EvaluationPairs(settings, EdgeCondition(), exemplars="column", limit=1)
    with pytest.raises(ValueError, match=r"one plane of class numbers.*got \(3, 32, 32\)"):
        pairs[0]


def test_a_label_of_no_class_is_refused(tmp_path: Path):
    folder = tmp_path / "train"
    folder.mkdir()
    for index, value in enumerate((1, 255)):
        Image.new("L", (SIDE, SIDE), value).save(folder / f"{index}_label.png")
        Image.new("RGB", (SIDE, SIDE), "red").save(folder / f"{index}.png")
    rows = [
        {"file_name": f"{index}.png", "label_file_name": f"{index}_label.png"} for index in (0, 1)
    ]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = DataSettings(
        source=str(tmp_path),
        labels_column="label",
        label_classes=2,
        image_size=SIDE,
        load_size=SIDE,
        augment=False,
        cache_dir=str(tmp_path / "cache"),
    )
    pairs = EvaluationPairs(settings, EdgeCondition(), exemplars="random", train_split="train")
    with pytest.raises(ValueError, match=r"label map of .*classes 0..1, got .*from 255 to 255"):
        [pairs[index] for index in range(2)]


def test_a_broken_or_missing_exemplar_stops_the_evaluation(folder: Path, tmp_path: Path):
    root = tmp_path / "set"
    shutil.copytree(folder / "test", root / "test")
    metadata = root / "test" / "metadata.jsonl"
    rows = [json.loads(line) for line in metadata.read_text().splitlines()]
    rows[0]["exemplar_file_name"] = rows[0]["exemplar_label_file_name"] = None
    metadata.write_text("\n".join(map(json.dumps, rows)))
    (root / "test" / rows[1]["file_name"]).write_bytes(b"no picture")
    settings = dataclasses.replace(
        DRAWN,
        source=str(root),
        condition_column="label",
        exemplar_condition_column="exemplar_label",
        cache_dir=str(tmp_path / "cache"),
    )
    pairs = EvaluationPairs(settings, SCENE, exemplars="column")
    with pytest.raises(ValueError, match=f"'{rows[0]['id']}' has no exemplar in 'exemplar'"):
        pairs[0]
    with pytest.raises(ValueError, match=f"needs every item: .*{rows[1]['id']}"):
        pairs[1]
    assert pairs[2].target.name == rows[2]["id"]


@pytest.mark.filterwarnings("ignore:.* is taken")
def test_items_are_of_the_person_that_a_column_names(tmp_path: Path):
    scrap = STANDING * (np.arange(18) < 2)[:, None]
    folder = tmp_path / "test"
    folder.mkdir()
    lines = []
    for number, person in enumerate((0, 1, None)):
        Image.new("RGB", (SIZE[1], SIZE[0])).save(folder / f"{number}.png")
        row = {"file_name": f"{number}.png", "who": person, "pose": openpose(scrap, STANDING)}
        lines.append(json.dumps(row))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    settings = DataSettings(
        source=str(tmp_path),
        split="test",
        condition_column="pose",
        person_column="who",
        image_size=SIDE,
        load_size=SIDE,
        cache_dir=str(tmp_path / "cache"),
    )
    pairs = EvaluationPairs(settings, PoseCondition(), exemplars="random", train_split="test")
    counts = [int((pairs[place].target.pose.joints[:, 2] > 0).sum()) for place in range(3)]
    assert counts == [2, 18, 18]
