"""A recipe tells an evaluation what its data are like, and the command line stands above it."""

import dataclasses
from pathlib import Path

import pytest

from cocosnet_hf.datasets import DataSettings
from cocosnet_hf.evaluate import main, make_parser, read_settings
from cocosnet_hf.evaluation import EvaluationSettings
from tests.support.paths import CONFIGS


def data_of(*words: str) -> DataSettings:
    return read_settings(make_parser().parse_args(["pipeline", *words])).data


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_recipe_describes_the_data_and_leaves_out_what_belongs_to_training(tmp_path: Path):
    recipe = write(
        tmp_path,
        "recipe.yaml",
        "data: {source: photos, split: 'train[:860]', condition_column: label, image_size: 64,\n"
        "       load_size: 72, label_groups: [[0, 3], [7]], keep_aspect: true, retrieve: true,\n"
        "       elastic: 0.1, id_column: name}\nnetworks: {condition: {type: mask}}\n",
    )
    expected = DataSettings(
        source="photos",
        split="test",
        condition_column="label",
        label_groups=((0, 3), (7,)),
        keep_aspect=True,
        id_column="name",
    )
    assert data_of("--config", recipe) == expected


def test_options_stand_above_a_recipe_and_a_later_recipe_above_an_earlier_one(tmp_path: Path):
    first = write(tmp_path, "a.yaml", "data: {source: a, condition_column: a, id_column: a}\n")
    second = write(tmp_path, "b.yaml", "data: {condition_column: b, keep_aspect: true}\n")
    found = data_of("--config", first, second, "--data", "c", "--no-keep-aspect")
    assert (found.source, found.condition_column, found.id_column) == ("c", "b", "a")
    assert not found.keep_aspect


def test_what_is_not_said_is_as_the_settings_have_it():
    options = make_parser().parse_args(["pipeline", "--data", "folder"])
    expected = EvaluationSettings("pipeline", DataSettings(source="folder", split="test"))
    assert read_settings(options) == expected
    words = ["--baselines", "warped", "--extractors", "--perceptual=none", "--seed=3"]
    options = make_parser().parse_args(["pipeline", "--data", "folder", *words])
    changed = {"baselines": ("warped",), "extractors": (), "perceptual": None, "seed": 3}
    assert read_settings(options) == dataclasses.replace(expected, **changed)


@pytest.mark.parametrize(
    ("words", "lpips"), [([], "auto"), (["--lpips"], True), (["--no-lpips"], False)]
)
def test_lpips_is_asked_for_left_out_or_taken_where_it_can_be_had(
    words: list[str], lpips: bool | str
):
    options = make_parser().parse_args(["pipeline", "--data=x", *words])
    assert read_settings(options).lpips == lpips


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("edge-to-face", ["--labels-column=label", "--label-classes=19"]),
        ("facades", ["--condition-column=label"]),
    ],
)
def test_a_recipe_of_this_repository_says_what_one_had_to_type(name: str, words: list[str]):
    found = data_of("--config", str(CONFIGS / f"{name}.yaml"), "--data=x", "--label-groups=[]")
    assert found == data_of("--data=x", "--label-groups=[]", *words)


def test_masks_of_clothes_need_no_groups_typed_by_hand():
    found = data_of("--config", str(CONFIGS / "mask-to-image.yaml"))
    assert len(found.label_groups) == 13 and found.condition_column == "label"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {label_group: []}", "unknown setting data.label_group; did you mean data.label_gr"),
        ("data: [1]", "must be a recipe with a group `data`"),
        ("- data", "must be a recipe with a group `data`"),
        ("data: {label_classes: many}", "data.label_classes must be int, got 'many'"),
        ("data: {keep_aspect: true}", "nothing says which data: give --data, or --config"),
        ("data: {", "is not valid YAML"),
        ("{" * 5000, "close each bracket"),
        ("data: {split: 2020-01-01}", "put a text in quotes"),
    ],
)
def test_a_recipe_that_cannot_be_used_ends_with_the_remedy(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        main(["never opened", "--config", write(tmp_path, "recipe.yaml", text)])
    assert message in capsys.readouterr().err
