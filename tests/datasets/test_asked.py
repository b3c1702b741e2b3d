"""Many domains from class folders, and attributes from columns, as rows that ask for them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cocosnet_hf import AttributesCondition, Condition, DomainCondition, EdgeCondition
from cocosnet_hf.conditions.asked import taken_apart
from cocosnet_hf.datasets import DataSettings, TrainingExamples, open_training_data
from cocosnet_hf.evaluation import EvaluationPairs
from cocosnet_hf.synthetic import PALETTES, NamedScenes, SyntheticExamples

GREYS = {"cat": 10, "dog": 90, "fox": 170}
COUNTS = {"cat": 2, "dog": 4, "fox": 1}
ANIMALS = DomainCondition(tuple(GREYS))
PLAIN = {"image_size": 8, "load_size": 8, "augment": False, "condition_column": "condition"}
MANY = PLAIN | {"domain_column": "label", "exemplar_column": "exemplar", "real_probability": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for each animal, in greys by which animal and number are known again."""
    for name, count in COUNTS.items():
        (tmp_path / name).mkdir()
        for number in range(count):
            pixels = np.full((12, 12, 3), GREYS[name] + number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return tmp_path


def opened(folder: Path, condition: Condition = ANIMALS, **settings: object) -> TrainingExamples:
    examples = open_training_data(
        DataSettings(**MANY | {"source": str(folder)} | settings), condition
    )
    assert isinstance(examples, TrainingExamples)
    return examples


def grey(picture: torch.Tensor) -> int:
    return round(float(picture.mean() + 1) * 127.5)


def animal(value: int) -> int:
    return (value - 10) // 80


def test_class_folders_are_domains_even_and_each_row_asks_for_its_photos_own(folder: Path):
    examples = opened(folder)
    assert len(examples) == 3 * 4
    shown = [grey(examples[i]["image"]) for i in range(12)]
    assert [animal(value) for value in shown] == [0, 1, 2] * 4
    assert shown[1::3] == [90, 91, 92, 93] and shown[::3] == [10, 11, 10, 11]
    seen = set()
    for key in [(epoch, i) for epoch in range(3) for i in range(12)]:
        example = examples[key]
        picture, numbers = taken_apart(ANIMALS.unpack(example["condition"])[None])
        assert numbers.argmax() == key[1] % 3 and numbers.sum() == 1
        assert animal(grey(picture)) == example["source_domain"]
        assert animal(grey(example["exemplar"])) == key[1] % 3
        assert key[1] % 3 == 2 or grey(example["exemplar"]) != grey(example["image"])
        seen.add((key[1] % 3, int(example["source_domain"])))
    assert len(seen) == 9  # any domain is to become any


def test_partners_change_from_epoch_to_epoch_and_are_the_same_again(folder: Path):
    examples, again = opened(folder), opened(folder)

    def pictures(of: TrainingExamples, epoch: int) -> list[int]:
        return [grey(of[epoch, i]["condition"][:3] * 2 - 1) for i in range(12)]

    assert pictures(examples, 0) != pictures(examples, 1)
    assert pictures(examples, 1) == pictures(again, 1)


def test_an_evaluation_asks_for_the_domain_of_its_photo(folder: Path):
    data = DataSettings(**MANY, source=str(folder))
    pairs = EvaluationPairs(data, ANIMALS, exemplars="column", limit=3)
    for number, pair in enumerate(pairs[i] for i in range(len(pairs))):
        numbers = taken_apart(pair.target.condition[None])[1]
        assert numbers.argmax() == animal(int(pair.target.photo.float().mean())) == number
        assert animal(int(pair.exemplar.photo.float().mean())) == number
    assert len(pairs) == 3


def test_attributes_are_read_from_columns_as_they_may_be_written(tmp_path: Path):
    values = [(True, 1), (False, -1), (False, 0.25)]
    lines = []
    for number, (glasses, young) in enumerate(values):
        Image.new("RGB", (12, 12), (60 * number,) * 3).save(tmp_path / f"{number}.png")
        row = {"file_name": f"{number}.png", "glasses": glasses, "young": float(young)}
        lines.append(json.dumps(row))
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    condition = AttributesCondition(("young", "glasses"))
    examples = opened(tmp_path, condition, domain_column=None, exemplar_column=None)
    for number, wanted in enumerate([(1, 1), (0, 0), (0.25, 0)]):
        picture, numbers = taken_apart(examples[number]["condition"][None])
        torch.testing.assert_close(numbers, torch.tensor([wanted], dtype=torch.float32))
        torch.testing.assert_close(picture[0], examples[number]["image"])
        assert "source_domain" not in examples[number]


def test_drawn_scenes_have_palettes_and_attributes():
    scenes = NamedScenes(SyntheticExamples(image_size=32, length=6))
    plain = scenes.examples
    assert scenes["palette"] == [*PALETTES] * 2
    for number in range(6):
        row = scenes[number]
        assert row["palette"] == scenes["palette"][number]
        assert row["night"] == (row["palette"] == "night")
        assert row["sun"] == bool((np.asarray(row["labels"]) == 1).any())
        ratio = np.asarray(row["image"], float).mean((0, 1)) / np.asarray(
            plain[number]["image"], float
        ).mean((0, 1))
        np.testing.assert_allclose(ratio, PALETTES[row["palette"]], atol=0.01)


def test_what_cannot_be_is_refused_with_the_remedy(folder: Path):
    for wrong, message in [
        ({"domain_column": None}, "set domain_column, for a folder .* label, and exemplar_column"),
        ({"exemplar_column": None}, "exemplar_column: exemplar"),
        ({"condition_column": None}, "set condition_column: condition"),
        ({"domain_column": "kind"}, "no column 'kind'"),
        ({"condition": DomainCondition(("cat", "cow"))}, r"each of \['cat', 'cow'\].*'dog', 'fox'"),
        ({"condition": AttributesCondition(("old",))}, r"for the attributes \['old'\]"),
        ({"condition": EdgeCondition()}, "asks for no domain: set condition_domain"),
    ]:
        with pytest.raises(ValueError, match=message):
            opened(folder, **wrong)


def test_a_value_that_is_none_is_a_broken_row():
    condition = AttributesCondition(("young", "glasses"))
    for asked, message in [
        ({"young": 1}, "a number to each of young, glasses, got .*young"),
        ({"young": 1, "glasses": 7}, "in 0..1, or -1 for without"),
        ({"young": 1, "glasses": "yes"}, "must be numbers"),
        ("young", "a number to each of"),
    ]:
        with pytest.raises(ValueError, match=message):
            condition.open({"picture": Image.new("RGB", (8, 8)), "asked": asked})
    for names in ((), ("a", "a")):
        with pytest.raises(ValueError, match="each once"):
            AttributesCondition(names)
    with pytest.raises(ValueError, match="2 names or more"):
        DomainCondition(("one",))
