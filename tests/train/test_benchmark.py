"""The training benchmark: its plain form is the same step, and its figures are complete."""

import copy
import json
from pathlib import Path

import pytest
import torch
import yaml

from cocosnet_hf import DistilledVGG19Features, MaskCondition, Matching
from cocosnet_hf.reference import ReferenceMatching
from cocosnet_hf.systems import Batch, CoCosNet, CoCosNetLosses
from tests.support import tiny
from tests.support.training import SETTINGS
from train import benchmark, step_costs


def test_a_plain_step_has_the_terms_of_ours():
    torch.manual_seed(0)
    labels = torch.randint(3, (2, 2, 64, 64))
    photos = torch.rand(2, 2, 3, 64, 64) * 2 - 1
    masks = torch.nn.functional.one_hot(labels, 3).movedim(-1, 2).float()
    batch = Batch(photos[0], masks[0], photos[1], masks[1], torch.ones(2), *labels, classes=3)
    ours = CoCosNet(
        MaskCondition.from_names(["a", "b", "c"]),
        {
            "correspondence": tiny.correspondence(3),
            "translation": tiny.translation(3),
            "discriminator": tiny.discriminator(3),
        },
        CoCosNetLosses(cycle=1, self_warp=1, warped_mask=1),
        perceptual=DistilledVGG19Features().requires_grad_(False),
    )
    plain = copy.copy(ours)
    plain.networks = copy.deepcopy(ours.networks)
    step_costs.use_plain_form(plain)
    found, made = {}, {}
    for name, system in (("plain", plain), ("ours", ours)):
        made[name] = system.generate_to_learn(system.networks, batch)
        found[name] = system.generator_terms(system.networks, batch, made[name])
    assert isinstance(made["plain"].matching, ReferenceMatching)
    assert isinstance(made["ours"].matching, Matching)
    assert found["plain"].keys() == found["ours"].keys() >= {"contextual", "cycle", "warped_mask"}
    for name, term in found["plain"].items():
        torch.testing.assert_close(term, found["ours"][name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("limit", [4, 7, 8, 37, 100])
def test_the_largest_batch_is_found_to_an_eighth(limit: int):
    tried = []
    found = step_costs.largest(lambda size: tried.append(size) or size <= limit, known=4)
    assert limit * 7 / 8 <= found <= limit
    assert len(tried) < 12


def test_batches_that_do_not_fit_are_noted_and_the_largest_that_does_is_measured_last():
    def attempt(size: int, _warmup: int, steps: int) -> tuple[int, int] | None:
        return (size, steps) if size <= 21 else None

    found = step_costs.measure_sizes(attempt, [1, 8, 64], warmup=2, steps=5, to_largest=True)
    assert found == {1: (1, 5), 8: (8, 5), 64: None, 20: (20, 5)}
    assert step_costs.measure_sizes(attempt, [64], 2, 5, to_largest=True) == {64: None}


@pytest.mark.slow
def test_a_run_writes_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    recipe, layer = tmp_path / "run.yaml", tmp_path / "layer.yaml"
    recipe.write_text(yaml.safe_dump({"output_dir": str(tmp_path / "run")} | SETTINGS))
    layer.write_text(
        yaml.safe_dump(
            {
                "losses": {"contextual": 1},
                "perceptual": {"network": "vgg19-distilled", "source": "not there"},
                "speed": {"gradient_checkpointing": True},
            }
        )
    )
    file = tmp_path / "figures.json"
    configs = ["--config", str(recipe), "--config", str(layer)]
    benchmark.main(
        [*configs, "--plain", "--batch-sizes", "1", "2", "--steps", "2", "--warmup", "1"]
        + ["--json", str(file), "--data.color_jitter=0"]
    )
    figures = json.loads(file.read_text())
    assert figures.keys() == {"machine", "config", "rows"}
    rows = figures["rows"]
    assert [(row["form"], row["batch_size"]) for row in rows] == [
        ("plain", 1),
        ("plain", 2),
        ("ours", 1),
        ("ours", 2),
    ]
    for row in rows:
        assert 0 < row["fastest"] <= row["median"] <= row["slowest"]
        assert row["examples_per_second"] == pytest.approx(row["batch_size"] / row["median"])
        assert 0 < row["waiting_share"] < 1
        assert row["peak_memory"] > 100
    assert "| ours | no | 2 |" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--warmup", "0"], "must be at least 1"),
        (["--largest"], "--largest needs a GPU"),
        (["--data.batchsize=1"], "did you mean data.batch_size"),
    ],
)
def test_a_measurement_without_meaning_is_refused(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    if arguments == ["--largest"] and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    recipe = tmp_path / "run.yaml"
    recipe.write_text(yaml.safe_dump({"output_dir": "out"}))
    with pytest.raises(SystemExit):
        benchmark.main(["--config", str(recipe), *arguments])
    assert message in capsys.readouterr().err
