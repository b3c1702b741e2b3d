"""A mistake in a recipe is told with its file and line."""

from pathlib import Path

import pytest

from train.places import place_of
from train.train import main

RECIPE = """\
output_dir: out
data:
  source: photos
  batch_size: 4
  image_size: 100
networks:
  condition: {type: mask, clases: [a, b]}
stages:
  - name: matching
    data:
      batch_size: 0
  - name: painter
    data: {batch_size: 2, image_size: 64}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return str(path)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("data.batch_size must be at least 1, got 0.", 4),
        ("stage 'matching': data.batch_size must be at least 1, got 0.", 11),
        ("stage 'painter': 'image_size' must be at least 8", 13),
        ("stage 'matching': 'image_size' must be at least 8", 5),
        ("unknown setting data.batch_sise; did you mean data.batch_size? Known are", 4),
        ("a mask condition has no setting 'clases'", 7),
        ("the disk is full", None),
        ("metadata.jsonl of data.cache_dir is broken", None),
    ],
)
def test_the_setting_that_a_message_names_is_found(message: str, line: int | None, recipe: str):
    expected = None if line is None else f"{recipe}, line {line}"
    assert place_of(message, [recipe]) == expected


def test_the_last_file_that_says_it_counts_and_the_command_line_stands_above_all(
    recipe: str, tmp_path: Path
):
    layer = tmp_path / "layer.yaml"
    layer.write_text("data:\n  batch_size: 0\n")
    message = "data.batch_size must be at least 1"
    assert place_of(message, [recipe, str(layer)]) == f"{layer}, line 2"
    assert place_of(message, [recipe], ["--data.batch_size=0"]) is None
    assert place_of(message, [recipe], ["--data={batch_size: 0}"]) is None
    assert place_of(message, [str(tmp_path / "nowhere.yaml")]) is None


def test_the_command_says_where(recipe: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--config", recipe, "--dry-run"])
    said = capsys.readouterr().err
    assert said.endswith(f"data.batch_size must be at least 1, got 0. ({recipe}, line 11)\n"), said
