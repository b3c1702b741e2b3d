"""A prepared folder becomes a data set of the Hub, with a recipe that reads it from there."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from cocosnet_hf.datasets import Reader, open_source
from cocosnet_hf.prepare import main as prepare_command
from tests.support.layouts import LAYOUTS
from tests.support.loopback_hub import LoopbackHub, connect_datasets, connected_hub
from train.config import load_config

pytest.importorskip("datasets")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    with connected_hub(monkeypatch, tmp_path / "home") as running:
        connect_datasets(monkeypatch, running)
        monkeypatch.chdir(tmp_path)
        yield running


def pushed(layout: str, *options: str) -> None:
    Path("data").mkdir()
    LAYOUTS[layout](Path("data"))
    prepare_command(["data", "-o", "out", *options])


@pytest.mark.parametrize("layout", ["images and masks", "DeepFashion, OpenPose"])
def test_the_recipe_on_the_hub_reads_from_there_what_the_one_here_reads(
    layout: str, hub: LoopbackHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pushed(layout, "--push", "alice/photos", "--private")
    assert "are on the Hub: alice/photos" in capsys.readouterr().out
    held = hub.files("alice/photos", kind="dataset")
    Path("shared.yaml").write_bytes(held["recipe.yaml"])
    read = []
    for path, source in (("out/recipe.yaml", "out"), ("shared.yaml", "alice/photos")):
        stage = yaml.safe_load(Path(path).read_text()) | {"stages": None}
        Path("stage.yaml").write_text(yaml.safe_dump({k: v for k, v in stage.items() if v}))
        run = load_config("stage.yaml", [f"--data.cache_dir={tmp_path / 'cache'}"])
        assert run.data.source == source
        condition = run.networks.make_condition()
        rows, reader = open_source(run.data, condition), Reader(run.data, condition)
        read.append([reader.read(row, place) for place, row in enumerate(rows)])
    here, there = read
    assert len(here) == len(there) == 5
    for one, same in zip(here, there, strict=True):
        np.testing.assert_array_equal(np.asarray(one.image), np.asarray(same.image))
        encoded = [condition.encode(row.condition, 80, 80) for row in (one, same)]
        assert torch.equal(*encoded)
    assert b"python -m train --config recipe.yaml --resume latest" in held["recipe.yaml"]
    text = b"".join(held.values())
    assert str(tmp_path).encode() not in text  # no places of this machine


def test_a_name_that_cannot_be_written_to_is_one_message_and_the_folder_stays(hub: LoopbackHub):
    with pytest.raises(SystemExit, match="error: .*no rights to write to bob/photos"):
        pushed("photos alone", "--push", "bob/photos")
    assert Path("out/recipe.yaml").is_file()
    with pytest.raises(SystemExit, match="error: .*a/b/c"):
        prepare_command(["data", "-o", "out", "--push", "a/b/c"])
    assert hub.commits == []


def test_a_connection_that_breaks_says_how_to_go_on(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.cut_after = 100
    with pytest.raises(SystemExit, match="error: the upload to alice/photos broke off.*goes on"):
        pushed("photos alone", "--push", "alice/photos")
    hub.cut_after = None
    prepare_command(["data", "-o", "out", "--push", "alice/photos"])
    assert "recipe.yaml" in hub.files("alice/photos", kind="dataset")
