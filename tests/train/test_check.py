"""`--check-data` reads every row, says what is wrong and trains nothing."""

from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.support.layouts import images_and_masks
from train.train import main

pytest.importorskip("datasets")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run on six photos with masks, of two stages that read the same."""
    monkeypatch.chdir(tmp_path)
    images_and_masks(tmp_path / "data")
    rows = "".join(
        f'{{"file_name": "images/{number}.jpg", "label_file_name": "masks/{number}.png"}}\n'
        for number in range(6)
    )
    (tmp_path / "data/metadata.jsonl").write_text(rows)
    settings = {
        "output_dir": "out",
        "data": {
            "source": "data",
            "split": "train[:4]",
            "validation_split": "train[4:]",
            "condition_column": "label",
            "image_size": 32,
            "load_size": 32,
        },
        "networks": {
            "condition": {
                "type": "mask",
                "classes": ["ground", "house", "tree", "void"],
                "values": {255: 3},
            }
        },
        "stages": [{"name": "first"}, {"name": "second"}],
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_every_row_of_both_splits_is_read_once(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(config), "--check-data"])
    assert not ended.value.code
    said = capsys.readouterr().out
    assert said.count("4 rows read, 0 cannot be used") == 1
    assert said.count("2 rows read, 0 cannot be used") == 1
    assert "tree    25.00 %  4" in " ".join(said.split(" "))
    assert (tmp_path / "out/first/check/train.png").is_file()
    assert not (tmp_path / "out/first/checkpoints").exists()


def test_a_bad_row_is_named_and_the_command_fails(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    Image.new("L", (80, 80), 77).save(tmp_path / "data/masks/5.png")
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(config), "--check-data"])
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "2 rows read, 1 cannot be used" in said and "labels [77]" in said and "5.jpg" in said
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(config), "--check-data", "--data.max_broken_share=0.5"])
    assert not ended.value.code


def test_rows_whose_exemplars_are_listed_are_read_as_any(config: Path, tmp_path: Path):
    (tmp_path / "pairs.txt").write_text("images/0.jpg, images/1.jpg\n")
    lists = [f"--data.{name}=pairs.txt" for name in ("exemplar_list", "validation_exemplar_list")]
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(config), "--check-data", *lists])
    assert not ended.value.code
