"""Metadata of folders point anywhere, and say where they are wrong."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf.conditions import EdgeCondition, MaskCondition, PoseCondition
from cocosnet_hf.datasets import DataSettings, TrainingExamples, open_source

pytest.importorskip("datasets")

PARTS = MaskCondition.from_names(["a", "b", "c"])
SIDE = 40


def photo(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(name))
    Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(path)
    return path


def mask(folder: Path, name: str, label: int) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (SIDE, SIDE), label).save(path)
    return path


def write(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")


def labels(source: Path, cache: str, **changed: Any) -> list[int]:
    """The first label of every example's mask."""
    settings = DataSettings(
        source=str(source), condition_column="label", image_size=32, load_size=32, cache_dir=cache
    )
    settings = replace(settings, augment=False, **changed)
    examples = TrainingExamples(open_source(settings, PARTS), PARTS, settings)
    return [int(examples[index]["condition_labels"][0, 0]) for index in range(len(examples))]


@pytest.mark.parametrize("absolute", [False, True])
def test_paths_go_up_or_are_absolute(tmp_path: Path, cache: str, absolute: bool):
    where = [photo(tmp_path, "photos/0.jpg"), photo(tmp_path, "photos/1.jpg")]
    what = [mask(tmp_path, "elsewhere/0.png", 1), mask(tmp_path, "elsewhere/1.png", 2)]

    def named(path: Path) -> str:
        return str(path) if absolute else f"../../{path.relative_to(tmp_path)}"

    rows = [
        {"file_name": named(one), "label_file_name": named(other)}
        for one, other in zip(where, what, strict=True)
    ]
    write(tmp_path / "listed/train/metadata.jsonl", *rows)
    assert labels(tmp_path / "listed", cache) == [1, 2]
    assert labels(tmp_path / "listed", cache, split="train[50%:]") == [2]


def test_metadata_above_the_folders_of_the_splits_are_read_by_these(tmp_path: Path, cache: str):
    rows = []
    for split, label in (("training", 1), ("val", 2)):
        photo(tmp_path, f"images/{split}/0.jpg")
        mask(tmp_path, f"masks/{split}/0.png", label)
        names = {"file_name": f"images/{split}/0.jpg", "label_file_name": f"masks/{split}/0.png"}
        rows.append(names)
    write(tmp_path / "metadata.jsonl", *rows)
    assert labels(tmp_path, cache) == [1]
    assert labels(tmp_path, cache, split="validation") == [2]
    assert labels(tmp_path, cache, split="train+validation") == [1, 2]


@pytest.mark.parametrize("place", ["train/", ""])
def test_a_plain_column_is_a_path_in_the_data_folder(tmp_path: Path, cache: str, place: str):
    photo(tmp_path, f"{place}images/0.jpg")
    mask(tmp_path, f"{place}masks/0.png", 2)
    row = {"file_name": "images/0.jpg", "label": "masks/0.png"}
    write(tmp_path / f"{place}metadata.jsonl", row)
    assert labels(tmp_path, cache) == [2]


def test_a_csv_and_a_stream_point_anywhere_too(tmp_path: Path, cache: str):
    photo(tmp_path, "photos/0.jpg")
    mask(tmp_path, "elsewhere/0.png", 1)
    table = tmp_path / "listed/train/metadata.csv"
    table.parent.mkdir(parents=True)
    table.write_text(
        "file_name,label_file_name\n../../photos/0.jpg,../../elsewhere/0.png\n", encoding="utf-8"
    )
    assert labels(tmp_path / "listed", cache) == [1]
    settings = DataSettings(source=str(tmp_path / "listed"), streaming=True, cache_dir=cache)
    (row,) = open_source(settings, EdgeCondition())
    assert row["image"]["path"].endswith("photos/0.jpg") and row["image"]["bytes"] is None


@pytest.mark.parametrize("column", ["keypoints", "keypoints_file_name"])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_column_names_files_of_keypoints(tmp_path: Path, cache: str, column: str, absolute: bool):
    photo(tmp_path, "train/0.jpg")
    joints = [[4 + 2 * place, 6 + place, 0.9] for place in range(18)]
    content = {"people": [{"pose_keypoints_2d": [number for row in joints for number in row]}]}
    path = tmp_path / "train/poses/0.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    named = str(path) if absolute else "poses/0.json"
    write(tmp_path / "train/metadata.jsonl", {"file_name": "0.jpg", column: named})
    settings = DataSettings(
        source=str(tmp_path), condition_column="keypoints", image_size=32, load_size=32
    )
    settings = replace(settings, cache_dir=cache)
    pose = PoseCondition()
    examples = TrainingExamples(open_source(settings, pose), pose, settings)
    assert examples[0]["condition"].shape == (20, 32, 32)


def test_flat_keypoints_in_a_row_are_read(tmp_path: Path):
    photo(tmp_path, "train/0.jpg")
    flat = [float(number) for place in range(18) for number in (4 + 2 * place, 6 + place, 0.9)]
    write(tmp_path / "train/metadata.jsonl", {"file_name": "0.jpg", "keypoints": flat})
    settings = DataSettings(
        source=str(tmp_path), condition_column="keypoints", image_size=32, load_size=32
    )
    pose = PoseCondition()
    examples = TrainingExamples(open_source(settings, pose), pose, settings)
    assert examples[0]["condition"].shape == (20, 32, 32)


def test_the_same_files_are_the_same_data_and_changed_ones_are_not(tmp_path: Path):
    photo(tmp_path, "0.jpg")
    path = mask(tmp_path, "0.png", 1)
    write(tmp_path / "metadata.jsonl", {"file_name": "0.jpg", "label_file_name": "0.png"})
    settings = DataSettings(source=str(tmp_path), condition_column="label")
    first, again = (open_source(settings, PARTS)._fingerprint for _ in range(2))
    os.utime(path, ns=(1, 1))
    assert first == again != open_source(settings, PARTS)._fingerprint


def test_a_bad_line_is_named_with_its_file(tmp_path: Path):
    photo(tmp_path, "0.jpg")
    path = tmp_path / "metadata.jsonl"
    path.write_text('{"file_name": "0.jpg"}\n{"file_name": 0.jpg"}\n')
    settings = DataSettings(source=str(tmp_path))
    with pytest.raises(ValueError, match=r"metadata\.jsonl' cannot be read: line 2 is no JSON"):
        open_source(settings, EdgeCondition())
    write(path, {"photo": "0.jpg"})
    with pytest.raises(ValueError, match=r"columns \['photo'\] and no 'file_name'"):
        open_source(settings, EdgeCondition())


def test_pictures_beside_an_archive_are_not_guessed_about(tmp_path: Path):
    photo(tmp_path, "0.jpg")
    (tmp_path / "left-over.tar").write_bytes(b"")
    with pytest.raises(ValueError, match=r"0\.jpg', and left-over\.tar.*folder of its own"):
        open_source(DataSettings(source=str(tmp_path)), EdgeCondition())
    write(tmp_path / "metadata.jsonl", {"file_name": "0.jpg"})
    assert len(open_source(DataSettings(source=str(tmp_path)), EdgeCondition())) == 1
