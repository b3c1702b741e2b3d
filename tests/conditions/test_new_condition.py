"""A condition of somebody's own is one class: it trains, is saved, loaded, measured and shared."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from PIL import Image

from cocosnet_hf import CoCosPipeline
from cocosnet_hf.conditions import condition_from_config
from cocosnet_hf.datasets import DataSettings, Geometry, TrainingExamples, open_source
from cocosnet_hf.evaluation import EvaluationSettings, evaluate
from cocosnet_hf.hub.publish import publish_folder
from cocosnet_hf.retrieval import ExemplarIndex
from cocosnet_hf.synthetic import SCENE_CLASSES, SyntheticExamples
from tests.support import tiny, toy_condition
from tests.support.loopback_hub import LoopbackHub, connected_hub
from tests.support.processes import command, ended
from tests.support.toy_condition import Brightness
from train.config import load_config
from train.train import train

pytest.importorskip("datasets")
pytestmark = pytest.mark.usefixtures("fresh_process")

REPO = "alice/brightness"
SIDE = 32


MODULE = Brightness.__module__
NAME = f"{MODULE}:Brightness"

RECIPE: dict[str, Any] = {
    "data": {
        "source": "synthetic",
        "exemplar_column": "exemplar",
        "image_size": SIDE,
        "load_size": 36,
        "batch_size": 2,
        "workers": 0,
    },
    "networks": tiny.NETWORK_SETTINGS | {"condition": {"type": NAME, "levels": 6}},
    "losses": {"perceptual": 0, "contextual": 0, "pseudo_exemplar": 0, "warped_mask": 0},
    "schedule": {"constant": 2, "decay": 0},
    "output": {"validate_every": 0, "grid_every": 2},
}


@pytest.fixture(scope="module")
def drawn() -> list[Image.Image]:
    examples = SyntheticExamples("edge", 2 * SIDE)
    return [examples[index]["image"] for index in range(4)]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    with connected_hub(monkeypatch, tmp_path / "home") as running:
        yield running


def test_it_trains_two_steps_is_saved_loaded_and_evaluated(tmp_path: Path):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump({"output_dir": str(tmp_path / "run")} | RECIPE))
    folder = train(load_config(file))
    pipe = CoCosPipeline.from_pretrained(folder)
    assert pipe.condition == Brightness(levels=6)
    settings = EvaluationSettings(
        pipeline=str(folder),
        data=DataSettings(
            source="synthetic",
            split="test",
            exemplar_column="exemplar",
            labels_column="labels",
            label_classes=len(SCENE_CLASSES),
            exemplar_labels_column="exemplar_labels",
        ),
        output=str(tmp_path / "evaluation"),
        exemplars="column",
        limit=2,
        extractors=(),
        perceptual=None,
        lpips=False,
        diversity=0,
    )
    found = evaluate(settings)
    metrics = {result.metric for result in found.results}
    assert {"SSIM", "PSNR", "warp_accuracy", "SWD"} <= metrics
    assert "edge_F1" not in metrics
    assert found.provenance["condition"] == {"type": NAME, "levels": 6}


def test_it_paints_what_it_opens(drawn: list[Image.Image], tmp_path: Path):
    pipe = tiny.pipeline(Brightness())
    drawn[0].save(tmp_path / "photo.png")
    sources = [drawn[0], tmp_path / "photo.png", pipe.condition.open(drawn[0])]
    first, *others = (pipe(one, drawn[1], output_type="pt").images for one in sources)
    assert all(torch.equal(first, other) for other in others)
    assert pipe.condition.natural_size(drawn[0]) == (2 * SIDE, 2 * SIDE)


def test_its_card_says_what_it_is_and_where_it_comes_from(tmp_path: Path):
    tiny.pipeline(Brightness(levels=3)).save_pretrained(tmp_path)
    text = ModelCard.load(tmp_path / "README.md").text
    assert "the layout of a condition of the type brightness" in text
    assert "| levels | 3 |" in text
    assert f"from {MODULE} import Brightness" in text


@pytest.mark.usefixtures("hub")
def test_it_is_shared_and_opened_again(tmp_path: Path):
    folder = tmp_path / "pipeline"
    tiny.pipeline(Brightness(levels=5)).save_pretrained(folder)
    publish_folder(folder, REPO)
    assert CoCosPipeline.from_pretrained(REPO).condition == Brightness(levels=5)


def test_a_column_of_a_data_set_can_hold_it(drawn: list[Image.Image], tmp_path: Path):
    rows = []
    for number, picture in enumerate(drawn):
        picture.save(tmp_path / f"{number}.png")
        picture.convert("L").save(tmp_path / f"{number}-brightness.png")
        rows.append({"file_name": f"{number}.png", "grey_file_name": f"{number}-brightness.png"})
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = DataSettings(
        source=str(tmp_path),
        condition_column="grey",
        retrieve=True,
        hard_rank=2,
        image_size=SIDE,
        load_size=2 * SIDE,
        flip=1.0,
        cache_dir=str(tmp_path / "cache"),
    )
    condition = Brightness(levels=256)
    data = TrainingExamples(open_source(settings, condition), condition, settings)
    example, read = data[0], data.reader.read(data.rows[0], 0)
    geometry = Geometry.draw(read.image.size, settings, np.random.default_rng([0, 0, 0]))
    assert example["condition"].shape == (1, SIDE, SIDE)
    seen = example["image"].mul(torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0) / 2 + 0.5
    assert (example["condition"][0] - seen).abs().mean() < 0.02  # cut and flipped with the photo
    assert geometry.flipped


def test_like_layouts_are_found_by_it(drawn: list[Image.Image]):
    index = ExemplarIndex.build(drawn, Brightness())
    assert [index.nearest(picture)[0].index for picture in drawn] == [0, 1, 2, 3]


def test_a_configuration_names_its_module():
    config = Brightness(levels=7).to_config()
    assert config == {"type": NAME, "levels": 7}
    assert condition_from_config(json.loads(json.dumps(config))) == Brightness(levels=7)


def test_only_a_users_own_file_imports_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copy(toy_condition.__file__, tmp_path / "own_depth.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = {"type": "own_depth:Brightness"}
    with pytest.raises(ValueError, match="import own_depth first, or pass condition="):
        condition_from_config(config)
    assert "own_depth" not in sys.modules
    assert condition_from_config(config, import_code=True).levels == 4
    assert condition_from_config(config).to_config() == config | {"levels": 4}
    del sys.modules["own_depth"]


def test_a_module_that_is_not_there_is_named_with_the_remedy():
    with pytest.raises(ValueError, match="'nowhere:Depth' cannot be imported.*PYTHONPATH"):
        condition_from_config({"type": "nowhere:Depth"}, import_code=True)


@pytest.mark.parametrize("kind", ["json:JSONDecoder", "json:Missing", f"{MODULE}:Condition.open"])
def test_what_is_no_condition_is_refused(kind: str):
    with pytest.raises(ValueError, match="is no condition"):
        condition_from_config({"type": kind})


@pytest.mark.slow
def test_the_command_line_evaluates_it(tmp_path: Path):
    """In a process that does not know of it."""
    tiny.pipeline(Brightness(), SIDE).save_pretrained(tmp_path / "pipeline")
    words = f"{tmp_path}/pipeline --import {MODULE} --data synthetic -o {tmp_path}/out"
    options = "--exemplar-column exemplar --exemplars column --limit 2 --perceptual none"
    log = tmp_path / "log"
    running = command("cocosnet_hf.evaluate", log, *words.split(), *options.split())
    assert ended(running, 300) == 0, log.read_text()
    assert (tmp_path / "out" / "report.html").is_file()
