"""The drawn data set."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cocosnet_hf.conditions.joints import JOINTS
from cocosnet_hf.synthetic import KINDS, SyntheticExamples, write_imagefolder
from tests.support.pictures import whole_picture


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(float)


def class_colors(photo: Image.Image, labels: Image.Image) -> dict[int, np.ndarray]:
    """Mean colour of every class that has at least 12 pixels."""
    values, classes = pixels(photo), np.asarray(labels)
    return {
        int(label): values[classes == label].mean(0)
        for label in np.unique(classes)
        if (classes == label).sum() >= 12
    }


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_is_the_same_on_every_call_and_another_under_another_seed(kind: str):
    first, again = SyntheticExamples(kind)[3], SyntheticExamples(kind)[3]
    for key in ("image", "labels", "exemplar", "exemplar_labels"):
        np.testing.assert_array_equal(np.asarray(first[key]), np.asarray(again[key]))
    other = SyntheticExamples(kind, seed=1)[3]
    assert (pixels(first["image"]) != pixels(other["image"])).mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [32, 65])
def test_the_condition_reads_every_example_at_any_size(kind: str, size: int):
    examples = SyntheticExamples(kind, size)
    assert set(examples[0]) == set(examples.column_names)
    for index in range(5):
        example = examples[index]
        assert example["image"].size == example["labels"].size == (size, size)
        encoded = examples.condition.encode(example["condition"], size, size)
        assert encoded.shape == (examples.condition.channels, size, size)


@pytest.mark.parametrize("kind", ["mask", "pose"])
def test_layout_and_look_are_independent(kind: str):
    examples = SyntheticExamples(kind)
    photo, condition, labels = examples.draw(layout=5, look=1)
    repainted, same_condition, same_labels = examples.draw(layout=5, look=2)
    assert np.abs(pixels(photo) - pixels(repainted)).mean() > 10
    if kind == "mask":
        np.testing.assert_array_equal(np.asarray(labels), np.asarray(same_labels))
    else:
        np.testing.assert_array_equal(condition.joints, same_condition.joints)


@pytest.mark.parametrize("kind", ["mask", "pose"])
def test_the_exemplar_tells_the_regions_colors_and_another_examples_does_not(kind: str):
    examples = SyntheticExamples(kind)
    own, foreign = [], []
    for index in range(12):
        wanted = class_colors(examples[index]["image"], examples[index]["labels"])
        for distances, source in ((own, index), (foreign, index + 1)):
            offered = class_colors(
                examples[source]["exemplar"], examples[source]["exemplar_labels"]
            )
            shared = wanted.keys() & offered.keys()
            distances += [np.abs(wanted[c] - offered[c]).mean() for c in shared]
    assert np.mean(own) < 10
    assert np.mean(foreign) > 4 * np.mean(own)


@pytest.mark.parametrize("kind", ["mask", "pose"])
def test_all_classes_appear_and_layouts_differ(kind: str):
    examples = SyntheticExamples(kind, 32)
    maps = [np.asarray(examples[index]["labels"]) for index in range(30)]
    assert np.unique(maps).tolist() == list(range(len(examples.classes)))
    differences = [(a != b).mean() for a, b in itertools.combinations(maps, 2)]
    assert min(differences) > 0.02


def test_joints_lie_on_the_drawn_person_right_ones_on_the_pictures_left():
    examples = SyntheticExamples("pose", 128)
    for index in range(20):
        example = examples[index]
        joints, labels = example["condition"].joints, np.asarray(example["labels"])
        place = dict(zip(JOINTS, joints[:, :2].round().astype(int), strict=True))
        person = [examples.classes[labels[y, x]] for x, y in place.values()]
        assert not {"background", "floor"} & set(person)
        assert place["r_shoulder"][0] < place["l_shoulder"][0]
        assert examples.classes[labels[place["nose"][1], place["nose"][0]]] in ("skin", "face")


def test_there_is_no_last_example_and_sets_from_another_start_are_disjoint():
    examples = SyntheticExamples(length=3)
    assert len(examples) == 3
    assert examples[10**7]["id"] == "mask-0-10000000"
    assert SyntheticExamples(first=50)[0]["id"] == examples[50]["id"]


def test_pictures_are_written_as_a_folder_with_metadata(tmp_path: Path):
    folder = write_imagefolder(SyntheticExamples("pose", 48, length=2), tmp_path)
    assert folder == tmp_path / "train"
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    for row in rows:
        assert np.asarray(row["keypoints"]).shape == (18, 3)
        assert np.asarray(row["keypoints"])[:, :2].max() < 48
        for column in ("file_name", "label_file_name", "exemplar_file_name"):
            assert whole_picture(folder / row[column]).size == (48, 48)
        assert whole_picture(folder / row["label_file_name"]).mode == "P"
    with pytest.raises(FileExistsError):
        write_imagefolder(SyntheticExamples("pose", 48, length=2), tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "sketch"}, "'kind' must be one of"),
        ({"image_size": 8}, "image_size >= 16"),
        ({"length": 0}, "length >= 1"),
    ],
)
def test_unusable_settings_are_refused(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        SyntheticExamples(**settings)
    with pytest.raises(IndexError, match="numbered from 0"):
        SyntheticExamples()[-1]
