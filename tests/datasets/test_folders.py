"""Folders that are not laid out as expected say so, and label maps are not learned as photos."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf.conditions import EdgeCondition, MaskCondition, PoseCondition
from cocosnet_hf.datasets import DataSettings, TrainingExamples, open_source
from cocosnet_hf.datasets.folders import label_maps_in

pytest.importorskip("datasets")

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8))
LABELS = Image.fromarray(np.random.default_rng(0).integers(0, 3, (40, 40)).astype(np.uint8))
PARTS = MaskCondition.from_names(["a", "b", "c"])


def lay_out(folder: Path, *names: str, count: int = 4) -> None:
    """Pictures at these places, {} for their number: .jpg photos, label maps as .png."""
    for name in names:
        for number in range(count):
            path = folder / name.format(f"{number:02d}")
            path.parent.mkdir(parents=True, exist_ok=True)
            (LABELS if path.suffix == ".png" else PHOTO).save(path)


def settings(folder: Path, cache: str, **changed: object) -> DataSettings:
    plain = DataSettings(source=str(folder), image_size=32, load_size=36, cache_dir=cache)
    return replace(plain, **changed)


LAYOUTS = {
    "masks": ("images/{}.jpg", "masks/{}.png"),
    "labels": ("images/{}.jpg", "labels/{}.png"),
    "VOC": ("JPEGImages/{}.jpg", "SegmentationClass/{}.png", "SegmentationObject/{}.png"),
    "annotations": ("photos/{}.jpg", "annotations/{}.png"),
    "ground truth": ("img/{}.jpg", "ground_truth/{}.png"),
    "beneath the photos": ("{}.jpg", "masks/{}.png"),
    "in the split": ("train/images/{}.jpg", "train/masks/{}.png"),
    "split in the kind": ("images/train/{}.jpg", "masks/train/{}.png"),
    "names that say nothing": ("A/{}.jpg", "B/{}.png"),
    "side by side": ("{}.jpg", "{}_mask.png"),
    "side by side, of one name": ("{}.jpg", "{}.png"),
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", LAYOUTS)
def test_edges_are_not_learned_from_the_label_maps_beside_photos(
    name: str, streaming: bool, tmp_path: Path, cache: str, caplog: pytest.LogCaptureFixture
):
    lay_out(tmp_path, *LAYOUTS[name])
    rows = open_source(settings(tmp_path, cache, streaming=streaming), EdgeCondition())
    paths = [row["image"]["path"] for row in rows]
    assert len(paths) == 4 and all(path.endswith(".jpg") for path in paths)
    assert "taken for label maps beside the photos and left out" in caplog.text
    assert "metadata.jsonl" in caplog.text


@pytest.mark.parametrize(
    "layout",
    [
        ("cats/{}.jpg", "dogs/{}.jpg"),
        ("train/{}.jpg", "validation/{}.jpg"),
        ("{}.jpg",),
        ("masks/{}.jpg",),
        ("{}_mask.jpg",),
        ("grey/{}.png",),
        ("masked_ball/{}.jpg", "garden/{}.jpg"),
    ],
    ids=" ".join,
)
def test_photos_alone_are_all_photos(layout: tuple[str, ...], tmp_path: Path):
    lay_out(tmp_path, *layout)
    assert label_maps_in(tmp_path) == set()


@pytest.mark.parametrize("name", ["masks", "labels", "VOC", "names that say nothing"])
def test_masks_beside_photos_need_metadata_and_the_error_says_so(
    name: str, tmp_path: Path, cache: str
):
    lay_out(tmp_path, *LAYOUTS[name])
    with pytest.raises(
        ValueError, match="no metadata.jsonl.*names of its folders.*label_file_name"
    ):
        open_source(settings(tmp_path, cache, condition_column="label"), PARTS)
    with pytest.raises(ValueError, match="needs 'condition_column'.*metadata.jsonl"):
        open_source(settings(tmp_path, cache), PARTS)


def test_the_metadata_that_the_error_asks_for_are_read(tmp_path: Path, cache: str):
    lay_out(tmp_path, *LAYOUTS["masks"])
    lines = [
        json.dumps({"file_name": f"images/{i:02d}.jpg", "label_file_name": f"masks/{i:02d}.png"})
        for i in range(4)
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    data = settings(tmp_path, cache, condition_column="label")
    examples = TrainingExamples(open_source(data, PARTS), PARTS, data)
    assert len(examples) == 4 and examples[0]["condition_labels"].shape == (32, 32)


@pytest.mark.parametrize(
    "name", ["metadata1000.jsonl", "Metadata.jsonl", "metadata.json", "train.csv", "meta.parquet"]
)
def test_a_table_of_another_name_is_named(name: str, tmp_path: Path, cache: str):
    lay_out(tmp_path, "{}.jpg")
    (tmp_path / name).write_text('{"file_name": "00.jpg"}\n')
    if name.endswith("parquet"):
        name = "meta.tsv"
        (tmp_path / "meta.parquet").rename(tmp_path / name)
    with pytest.raises(ValueError, match=f"metadata.jsonl.*'{name}' is not read"):
        open_source(settings(tmp_path, cache, condition_column="keypoints"), PoseCondition())


def test_notes_of_label_maps_are_said_of_the_first_file_only(
    tmp_path: Path, cache: str, caplog: pytest.LogCaptureFixture
):
    lay_out(tmp_path, "images/{}.jpg", count=3)
    (tmp_path / "masks").mkdir()
    lines = []
    for number in range(3):
        Image.merge("RGB", [LABELS] * 3).save(tmp_path / f"masks/{number:02d}.png")
        row = {
            "file_name": f"images/{number:02d}.jpg",
            "label_file_name": f"masks/{number:02d}.png",
        }
        lines.append(json.dumps(row))
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    data = settings(tmp_path, cache, condition_column="label", augment=False, image_size=36)
    examples = TrainingExamples(open_source(data, PARTS), PARTS, data)
    caplog.set_level(logging.WARNING, "cocosnet_hf")
    found = [examples[index]["condition_labels"] for index in range(3)]
    expected = np.asarray(LABELS.resize((36, 36), Image.Resampling.NEAREST))
    assert all(np.array_equal(labels, expected) for labels in found)
    assert caplog.text.count("class numbers from 0 to 2, which were read") == 1


LINES = {
    "empty": (b"", "is empty; write a line for each picture"),
    "blank lines": (b"\n\n", "is empty; write a line for each picture"),
    "null": (b"null\n", "cannot be read: line 1 is no JSON"),
    "a list": (b'\n["01.jpg"]\n', "cannot be read: line 2 is no JSON"),
    "cut off": (b'{"file_name": "00.jpg"}\n{"file_na', "cannot be read: line 2 is no JSON"),
    "no UTF-8": (b'{"file_name": "\xff.jpg"}\n', "cannot be read: line 1 is no JSON"),
    "two types": (
        b'{"file_name": "00.jpg", "a": 1}\n{"file_name": "01.jpg", "a": [1]}\n',
        "cannot be read",
    ),
}


@pytest.mark.parametrize("name", LINES)
def test_metadata_that_hold_no_rows_are_refused_by_file_and_line(
    name: str, tmp_path: Path, cache: str
):
    content, message = LINES[name]
    lay_out(tmp_path, "{}.jpg")
    (tmp_path / "metadata.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        open_source(settings(tmp_path, cache), EdgeCondition())


@pytest.mark.parametrize("source", ["", "  "])
def test_an_empty_source_is_not_the_current_folder(source: str, tmp_path: Path, cache: str):
    with pytest.raises(ValueError, match="data.source is empty, which would mean the current fold"):
        open_source(replace(settings(tmp_path, cache), source=source), EdgeCondition())
