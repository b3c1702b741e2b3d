"""The parts of the trainer: configuration, averages, augmentation, checkpoints, recomputation."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import yaml
from disk import full_disk
from torch import nn

from cocosnet_hf import CoCosPipeline, MaskCondition
from cocosnet_hf.bundled import locate
from cocosnet_hf.datasets import DataSettings
from train.augment import diff_augment
from train.checkpoints import (
    complete_folder,
    find_checkpoint,
    flatten,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from train.config import LossWeights, ScheduleConfig, TrainConfig, load_config, to_dict
from train.ema import ModuleEMA
from train.networks import Networks, export_pipeline
from train.recompute import recompute_activations

CONFIGS = Path(__file__).parent.parent / "train/configs"
RECIPES = sorted(CONFIGS.glob("*.yaml"))
DATA = DataSettings(image_size=32, load_size=32)
LAYERS = sorted((CONFIGS / "layers").glob("*.yaml"))


def write_config(folder: Path, **settings: Any) -> Path:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({"output_dir": "out"} | settings))
    return path


# Configuration -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_can_be_read_and_survives_being_written_again(path: Path, tmp_path: Path):
    config = load_config(path)
    again = write_config(tmp_path, **json.loads(json.dumps(to_dict(config))))
    assert load_config(again) == config


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_run_of_every_recipe_can_be_resumed(path: Path, tmp_path: Path):
    config = to_dict(load_config(path))
    checkpoint = save_checkpoint(tmp_path, 3, {"weights": 1}, config, keep=1)
    assert load_checkpoint(checkpoint, config, ()) == (3, {"weights": 1})


def test_the_command_line_goes_before_the_file(tmp_path: Path):
    path = write_config(tmp_path, data={"batch_size": 2}, seed=1)
    config = load_config(path, ["--data.batch_size=7", "--optimizer.generator_rate=1e-3"])
    assert (config.data.batch_size, config.seed) == (7, 1)
    assert config.optimizer.generator_rate == 1e-3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--data.batchsize=4", "unknown setting data.batchsize; did you mean data.batch_size"),
        ("--optimiser.betas=[0, 0]", "did you mean optimizer"),
        ("--networks.correspondence.temprature=1", "networks.correspondence.temperature"),
        ("--data.batch_size=four", "data.batch_size must be int, got 'four'"),
        ("--optimizer.betas=[0.5]", "optimizer.betas must be a list of 2"),
        ("--speed.mixed_precision=fp8", "must be one of no, bf16, fp16"),
        ("--data=3", "data must be a group"),
        ("--output_dir.name=x", "output_dir is a value, not a group"),
        ("--losses.adversarial=0", "feature_matching needs a discriminator"),
        (
            "--losses={adversarial: 0, feature_matching: 0, pseudo_exemplar: 0, perceptual: 0, "
            "contextual: 0, domain_alignment: 0}",
            "every weight of losses is 0",
        ),
        ("--speed={compile: true, gradient_checkpointing: true}", "exclude each other"),
        ("--speed.accumulation=0", "speed.accumulation must be at least 1, got 0"),
        ("--schedule={constant: 0, decay: 0}", "nothing is trained"),
        ("--schedule.constant=-5", "schedule.constant must be at least 0, got -5"),
        ("--optimizer.max_grad_norm=0", "optimizer.max_grad_norm must be above 0, got 0"),
        ("--optimizer.generator_rate=-1", "optimizer.generator_rate must be at least 0"),
        ("--losses.cycle=-1", "losses.cycle must be at least 0, got -1"),
        ("--ema=1.5", "ema must be in 0..1, below 1, got 1.5"),
        ("--output.keep=-1", "output.keep must be at least 1, got -1"),
        ("--output.validation_batches=0", "output.validation_batches must be at least 1"),
        ("--output.grid_every=-1", "output.grid_every must be at least 0, got -1"),
        ("--data.validation_split=train[90%:]", "share photos.*train[:95%] and"),
        ("--data.validation_split=train", "share photos.*output.validate_every=0"),
        ("--data.split=train+validation", "share photos.*name another split"),
        ("seed=3", "must look like"),
        ("--seed", "must look like"),
    ],
)
def test_a_mistaken_setting_is_an_error_that_names_the_remedy(
    override: str, message: str, tmp_path: Path
):
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        load_config(write_config(tmp_path), [override])


def test_one_folder_written_in_two_ways_is_one_source(tmp_path: Path):
    (tmp_path / "set").mkdir()
    sources = {"source": str(tmp_path / "set"), "validation_source": f"{tmp_path}/./set"}
    with pytest.raises(ValueError, match="share photos"):
        load_config(write_config(tmp_path, data=sources | {"validation_split": "train"}))


@pytest.mark.parametrize(
    "setting",
    ["output.validate_every=0", "data.validation_source=elsewhere", "data.split=train[:90%]"],
)
def test_held_out_photos_may_share_a_split_by_name_alone(setting: str, tmp_path: Path):
    config = load_config(
        write_config(tmp_path), ["--data.validation_split=train[90%:]", f"--{setting}"]
    )
    assert config.data.validation_split == "train[90%:]"


def test_each_config_changes_what_those_before_it_set(tmp_path: Path):
    first = write_config(tmp_path, data={"batch_size": 2, "flip": 0.1}, seed=1)
    second = tmp_path / "layer.yaml"
    second.write_text("data: {batch_size: 3, exemplar_list: null}\nspeed: {compile: true}")
    config = load_config([first, second], ["--data.flip=0.2"])
    assert (config.data.batch_size, config.data.flip, config.seed) == (3, 0.2, 1)
    assert config.speed.compile
    assert load_config([second, first]).data.batch_size == 2


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda path: path.stem)
def test_every_layer_goes_on_top_of_every_recipe(layer: Path, recipe: Path):
    config, chosen = load_config([recipe, layer]), yaml.safe_load(layer.read_text())
    assert flatten(to_dict(config)).items() >= flatten(chosen).items()
    assert config.networks == load_config(recipe).networks


def test_a_file_that_is_not_yaml_is_an_error_that_names_it(tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_text("data: {batch_size: 3")
    with pytest.raises(ValueError, match=r"run\.yaml is not valid YAML"):
        load_config(path)
    with pytest.raises(ValueError, match="--data.split={ is not valid YAML"):
        load_config(write_config(tmp_path), ["--data.split={"])


def test_a_setting_without_default_is_asked_for(tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_text("seed: 1")
    with pytest.raises(ValueError, match="output_dir is missing"):
        load_config(path)


def test_a_task_brings_its_condition_and_network_settings(tmp_path: Path):
    path = write_config(tmp_path, networks={"task": "celebahq-edge"})
    networks = load_config(path, ["--networks.correspondence.base_channels=8"]).networks
    assert networks.make_condition().type == "celebahq-edge"
    assert networks.correspondence_arguments() == {
        "adaptor_kernel_size": 4,
        "warp_upsampling": "bilinear",
        "base_channels": 8,
    }


def test_a_run_without_a_condition_is_an_error(tmp_path: Path):
    with pytest.raises(ValueError, match="networks.task or networks.condition"):
        load_config(write_config(tmp_path)).networks.make_condition()


def test_the_rate_falls_linearly_after_the_constant_part():
    schedule = ScheduleConfig(unit="epoch", constant=2, decay=4)
    assert [schedule.rate(unit) for unit in range(schedule.total)] == [1, 1, 1, 0.75, 0.5, 0.25]


TERMS = {item.name for item in dataclasses.fields(LossWeights)}


@pytest.mark.parametrize("name", sorted(TERMS - {"feature_matching"}))  # never without adversarial
def test_only_terms_of_the_matching_need_no_picture(name: str):
    weights = LossWeights(**dict.fromkeys(TERMS, 0.0) | {name: 1.0})
    of_matching = name in (
        "domain_alignment",
        "cycle",
        "self_warp",
        "warped_mask",
        "known_flow",
        "region_flow",
    )
    assert weights.need_picture != of_matching


# Networks ----------------------------------------------------------------------------------------


def test_a_run_that_starts_from_a_pipeline_trains_all_three_networks(tmp_path: Path):
    made = [tiny.correspondence(), tiny.translation(), tiny.discriminator()]
    export_pipeline(Networks(MaskCondition.from_names(["a", "b"]), *made), DATA, tmp_path / "made")
    chosen = load_config(write_config(tmp_path), [f"--networks.init_from={tmp_path / 'made'}"])
    loaded = Networks.build(chosen).modules()
    for network, other in zip(made, loaded.values(), strict=True):
        assert other.training
        for key, value in network.state_dict().items():
            assert torch.equal(other.state_dict()[key], value)


def test_a_run_starts_from_a_bundled_pipeline_by_its_name():
    chosen = load_config(CONFIGS / "edge-to-face.yaml", ["--networks.init_from=edge-to-face"])
    networks = Networks.build(chosen)
    source, variant = locate("edge-to-face")
    expected = CoCosPipeline.from_pretrained(source, variant=variant).translation.state_dict()
    found = networks.translation.state_dict()
    assert networks.translation.training
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == torch.float32
        assert torch.equal(found[key], value)


def saved_for_masks(folder: Path) -> CoCosPipeline:
    pipe = tiny.pipeline(MaskCondition.from_names(["a", "b"]), mix_condition=False)
    pipe.save_pretrained(folder)
    return pipe


def transfer_config(folder: Path, **translation: Any) -> TrainConfig:
    networks = {
        "transfer_from": str(folder / "masks"),
        "condition": {"type": "pose"},
        "correspondence": {
            "base_channels": 4,
            "feature_channels": 8,
            "spade_channels": 6,
            "num_adaptor_blocks": 2,
            "num_residual_blocks": 1,
            "mix_condition": False,
        },
        "translation": {"channels": [12, 10, 8, 6], "spade_channels": 6} | translation,
    }
    return load_config(write_config(folder, networks=networks))


def test_weights_transferred_to_another_condition_paint_and_look_as_before(tmp_path: Path):
    source = saved_for_masks(tmp_path / "masks")
    networks = Networks.build(transfer_config(tmp_path))
    warped, exemplar = torch.rand(2, 1, 3, 32, 32)
    pose = torch.rand(1, networks.condition.channels, 32, 32)
    painted = networks.translation.eval()(warped, pose)
    torch.testing.assert_close(painted, source.translation(warped, torch.zeros(1, 2, 32, 32)))
    adaptor, other = (
        networks.correspondence.exemplar_adaptor,
        source.correspondence.exemplar_adaptor,
    )
    torch.testing.assert_close(adaptor.eval()(exemplar), other(exemplar))


def test_a_transfer_between_unlike_networks_is_an_error_that_names_the_layers(tmp_path: Path):
    saved_for_masks(tmp_path / "masks")
    with pytest.raises(ValueError, match=r"translation: its networks have other settings.*blocks"):
        Networks.build(transfer_config(tmp_path, channels=[12, 10, 8, 8]))
    with pytest.raises(ValueError, match="give one of them"):
        load_config(write_config(tmp_path, networks={"init_from": "a", "transfer_from": "b"}))


# Averages ----------------------------------------------------------------------------------------


def test_the_average_converges_to_a_network_that_stands_still():
    network = nn.Linear(2, 2)
    average = ModuleEMA(copy.deepcopy(network), decay=0.5)
    with torch.no_grad():
        network.weight.add_(1)
    for _ in range(60):
        average.step(network)
    torch.testing.assert_close(average.module.weight, network.weight)


def test_the_first_average_step_is_short():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = ModuleEMA(network, decay=0.999)
    nn.init.ones_(network.weight)
    average.step(network)
    assert average.module.weight.item() == pytest.approx(1 - 2 / 11)


def test_the_average_takes_over_the_spectral_norms_vectors():
    network = tiny.discriminator()
    average = ModuleEMA(network, decay=0.9)
    network.train()(torch.rand(1, 2, 48, 48), torch.rand(1, 3, 48, 48))
    average.step(network)
    for ours, theirs in zip(average.module.buffers(), network.buffers(), strict=True):
        assert torch.equal(ours, theirs)


# Augmentation ------------------------------------------------------------------------------------


def test_equal_pictures_are_augmented_alike_and_the_inputs_stay():
    torch.manual_seed(0)
    condition, image = torch.rand(3, 2, 16, 24), torch.rand(3, 3, 16, 24)
    before = image.clone()
    _, first, second = diff_augment(condition, image, image.clone())
    assert torch.equal(first, second)
    assert torch.equal(image, before)
    assert not torch.equal(first, image)


def test_the_condition_is_moved_with_its_picture():
    torch.manual_seed(0)
    places = torch.rand(4, 1, 16, 16) + 1
    condition, image = diff_augment(places, places.expand(-1, 3, -1, -1))
    assert torch.equal(condition[:, 0] == 0, image.abs().sum(1) == 0)
    kept = condition[condition > 0]
    assert 0.3 < len(kept) / condition.numel() < 1
    assert torch.isin(kept, places).all()


def test_augmentation_passes_gradients_on():
    image = torch.rand(2, 3, 16, 16, requires_grad=True)
    diff_augment(torch.rand(2, 1, 16, 16), image)[1].sum().backward()
    assert image.grad.abs().sum() > 0


# Checkpoints -------------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_and_old_ones_go(tmp_path: Path):
    config = {"seed": 1, "output": {"keep": 2}}
    for step in (1, 2, 30):
        save_checkpoint(tmp_path, step, {"weight": torch.tensor(step)}, config, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "checkpoint-00000002",
        "checkpoint-00000030",
    ]
    step, state = load_checkpoint(find_checkpoint(tmp_path, "latest"), config, ())
    assert (step, state["weight"].item()) == (30, 30)


def test_a_half_written_checkpoint_is_never_picked_up(tmp_path: Path):
    save_checkpoint(tmp_path, 1, {}, {}, keep=3)
    with pytest.raises(KeyboardInterrupt):
        with complete_folder(tmp_path / "checkpoint-00000002") as folder:
            (folder / "state.pt").write_bytes(b"half")
            assert find_checkpoint(tmp_path, "latest").name == "checkpoint-00000001"
            raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000001"]


def test_what_a_killed_process_left_behind_is_overwritten(tmp_path: Path):
    (tmp_path / ".checkpoint-00000001.writing").mkdir()
    (tmp_path / ".checkpoint-00000001.writing" / "junk").touch()
    path = save_checkpoint(tmp_path, 1, {}, {}, keep=1)
    assert sorted(item.name for item in path.iterdir()) == ["run.json", "state.pt"]


def test_a_full_disk_keeps_what_was_saved_and_names_the_remedy(tmp_path: Path):
    save_checkpoint(tmp_path, 1, {}, {}, keep=1)
    large = {"weight": torch.rand(100_000)}
    with full_disk(), pytest.raises(OSError, match="free some space.*--resume latest"):
        save_checkpoint(tmp_path, 2, large, {}, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000001"]


def test_a_full_disk_leaves_the_pipeline_that_was_exported_before(tmp_path: Path):
    networks = Networks(
        MaskCondition.from_names(["a", "b"]),
        tiny.correspondence(),
        tiny.translation(),
        tiny.discriminator(),
    )
    target = tmp_path / "best"
    export_pipeline(networks, DATA, target)
    before = sorted(path.stat().st_mtime_ns for path in target.rglob("*"))
    with full_disk(10_000), pytest.raises(OSError, match=r"could not write .*best: .*free some"):
        export_pipeline(networks, DATA, target)
    assert sorted(path.stat().st_mtime_ns for path in target.rglob("*")) == before


def test_a_run_with_other_settings_is_not_resumed(tmp_path: Path):
    path = save_checkpoint(tmp_path, 1, {}, {"ema": 0.9, "output": {"keep": 2}}, keep=1)
    now = {"ema": 0.99, "output": {"keep": 5}}
    with pytest.raises(ValueError, match="ema was 0.9"):
        load_checkpoint(path, now, ("output.",))
    assert load_checkpoint(path, now, ("output.", "ema"))[0] == 1
    assert load_checkpoint(path, now | {"processes": 1}, ("output.", "ema"))[0] == 1


def test_going_on_before_newer_checkpoints_is_refused(tmp_path: Path):
    paths = [save_checkpoint(tmp_path, step, {}, {}, keep=3) for step in (2, 4)]
    assert find_checkpoint(tmp_path, str(paths[1])) == paths[1]
    with pytest.raises(FileExistsError, match="newer checkpoints, up to checkpoint-00000004"):
        find_checkpoint(tmp_path, str(paths[0]))
    assert find_checkpoint(tmp_path / "other", str(paths[0])) == paths[0]


def test_a_path_without_checkpoint_is_refused(tmp_path: Path):
    assert find_checkpoint(tmp_path, "latest") is None
    with pytest.raises(FileNotFoundError, match="is no checkpoint"):
        find_checkpoint(tmp_path, str(tmp_path / "elsewhere"))


# Gradient checkpointing --------------------------------------------------------------------------


@pytest.mark.parametrize("make", [tiny.correspondence, tiny.translation, tiny.discriminator])
def test_recomputed_activations_change_neither_gradients_nor_spectral_norm(make: Any):
    plain = make().train()
    sparing = copy.deepcopy(plain)
    recompute_activations(sparing)
    torch.manual_seed(0)
    condition = torch.rand(1, 2, 48, 48)
    pictures = [torch.rand(1, 3, 48, 48), torch.rand(1, 3, 48, 48)]
    for network in (plain, sparing):
        # Twice before the backward pass, with the vectors moved on in between.
        total = 0.0
        for picture in pictures:
            for output in run(network, picture, condition):
                total = total + output.square().mean()
        total.backward()
    for name, parameter in plain.named_parameters():
        other = sparing.get_parameter(name)
        if parameter.grad is not None:
            torch.testing.assert_close(other.grad, parameter.grad, rtol=1e-5, atol=1e-8)
    for ours, theirs in zip(plain.buffers(), sparing.buffers(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.slow
def test_a_compiled_network_trains_as_it_does_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    plain = tiny.translation(channels=(8, 8, 8)).train()
    compiled = copy.deepcopy(plain)
    compiled.compile()
    torch.manual_seed(0)
    picture, condition = torch.rand(1, 3, 32, 32), torch.rand(1, 2, 32, 32)
    for network in (plain, compiled):
        # Each pass moves the spectral norms on.
        for _ in range(2):
            network(picture, condition).square().mean().backward()
    for parameter, other in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(other.grad, parameter.grad, rtol=1e-3, atol=1e-6)
    for ours, theirs in zip(plain.buffers(), compiled.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def run(network: nn.Module, picture: torch.Tensor, condition: torch.Tensor) -> list[torch.Tensor]:
    name = type(network).__name__
    if name == "CorrespondenceNetwork":
        found = network(condition, picture, condition, picture)
        return [found.content, found.style, found.target_features]
    if name == "TranslationNetwork":
        return [network(picture, condition)]
    return [layer for scale in network(condition, picture) for layer in scale]


def test_the_defaults_are_a_valid_run():
    assert TrainConfig(output_dir="out").data.batch_size > 0
