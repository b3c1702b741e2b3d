"""Settings of a run: recipes, layers, command line, mistakes."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

import pytest
import yaml

from cocosnet_hf import settings_file
from cocosnet_hf.systems import CoCosNetLosses
from tests.support.paths import CONFIGS
from tests.support.training import write_config
from train.checkpoints import flatten, load_checkpoint, save_checkpoint
from train.config import ScheduleConfig, TrainConfig, load_config, to_dict

RECIPES = sorted(CONFIGS.glob("*.yaml"))
LAYERS = sorted((CONFIGS / "layers").glob("*.yaml"))
OURS = [path for path in RECIPES if load_config(path).system == "cocosnet"]
SAME_NETWORKS = [path for path in LAYERS if "networks" not in yaml.safe_load(path.read_text())]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_can_be_read_written_again_and_resumed(path: Path, tmp_path: Path):
    config = load_config(path)
    described = to_dict(config)
    again = write_config(tmp_path, **json.loads(json.dumps(described)))
    assert load_config(again) == config
    checkpoint = save_checkpoint(tmp_path, 3, {"weights": 1}, described, keep=1)
    assert load_checkpoint(checkpoint, described, ()) == (3, {"weights": 1})


def test_the_command_line_goes_before_the_file(tmp_path: Path):
    path = write_config(tmp_path, data={"batch_size": 2}, seed=1)
    config = load_config(path, ["--data.batch_size=7", "--optimizer.generator_lr=1e-3"])
    assert (config.data.batch_size, config.seed) == (7, 1)
    assert config.optimizer.generator_lr == 1e-3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--data.batchsize=4", "unknown setting data.batchsize; did you mean data.batch_size"),
        ("--optimizer.generator_rate=1", r"generator_rate is now called optimizer\.generator_lr"),
        ("--crop=64", r"^crop is now called system_options\.crop"),
        ("--networks.freeze_correspondence=true", r"called system_options\.freeze_correspondence"),
        ("--schedule.mask_warmup=3", r"called system_options\.mask_warmup"),
        ("--system_options.crop=-1", r"system_options\.crop must be at least 0, got -1"),
        ("--losses.known_flow=1", "set data.flow_stride"),
        ("--system_options.flow_jitter=1", "set losses.warp_fidelity"),
        ("--system_options.flow_jitter=-1", "at least 0"),
        (
            "--networks.discriminator={class: ProjectedDiscriminator}",
            r"perceptual\.network is vgg19: set networks\.discriminator\.backbones",
        ),
        ("--batch_size=4", "unknown setting batch_size; did you mean data.batch_size"),
        ("--optimizer.lr=1", r"unknown setting optimizer.lr\. Known are generator_lr"),
        ("--optimiser.betas=[0, 0]", "did you mean optimizer"),
        ("--networks.correspondence.temprature=1", "networks.correspondence.temperature"),
        ("--data.batch_size=four", "data.batch_size must be int, got 'four'"),
        ("--data.batch_size=0", "data.batch_size must be at least 1, got 0"),
        ("--data.workers=-1", "data.workers must be at least 0, got -1"),
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
        ("--optimizer.generator_lr=-1", "optimizer.generator_lr must be at least 0"),
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


@pytest.mark.parametrize("recipe", OURS, ids=lambda path: path.stem)
def test_a_layer_of_the_same_networks_goes_on_top_of_every_recipe(recipe: Path):
    plain, found = load_config(recipe), {}
    for layer in SAME_NETWORKS:
        config, chosen = load_config([recipe, layer]), yaml.safe_load(layer.read_text())
        taken = flatten(to_dict(config)).items() >= flatten(chosen).items()
        found[layer.stem] = taken and config.networks == plain.networks
    assert found and all(found.values()), found


def test_a_file_that_is_not_yaml_is_an_error_that_names_it(tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_text("data: {batch_size: 3")
    with pytest.raises(ValueError, match=r"run\.yaml is not valid YAML"):
        load_config(path)
    with pytest.raises(ValueError, match="--data.split={ is not valid YAML"):
        load_config(write_config(tmp_path), ["--data.split={"])


BOMB = "\n".join(
    ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
)
UNREADABLE = {
    "Latin-1": ("output_dir: bücher".encode("latin-1"), "Save it as plain text in UTF-8"),
    "half of a mark": (b"\xff\xfeo\x00u", "Save it as plain text in UTF-8"),
    "zeros": (b"output_dir: \0", "Save it as plain text in UTF-8"),
    "a picture": (b"\x89PNG\r\n\x1a\n", "Save it as plain text in UTF-8"),
    "open brackets": (b"data: " + b"{" * 5000, "too deep in one another; close each bracket"),
    "closed brackets": (b"data: " + b"[" * 5000 + b"]" * 5000, "too deep in one another"),
    "lists in lists": (b"- " * 5000, "too deep in one another"),
    "itself": (b"data: &data {source: *data}", "where a group in it holds itself"),
    "repetitions": (BOMB.encode(), "more than 100,000 values.*write out what its anchors"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_is_no_text_or_has_no_end_is_an_error_that_names_it(name: str, tmp_path: Path):
    content, message = UNREADABLE[name]
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"(?s)run\.yaml (is not valid YAML:|holds).*{message}"):
        load_config(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_may_be_in_any_encoding_that_tells_itself(encoding: str, tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_bytes("output_dir: bücher".encode(encoding))
    assert load_config(path).output_dir == "bücher"


def test_a_setting_without_default_is_asked_for(tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_text("seed: 1")
    with pytest.raises(ValueError, match="output_dir is missing"):
        load_config(path)


def test_a_task_brings_its_condition_and_network_settings(tmp_path: Path):
    path = write_config(tmp_path, networks={"task": "celebahq-edge"})
    networks = load_config(path, ["--networks.correspondence.base_channels=8"]).networks
    assert networks.make_condition().type == "celebahq-edge"
    assert networks.options["correspondence"] == {
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


TERMS = {item.name for item in dataclasses.fields(CoCosNetLosses)}


@pytest.mark.parametrize("name", sorted(TERMS - {"feature_matching"}))  # never without adversarial
def test_only_terms_of_the_matching_need_no_picture(name: str):
    weights = CoCosNetLosses(**dict.fromkeys(TERMS, 0.0) | {name: 1.0})
    of_matching = name in (
        "domain_alignment",
        "cycle",
        "self_warp",
        "warped_mask",
        "known_flow",
        "region_flow",
    )
    assert weights.need_picture != of_matching


def test_the_defaults_are_a_valid_run():
    assert TrainConfig(output_dir="out").data.batch_size > 0


def test_patience_without_validations_is_an_error(tmp_path: Path):
    overrides = ["--schedule.patience=2", "--output.validate_every=0"]
    with pytest.raises(ValueError, match="schedule.patience counts validations: set output"):
        load_config(write_config(tmp_path), overrides)


@dataclasses.dataclass(frozen=True)
class Old:
    """Settings whose types are written in the older ways."""

    a: Optional[int] = None  # noqa: UP045
    b: int | str = 0
    c: Mapping[int, int] = dataclasses.field(default_factory=dict)


def test_types_are_read_in_every_way_that_python_has_to_write_them():
    read = settings_file.build(Old, {"a": 3, "b": "two", "c": {"1": 2}}, "")
    assert read == Old(3, "two", {1: 2})
    assert settings_file.build(Old, {"a": None, "b": 2}, "") == Old(None, 2)
    with pytest.raises(ValueError, match="a must be int"):
        settings_file.build(Old, {"a": "x"}, "")
