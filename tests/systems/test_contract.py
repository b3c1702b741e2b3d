"""The contract of every system: it learns, goes on exactly, and becomes the pipeline that it is."""

import copy
import functools
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

from cocosnet_hf import DistilledVGG19Features, open_model
from cocosnet_hf.datasets import DataSettings
from cocosnet_hf.evaluation import EvaluationPairs, EvaluationSettings, evaluate, load_baseline
from cocosnet_hf.evaluation.opening import weights_digest
from cocosnet_hf.hub.publish import publish_folder
from cocosnet_hf.systems import (
    SYSTEMS,
    Batch,
    CoCosNet,
    CoCosNetLosses,
    Networks,
    StyleVector,
    find_system,
    saved_class,
)
from tests.support import toy_system
from tests.support.every import GROUPS, TOY
from tests.support.loopback_hub import connected_hub
from tests.support.paths import CONFIGS
from tests.support.training import SETTINGS, differences, last_state
from train.config import TrainConfig, load_config
from train.networks import build_system
from train.train import complete, run, train
from train.trainer import Trainer

pytestmark = pytest.mark.usefixtures("fresh_process")

REPO = "alice/painter"
TEST_DATA = DataSettings(
    split="test",
    condition_column="condition",
    exemplar_column="exemplar",
    exemplar_condition_column="exemplar_condition",
    image_size=32,
    load_size=32,
)


def data_of(name: str) -> DataSettings:
    """The data of an evaluation of this system."""
    column = GROUPS[name].get("data", {}).get("domain_column")
    return replace(TEST_DATA, domain_column=column)


FIRST_STAGES = {"egsc-it": {"system_options": {"stage": "autoencoders"}}}
"""What of a system is taught in a run before, whose pipeline the run goes on from."""


def test_every_system_of_the_package_is_in_this_contract():
    assert set(SYSTEMS) | {TOY} == set(GROUPS)


OF_EACH_KIND = ("cocosnet", "cyclegan", "pix2pix", TOY)
"""Systems whose pipelines differ: those of the others go their ways, and cost seconds each."""
one_of_each_kind_first = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name not in OF_EACH_KIND)) for name in GROUPS],
)


evaluated_first = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in ("cocosnet", TOY)))
        for name in GROUPS
    ],
)


def config(folder: Path, name: str, *overrides: str) -> TrainConfig:
    settings = SETTINGS | GROUPS[name] | {"system": name, "output_dir": str(folder / "run")}
    if "perceptual" in settings:  # of which no weights ship
        weights = folder / settings["perceptual"]["source"]
        torch.manual_seed(1)
        save_file(DistilledVGG19Features().state_dict(), weights)
        settings["perceptual"] = settings["perceptual"] | {"source": str(weights)}
    short = ["--schedule.constant=2", "--schedule.decay=0", "--output.checkpoint_every=1"]
    if name in FIRST_STAGES:
        first = folder / "first.yaml"
        start = settings | FIRST_STAGES[name] | {"output_dir": str(folder / "first")}
        first.write_text(yaml.safe_dump(start))
        before = train(load_config(first, [*short, "--output.validate_every=0"]))
        settings["networks"] = settings["networks"] | {"init_from": str(before)}
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(settings))
    return load_config(path, [*short, *overrides])


@dataclass(frozen=True)
class Trained:
    """What a run of two steps leaves, its trainer closed."""

    trainer: Trainer
    before: Networks
    folder: Path
    batch: Batch


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """By system: one run, for whatever only looks at it."""

    @functools.cache
    def made(name: str) -> Trained:
        trainer = Trainer(config(tmp_path_factory.mktemp("trained"), name), None)
        before = copy.deepcopy(trainer.system.networks)
        with closing(trainer):
            folder = complete(trainer)
            batch = next(trainer.data.validation_batches())
        assert folder is not None
        return Trained(trainer, before, folder, batch)

    return made


@one_of_each_kind_first
def test_two_steps_change_every_network_and_stay_finite(
    name: str, trained: Callable[[str], Trained]
):
    trainer, before = trained(name).trainer, trained(name).before
    for key, network in trainer.system.networks.items():
        assert same_weights(before[key], network) == (key in trainer.system.frozen), key
        assert all(tensor.isfinite().all() for tensor in network.state_dict().values())
    assert all(value.isfinite() for value in trainer.phases.values.values())
    assert trainer.averages.keys() == set(trainer.system.averaged)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "accumulation"),
    [*((name, 2) for name in GROUPS), *((name, 1) for name in OF_EACH_KIND)],
)
def test_a_resumed_run_ends_as_one_that_was_not_interrupted(
    name: str, accumulation: int, tmp_path: Path
):
    overrides = ["--output.validate_every=0", f"--speed.accumulation={accumulation}"]
    chosen = config(tmp_path, name, *overrides)
    train(chosen)
    whole = last_state(tmp_path / "run")
    shutil.rmtree(tmp_path / "run/checkpoints/checkpoint-00000002")
    train(chosen, resume="latest")
    assert differences(last_state(tmp_path / "run"), whole) == []


@one_of_each_kind_first
def test_the_exported_pipeline_paints_what_the_system_generates(
    name: str, trained: Callable[[str], Trained]
):
    trainer, folder, batch = trained(name).trainer, trained(name).folder, trained(name).batch
    assert saved_class(folder) is trainer.system.pipeline_class
    pipe = saved_class(folder).from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    nets = {key: average.module for key, average in trainer.averages.items()}
    with torch.no_grad():
        generated = trainer.system.generate(nets, batch)
    found = pipe(
        batch.condition,
        (batch.exemplar + 1) / 2,
        batch.exemplar_condition if pipe.needs_exemplar_condition else None,
        output_type="pt",
    )
    expected = (generated.image / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(found.images, expected, rtol=0, atol=1e-4)


@evaluated_first
def test_a_trained_pipeline_is_a_baseline_of_an_evaluation_and_can_be_evaluated_itself(
    name: str, trained: Callable[[str], Trained], tmp_path: Path
):
    folder, condition = trained(name).folder, trained(name).trainer.system.condition
    pairs = EvaluationPairs(data_of(name), condition, exemplars="column", limit=2)
    method = load_baseline(f"ours={folder}", pairs)
    (painted,) = method.generate([pairs[0], pairs[1]])
    assert painted.pictures.shape == (2, 3, 32, 32)
    assert "weights" in method.made_by["ours"]
    settings = EvaluationSettings(
        str(folder),
        data_of(name),
        output=str(tmp_path / "evaluation"),
        exemplars="column",
        limit=2,
        baselines=(f"ours={folder}", "exemplar"),
        extractors=(),
        perceptual=None,
        lpips=False,
        diversity=0,
    )
    evaluation = evaluate(settings)
    assert {"pipeline", "ours", "exemplar"} <= set(evaluation.methods)
    assert (tmp_path / "evaluation/report.html").is_file()


@evaluated_first
def test_a_trained_pipeline_is_shared_opened_and_evaluated_by_its_id(
    name: str,
    trained: Callable[[str], Trained],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    trainer, folder = trained(name).trainer, trained(name).folder
    settings = EvaluationSettings(
        REPO,
        data_of(name),
        output=str(tmp_path / "evaluation"),
        exemplars="column",
        limit=2,
        baselines=("exemplar",),
        extractors=(),
        perceptual=None,
        diversity=0,
    )
    with connected_hub(monkeypatch, tmp_path / "home") as hub:
        publish_folder(folder, REPO)
        assert {f"{key}/config.json" for key in trainer.system.networks} <= set(hub.files(REPO))
        opened = open_model(REPO)
        evaluation = evaluate(settings)
    assert type(opened) is trainer.system.pipeline_class
    local = open_model(str(folder))
    for key, network in opened.networks.items():
        assert same_weights(network, local.networks[key]), key
    assert evaluation.provenance["weights"] == weights_digest(local)


def test_a_phase_gathers_its_own_gradients_over_the_batches_of_a_step(tmp_path: Path):
    """Two phases of one network, two batches: as one batch of both."""
    weights = []
    for name, overrides in {
        "two": ["--data.batch_size=1", "--speed.accumulation=2"],
        "one": ["--data.batch_size=2"],
    }.items():
        (tmp_path / name).mkdir()
        still = ["--losses.novelty=0", "--data.color_jitter=0", "--schedule.constant=1"]
        chosen = config(tmp_path / name, TOY, "--output.validate_every=0", *still, *overrides)
        trainer = Trainer(chosen, None)
        run(trainer)
        weights.append(trainer.system.networks["shifter"].state_dict())
    for key, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][key], rtol=0, atol=1e-5)


def test_a_phase_freezes_all_other_networks_and_opens_them_again(tmp_path: Path):
    trainer = Trainer(config(tmp_path, "cocosnet", "--output.validate_every=0"), None)
    networks, learning = trainer.system.networks, []
    with trainer.phases("translation") as (nets, _):
        assert nets.keys() == networks.keys()
        for name, network in networks.items():
            if all(parameter.requires_grad for parameter in network.parameters()):
                learning.append(name)
    assert learning == ["translation"]
    assert all(p.requires_grad for network in networks.values() for p in network.parameters())
    with pytest.raises(ValueError, match=r"a phase trains \['painter'\], the system has corr"):
        with trainer.phases("painter"):
            pass
    trainer.close()


def test_a_system_is_found_by_its_name_or_its_class():
    assert find_system("cocosnet") is CoCosNet
    assert find_system("style_vector") is StyleVector
    assert find_system(TOY) is toy_system.Toy
    for wrong, message in {
        "cocosnat": r"must be one of adain, bicyclegan, .* or package\.module:Class",
        "tests.support.toy_system:Boy": "is not there",
        "tests.support.toy_system:Shifter": "must be a subclass",
    }.items():
        with pytest.raises(ValueError, match=message):
            find_system(wrong)


def test_settings_belong_to_the_system_and_null_takes_one_back(tmp_path: Path):
    with pytest.raises(ValueError, match=r"unknown setting losses\.cycle"):
        config(tmp_path, "style_vector", "--losses.cycle=1")
    with pytest.raises(ValueError, match=r"unknown setting networks\.correspondence"):
        config(tmp_path, "style_vector", "--networks.correspondence={}")
    taken_back = ["--losses.cycle=null", "--networks.correspondence=null"]
    config(tmp_path, "style_vector", *taken_back)
    assert config(tmp_path, "cocosnet", "--losses.domain_alignment=null").losses == (
        CoCosNetLosses(**SETTINGS["losses"])
    )


RECIPES = [
    path
    for path in sorted(CONFIGS.glob("*.yaml"))
    if "Blending" not in path.read_text() and "\nsystem: " not in path.read_text()
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_layer_of_the_style_vector_turns_a_recipe_into_the_baseline(recipe: Path):
    plain = load_config(recipe)
    chosen = load_config([recipe, CONFIGS / "layers/style-vector.yaml"])
    assert chosen.system == "style_vector"
    assert chosen.losses.adversarial == plain.losses.adversarial
    assert chosen.data == plain.data and chosen.schedule == plain.schedule


def test_the_translation_network_of_the_baseline_reads_the_style_beside_the_condition():
    recipes = [CONFIGS / "edge-to-face-128.yaml", CONFIGS / "layers/style-vector.yaml"]
    system = build_system(load_config(recipes))
    assert isinstance(system, StyleVector)
    channels = system.networks["translation"].config.condition_channels
    assert channels == system.condition.channels + 16 - 3
