"""Two domains of pictures as training examples: from two folders, or from one with a column."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf import PictureCondition
from cocosnet_hf.datasets import DataSettings, TrainingExamples, open_training_data
from cocosnet_hf.datasets.options import recipe_data
from cocosnet_hf.evaluation import EvaluationPairs

COUNTS = {"day": 3, "night": 5}
BOTH = {"image_size": 8, "load_size": 8, "augment": False, "condition_column": "condition"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Days in bright grey, three and wide; nights in dark grey, five and square."""
    for base, (name, count) in zip((200, 20), COUNTS.items(), strict=True):
        (tmp_path / name).mkdir()
        for number in range(count):
            pixels = np.full((12, 24 if name == "day" else 12, 3), base + number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return tmp_path


def opened(**settings: object) -> TrainingExamples:
    examples = open_training_data(DataSettings(**BOTH | settings), PictureCondition())
    assert isinstance(examples, TrainingExamples)
    return examples


def greys(examples: TrainingExamples, name: str) -> list[int]:
    low = 127.5 * (name != "condition")
    scale = 127.5 if low else 255
    return [round(float(examples[i][name].mean()) * scale + low) for i in range(len(examples))]


def test_two_folders_and_one_of_two_are_the_same_examples(folder: Path):
    two = opened(source=f"{folder}/night", condition_source=f"{folder}/day")
    one = opened(source=str(folder), domain_column="label", condition_domain="day")
    for examples in (two, one):
        assert greys(examples, "image") == greys(examples, "exemplar") == [20, 21, 22, 23, 24]
        assert greys(examples, "condition") == [200, 201, 202, 200, 201]


def test_the_other_way_round_the_photos_are_repeated(folder: Path):
    examples = opened(source=str(folder), domain_column="label", condition_domain="night")
    assert greys(examples, "image") == [200, 201, 202, 200, 201]
    assert greys(examples, "condition") == [20, 21, 22, 23, 24]


def test_a_picture_of_another_shape_than_the_photo_gives_its_middle():
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 255
    condition = PictureCondition()
    source = condition.from_row(Image.fromarray(wide), Image.new("RGB", (16, 16)), "row")
    assert source.size == (8, 8) and condition.encode(source, 8, 8).min() == 1
    same = condition.from_row(Image.fromarray(wide), Image.new("RGB", (48, 16)), "row")
    assert same.size == (8, 24)


def test_a_picture_is_encoded_as_it_is_and_previewed_so():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    encoded = PictureCondition().encode(Image.fromarray(pixels), 8, 12)
    assert torch.equal((encoded * 255).round().byte().movedim(0, -1), torch.from_numpy(pixels))
    assert np.array_equal(np.asarray(PictureCondition().preview(encoded)), pixels)


def test_an_evaluation_has_photos_of_the_domain_that_is_painted(folder: Path):
    data = DataSettings(
        **BOTH, source=str(folder), domain_column="label", condition_domain="day", split="train"
    )
    pairs = EvaluationPairs(data, PictureCondition(), exemplars="random", limit=2)
    assert [int(pair.target.photo.float().mean()) for pair in (pairs[0], pairs[1])] == [20, 21]
    assert {int(pairs[0].target.condition.mul(255).round().mean())} == {200}
    assert len(pairs) == 2
    other = DataSettings(
        **BOTH, source=str(folder), domain_column="label", condition_domain="night"
    )
    turned = EvaluationPairs(other, PictureCondition(), exemplars="random")
    assert turned.fingerprint != pairs.fingerprint


def test_what_cannot_be_is_refused_with_the_remedy(folder: Path):
    night = {"source": f"{folder}/night"}
    for wrong, message in [
        ({"condition_source": "x", "condition_column": None}, "set condition_column: condition"),
        ({"condition_source": "x", "streaming": True}, "set streaming: false"),
        ({"condition_domain": "day"}, "'condition_domain' and 'domain_column'.*go together"),
        ({"condition_source": "x", "condition_domain": "day"}, "or 'condition_domain'"),
    ]:
        with pytest.raises(ValueError, match=message):
            DataSettings(**BOTH | night | wrong)
    named = {"source": str(folder), "domain_column": "label"}
    with pytest.raises(ValueError, match=r"domain 'noon'.*\['day', 'night'\] only"):
        opened(**named, condition_domain="noon")
    with pytest.raises(ValueError, match="no column 'labels'.*'label'"):
        opened(**named | {"domain_column": "labels"}, condition_domain="day")


def test_a_recipe_says_of_its_data_which_domain_is_which(tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: {source: a, condition_source: b, condition_column: condition}\n")
    assert recipe_data([str(recipe)]) == {
        "source": "a",
        "condition_source": "b",
        "condition_column": "condition",
    }
