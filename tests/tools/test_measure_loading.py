"""Readers of a set share it without loss, and the simulation would tell otherwise."""

import json
from pathlib import Path

import pytest
import torch

from tests.support import tiny
from tools import measure_loading
from tools.measure_loading import main, mapped_readers, require_once, streamed_readers

pytest.importorskip("datasets")


def test_readers_of_a_stream_read_every_row_once_and_go_on_where_they_stopped(tmp_path: Path):
    found = streamed_readers(tmp_path, readers=3, files=6, rows_each=4)
    assert found == {"files": 6, "rows": 24, "rows_a_reader": [8, 8]}


def test_readers_that_do_not_divide_the_files_still_read_every_row_once(tmp_path: Path):
    found = streamed_readers(tmp_path, readers=4, files=3, rows_each=8)
    assert found["rows_a_reader"] == [6, 6]


def test_64_readers_of_a_set_take_every_row_of_an_epoch_once():
    assert mapped_readers(64, 1000, 3) == {"rows": 1000, "batch": 3, "steps": 11}


@pytest.mark.parametrize("names", [[0, 1, 1], [0, 1], [0, 1, 2, 3]])
def test_a_row_that_is_lost_or_doubled_is_told(names: list[int]):
    with pytest.raises(RuntimeError, match="3 rows became"):
        require_once(names, 3)


def test_a_reader_that_goes_on_elsewhere_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def nowhere(_stream: object, _state: object) -> None:
        """Begins anew."""

    monkeypatch.setattr(measure_loading.TrainingStream, "load_state_dict", nowhere)
    with pytest.raises(RuntimeError, match="went on elsewhere after 4 rows"):
        streamed_readers(tmp_path, readers=2, files=2, rows_each=8)


def test_the_loader_of_a_recipe_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    threads = torch.get_num_threads()
    networks = json.dumps(tiny.NETWORK_SETTINGS | {"condition": {"type": "edge"}})
    (tmp_path / "recipe.yaml").write_text(
        f"output_dir: out/x\nnetworks: {networks}\n"
        "losses: {perceptual: 0, contextual: 0, pseudo_exemplar: 0}\n"
        "data: {image_size: 32, load_size: 36, exemplar_column: exemplar}\n"
    )
    main(["--config", str(tmp_path / "recipe.yaml"), "--seconds", "0.2"])
    torch.set_num_threads(threads)
    found = json.loads(capsys.readouterr().out)
    assert found["examples"] > 0
    assert found["examples_a_second"] * found["ms_an_example"] == pytest.approx(1000)
