"""Each common layout is prepared by one command and trains from another, as it lies on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from cocosnet_hf.conditions import MaskCondition
from cocosnet_hf.prepare import main as prepare_command
from cocosnet_hf.preparing import recognised
from tests.support.layouts import FACE, LAYOUTS, images_and_masks, label_map, photo
from train.train import main as train_command

pytest.importorskip("datasets")

TWO_STEPS = [
    *("--schedule.constant=1", "--schedule.decay=1", "--data.batch_size=2", "--data.workers=0"),
    *("--output.validate_every=0", "--output.grid_every=0"),
]


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A layout by name, laid out and prepared by the command: its output folder."""
    monkeypatch.chdir(tmp_path)

    def made(layout: str, *options: str) -> Path:
        root = tmp_path / "data"
        root.mkdir()
        LAYOUTS[layout](root)
        prepare_command(["data", "-o", "out", *options])
        return tmp_path / "out"

    return made


def recipe(output: Path) -> dict[str, Any]:
    return yaml.safe_load((output / "recipe.yaml").read_text())


def rows(output: Path, split: str = "train") -> list[dict[str, Any]]:
    lines = (output / split / "metadata.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


EXPECTED = {
    "photos alone": ("photos alone: 5 train, 1 validation", "edge"),
    "images and masks": ("photos with label maps: 5 train, 1 validation", "mask"),
    "images and gtFine": ("photos with label maps: 4 train, 2 validation", "mask"),
    "Cityscapes": ("Cityscapes: 4 train, 2 validation", "mask"),
    "ADE20K": ("ADE20K: 4 train, 2 validation", "mask"),
    "COCO-Stuff": ("COCO-Stuff: 4 train, 2 validation", "mask"),
    "CelebAMask-HQ": ("CelebAMask-HQ: 5 train, 1 validation", "mask"),
    "DeepFashion, OpenPose": ("DeepFashion with keypoints: 5 train, 1 validation", "pose"),
    "DeepFashion, COCO": ("DeepFashion with keypoints: 5 train, 1 validation", "pose"),
    "VITON": ("VITON: 4 train, 2 validation", "pose"),
}


STAGED = ("photos alone", "images and masks", "VITON")
"""Layouts of which every stage of the recipe is run; of the others the first is."""

QUICK = ("CelebAMask-HQ", "DeepFashion, COCO")
"""Of these, those that are trained before the slow suite: they cost a second each."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_told(layout: str, prepared, capsys: pytest.CaptureFixture[str]):
    output = prepared(layout)
    said = capsys.readouterr().out
    found, kind = EXPECTED[layout]
    assert f"found {found}; to paint from: {kind}" in said
    assert "0 cannot be used" in said and "python -m train --config out/recipe.yaml" in said
    with Image.open(output / "pairs.png") as sheet:
        assert sheet.width > 4 * 32


@pytest.mark.usefixtures("fresh_process")
@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(layout, marks=[pytest.mark.slow] * (layout not in QUICK))
        for layout in LAYOUTS
        if layout not in STAGED
    ],
)
def test_a_layout_trains_two_steps(layout: str, prepared):
    prepared(layout)
    train_command(["--config", "out/recipe.yaml", "--stage", "matching", *TWO_STEPS])
    assert Path("out/data/matching/pipeline/model_index.json").is_file()


@pytest.mark.parametrize("masks", ["labels", "annotations", "gtFine", "SegmentationClass"])
def test_label_maps_are_known_by_the_name_of_their_folder(masks: str, tmp_path: Path):
    images_and_masks(tmp_path, masks)
    found = recognised(tmp_path)
    assert found.layout == "photos with label maps" and len(found.items) == 6
    assert {item.label.parent.name for item in found.items if item.label} == {masks}


def test_label_maps_beside_their_photos_are_known_by_their_ending(tmp_path: Path):
    for number in range(3):
        photo(tmp_path / f"{number}.jpg", seed=number)
        label_map(tmp_path / f"{number}_mask.png", [0, 1])
    pairs = {
        (item.photo.name, item.label.name) for item in recognised(tmp_path).items if item.label
    }
    assert pairs == {(f"{number}.jpg", f"{number}_mask.png") for number in range(3)}


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_process")
@pytest.mark.parametrize("layout", STAGED)
def test_every_stage_of_a_written_recipe_runs(layout: str, prepared):
    prepared(layout)
    train_command(["--config", "out/recipe.yaml", *TWO_STEPS])
    for folder in ("data/matching", "data"):
        assert Path("out", folder, "pipeline/model_index.json").is_file()


def test_names_and_void_values_are_those_of_the_folder(prepared):
    output = prepared("images and masks")
    condition = recipe(output)["networks"]["condition"]
    assert condition["classes"] == ["ground", "house", "tree", "unlabeled"]
    assert condition["values"] == {255: 3}


def test_published_classes_have_their_names_and_colours(prepared):
    condition = recipe(prepared("Cityscapes"))["networks"]["condition"]
    assert len(condition["classes"]) == 34 and condition["values"] == {255: 0}
    assert condition["classes"][7] == "road" and condition["colors"][7] == "#804080"
    assert condition["classes"][26] == "car" and condition["colors"][26] == "#00008e"


def test_coco_stuffs_values_are_named_from_person_to_wood(prepared):
    condition = recipe(prepared("COCO-Stuff"))["networks"]["condition"]
    assert len(condition["classes"]) == 183 and condition["values"] == {255: 182}
    named = [condition["classes"][value] for value in (0, 90, 91, 105, 181, 182)]
    assert named == ["person", "hair brush", "banner", "clouds", "wood", "unlabeled"]


def test_ade20ks_values_are_named_from_wall_to_flag(prepared):
    condition = recipe(prepared("ADE20K"))["networks"]["condition"]
    named = [condition["classes"][value] for value in (0, 1, 3, 150)]
    assert named == ["unknown", "wall", "sky", "flag"] and condition["unknown"] == 0


def test_parts_of_faces_are_merged_by_name(prepared):
    output = prepared("CelebAMask-HQ")
    condition = MaskCondition.celebahq()
    path = output / "train" / rows(output)[0]["label_file_name"]
    with Image.open(path) as picture:
        labels = np.asarray(picture)
    assert condition.classes[labels[42, 40]] == "nose"
    assert condition.classes[labels[5, 40]] == "hair"
    assert condition.classes[labels[79, 40]] == "cloth"  # painted over the neck
    assert condition.classes[labels[29, 40]] == "glasses"
    assert condition.classes[labels[33, 25]] == "l_eye"  # painted over the glasses
    assert set(FACE) - {"eye_g"} <= {condition.classes[label] for label in np.unique(labels)}
    given = recipe(output)["networks"]["condition"]
    assert tuple(given["classes"]) == condition.classes and given["overlay"] == 16


def test_photos_are_listed_where_they_lie(prepared):
    output = prepared("images and gtFine")
    first = rows(output, "validation")[0]
    assert first["file_name"] == "../../data/images/val/a_0.png"
    assert first["label_file_name"] == "../../data/gtFine/val/a_0_gtFine_labelIds.png"


def test_parsed_people_teach_the_matching_of_poses(prepared):
    data = recipe(prepared("VITON"))["data"]
    assert data["condition_column"] == "keypoints" and data["labels_column"] == "label"
    assert data["label_classes"] == 20 and [14, 15] in data["label_sides"]


def test_edges_are_painted_from_where_that_is_asked_for(
    prepared, capsys: pytest.CaptureFixture[str]
):
    output = prepared("images and masks", "--condition", "edge")
    assert "to paint from: edge" in capsys.readouterr().out
    settings = recipe(output)
    assert settings["networks"]["condition"] == {"type": "edge"}
    assert settings["networks"]["init_from"] == "edge-to-face"
    assert settings["data"]["labels_column"] == "label"
    assert settings["data"]["label_groups"] == [[0], [1], [2], [3, 255]]


def test_the_data_set_for_the_hub_holds_the_pictures(prepared):
    from cocosnet_hf.preparing import hub_data_set

    output = prepared("VITON")
    splits = hub_data_set(output)
    assert {name: len(split) for name, split in splits.items()} == {"train": 4, "validation": 2}
    first = splits["train"][0]
    assert first["image"].size == (80, 80) and np.unique(first["label"]).tolist() == [
        *(0, 2, 5, 13, 14)
    ]
    assert "pose_keypoints_2d" in first["keypoints"]
