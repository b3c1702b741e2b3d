"""The recipes of the paper's baselines: small ones, and layers at their papers' sizes."""

from pathlib import Path

import pytest
import torch
from torch._subclasses import FakeTensorMode

from cocosnet_hf import CoarseToFineGenerator
from cocosnet_hf.systems import find_system, saved_class
from tests.support.paths import CONFIGS
from train.config import TrainConfig
from train.stages import load_stages
from train.train import train_stages

PAPER_SIZES = {
    "pix2pix": {"generator": 54.4, "discriminator": 2.8},
    "pix2pixhd": {"encoder": 0.8, "generator": 182.7, "discriminator": 8.3},
    "spade": {"encoder": 10.5, "generator": 109.0, "discriminator": 5.55},
}
"""Millions of weights, of pix2pix with the three channels of a picture."""


def millions(config: TrainConfig) -> dict[str, float]:
    """Of each network, which are only described."""
    with torch.device("meta"):
        networks = find_system(config.system).make_networks(
            config.networks.make_condition(), config.networks.options
        )
    return {
        name: sum(parameter.numel() for parameter in network.parameters()) / 1e6
        for name, network in networks.items()
    }


@pytest.mark.parametrize("name", PAPER_SIZES)
def test_a_layer_brings_a_baseline_at_its_papers_size_to_a_recipes_data(name: str):
    stages = load_stages([CONFIGS / "facades.yaml", CONFIGS / f"layers/{name}.yaml"])
    assert {stage.config.system for stage in stages} == {name}
    assert {stage.config.data.source for stage in stages} == {"labelmefacade_256"}
    assert {stage.config.ema for stage in stages} == {0}
    assert millions(stages[-1].config) == pytest.approx(PAPER_SIZES[name], abs=0.05)


@pytest.mark.parametrize("name", PAPER_SIZES)
@torch.no_grad()
def test_a_baseline_paints_and_judges_at_its_papers_size(name: str):
    config = load_stages([CONFIGS / "facades.yaml", CONFIGS / f"layers/{name}.yaml"])[-1].config
    side, condition = config.data.image_size, config.networks.make_condition()
    with FakeTensorMode():  # of which nothing is held; autocast knows no "meta"
        networks = find_system(name).make_networks(condition, config.networks.options)
        photo, layout = (torch.zeros(2, count, side, side) for count in (3, condition.channels))
        guide, seen, style = [layout], layout, ()
        if name == "pix2pixhd":  # features and boundaries of instances
            edges, features = layout[:, :1], networks["encoder"](photo)
            guide, seen = [layout, edges, features], torch.cat([layout, edges], dim=1)
        if name == "spade":
            style = (networks["encoder"](photo)[0],)
        painted = networks["generator"](torch.cat(guide, dim=1), *style)
        judged = networks["discriminator"](seen, painted)
    assert painted.shape == photo.shape
    assert len(judged) == config.networks.discriminator["scales"]


@pytest.mark.parametrize("name", PAPER_SIZES)
def test_a_layer_takes_back_what_belongs_to_a_recipes_own_system(name: str):
    for recipe in ("edge-to-face", "mask-to-image", "ade20k"):
        for stage in load_stages([CONFIGS / f"{recipe}.yaml", CONFIGS / f"layers/{name}.yaml"]):
            assert stage.config.system == name, recipe
            assert stage.config.losses.feature_matching in (0, 10), recipe


@pytest.mark.parametrize("name", PAPER_SIZES)
def test_a_small_recipe_is_small(name: str):
    stages = load_stages(CONFIGS / f"{name}.yaml")
    assert sum(millions(stages[-1].config).values()) < 1.5
    assert sum(stage.config.schedule.total for stage in stages) <= 600


def test_the_enhancer_of_pix2pixhd_comes_to_a_body_that_has_learned():
    coarse, enhancer, both = load_stages(CONFIGS / "pix2pixhd.yaml")
    assert coarse.config.data.image_size * 2 == enhancer.config.data.image_size
    assert [stage.config.networks.generator["active_enhancers"] for stage in (coarse, both)] == [
        0,
        1,
    ]
    assert enhancer.config.system_options.enhancer_alone
    assert not both.config.system_options.enhancer_alone


def test_a_layer_exchanges_the_norm_of_the_translation_network():
    (stage,) = load_stages([CONFIGS / "quickstart.yaml", CONFIGS / "layers/batch-norm.yaml"])
    with torch.device("meta"):
        networks = find_system("cocosnet").make_networks(
            stage.config.networks.make_condition(), stage.config.networks.options
        )
    kinds = {type(part).__name__ for part in networks["translation"].modules()}
    assert "BatchNorm2d" in kinds and "Normalize" not in kinds


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_process")
def test_the_stages_of_pix2pixhd_go_on_from_each_other(tmp_path: Path):
    quiet = [f"--output.{name}_every=0" for name in ("log", "grid", "validate")]
    short = ["--schedule.constant=1", "--schedule.decay=0", "--data.workers=0"]
    narrow = ["--networks.generator.base_channels=4", "--networks.discriminator.base_channels=4"]
    settings = [f"--output_dir={tmp_path}", *quiet, *short, *narrow]
    folder = train_stages(load_stages(CONFIGS / "pix2pixhd.yaml", settings))
    first, second, third = (
        CoarseToFineGenerator.from_pretrained(tmp_path / name / "pipeline/generator")
        for name in ("coarse", "enhancer", "all")
    )
    assert (first.active, second.active, third.active) == (0, 1, 1)
    for key, value in first.coarse.state_dict().items():
        assert torch.equal(second.coarse.state_dict()[key], value), key
    assert not torch.equal(
        second.coarse.up[0].second[0].weight, third.coarse.up[0].second[0].weight
    )
    assert not torch.equal(
        first.bodies[0].up[0].second[0].weight, second.bodies[0].up[0].second[0].weight
    )
    pipe = saved_class(folder).from_pretrained(folder)
    assert pipe.encoder.sizes.sum() > 0
