"""The recipes of the systems beside CoCosNet: small on drawn scenes, and at the papers' sizes."""

from pathlib import Path

import pytest
import torch
import yaml

from cocosnet_hf import open_model
from cocosnet_hf.synthetic import SyntheticExamples
from cocosnet_hf.systems import Batch
from tests.support.paths import CONFIGS
from train.config import load_config
from train.machine import make_optimizer
from train.networks import build_system
from train.stages import load_stages
from train.train import train

FROM = {
    "adain": "facades",
    "bicyclegan": "facades",
    "cogan": "facades",
    "contextual": "facades",
    "cyclegan": "facades",
    "discogan": "facades",
    "egsc-it": "celebahq",
    "fader": "fader",
    "gcgan": "facades",
    "munit": "facades",
    "sims": "facades",
    "stargan-v2": "stargan-v2",
    "unit": "facades",
}
DECAYED = {"cogan": 5e-4, "discogan": 1e-5, "munit": 1e-4, "stargan-v2": 1e-4, "unit": 1e-4}
AVERAGED = {"stargan-v2": 0.999}
WEIGHTS = {
    "adain": {"encoder": 20.0, "decoder": 3.5},
    "bicyclegan": {"generator": 54.8, "encoder": 2.6, "random_critic": 3.5},
    "cogan": {"generator": 12.9, "critic": 14.9},
    "contextual": {"generator": 24.3},
    "cyclegan": {"photo_generator": 11.4, "photo_critic": 2.8},
    "discogan": {"photo_generator": 5.5, "photo_critic": 2.8},
    "fader": {"encoder": 7.0, "decoder": 7.0, "critic": 8.7},
    "gcgan": {"generator": 11.4, "photo_critic": 2.8, "turned_critic": 2.8},
    "egsc-it": {"photo_autoencoder": 10.2, "photo_decoder": 3.9, "photo_critic": 2.8},
    "stargan-v2": {"generator": 33.9, "mapping": 3.3, "style_encoder": 20.9, "critic": 20.9},
    "unit": {"photo_encoder": 3.9, "shared": 2.4, "photo_decoder": 3.9, "photo_critic": 25.1},
    "sims": {"transformation": 14.7, "ordering": 15.3, "synthesis": 57.4},
    "munit": {"photo_content": 5.4, "photo_style": 2.8, "photo_decoder": 6.9, "photo_critic": 8.3},
}
"""Millions of weights of some networks at the paper's size."""


@pytest.mark.parametrize("name", FROM)
def test_a_layer_is_the_system_at_the_papers_size_on_the_data_of_a_recipe(name: str):
    recipe, layer = CONFIGS / f"{FROM[name]}.yaml", CONFIGS / f"layers/{name}.yaml"
    for stage in load_stages([recipe, layer]):
        chosen, plain = stage.config, load_config(recipe)
        assert chosen.system == name and chosen.ema == AVERAGED.get(name, 0)
        assert not chosen.diff_augment and not chosen.perceptual_shift
        assert chosen.data.condition_column == plain.data.condition_column
        assert chosen.losses == type(chosen.losses)()
        assert chosen.networks.make_condition() == plain.networks.make_condition()
    with torch.device("meta"), torch.no_grad():
        system = build_system(load_config([recipe, layer]))
        networks, side = system.networks, chosen.data.image_size
        if name not in ("sims", "cogan"):  # which look at labels, and for the nearest pair
            picture = torch.zeros(2, 3, side, side)
            asked = torch.zeros(2, system.condition.channels, side, side)
            given = Batch(picture, asked, picture, None, torch.zeros(2))
            assert system.generate(networks, given).image.shape == picture.shape
        elif name == "cogan":
            pair = networks["generator"](torch.zeros(2, 100))
            assert [one.shape for one in pair] == [(2, 3, side, side)] * 2
            assert networks["critic"](*pair)[0].shape == (2, 1)
        else:
            wide, classes = chosen.data.image_width, system.condition.channels
            layout, filled = (torch.zeros(2, count, side, wide) for count in (classes, 1))
            canvas = torch.zeros(2, 3, side, wide)
            moved = networks["transformation"](torch.cat([canvas, filled], dim=1), layout)
            assert moved.shape == (2, 4, side, wide)
            assert networks["ordering"](canvas, canvas).shape == (2, classes)
            image, scores = networks["synthesis"](layout, canvas, filled)
            assert image.shape == canvas.shape and scores.shape == layout.shape
    counts = {key: sum(p.numel() for p in networks[key].parameters()) for key in WEIGHTS[name]}
    assert {key: round(count / 1e6, 1) for key, count in counts.items()} == WEIGHTS[name]


@pytest.mark.parametrize("name", [name for name, own in FROM.items() if own != name])
def test_a_layer_takes_back_what_belongs_to_a_recipes_own_system(name: str):
    for recipe in ("edge-to-face", "mask-to-image", "ade20k"):
        for stage in load_stages([CONFIGS / f"{recipe}.yaml", CONFIGS / f"layers/{name}.yaml"]):
            assert stage.config.losses == type(stage.config.losses)(), recipe


@pytest.mark.parametrize("name", FROM)
def test_a_small_recipe_makes_a_system_that_steps_fit(name: str):
    stages = load_stages(CONFIGS / f"{name}.yaml")
    assert len(stages) == {"egsc-it": 2, "sims": 3}.get(name, 1)
    for stage in stages:
        assert stage.config.system == name
    config = load_config(CONFIGS / f"{name}.yaml")
    system = build_system(config)
    pipe = system.pipeline({key: system.networks[key] for key in system.averaged})
    assert config.data.image_size % pipe.stride == 0
    optimizer, _ = make_optimizer(config, system, system.averaged[0])
    assert optimizer.defaults["weight_decay"] == DECAYED.get(name, 0)
    picture = torch.zeros(2, 3, config.data.image_size, config.data.image_size)
    with torch.no_grad():
        for key in set(system.critics) - {"critic"}:  # of pairs, which has a form of its own
            scales = system.networks[key](picture[:, :0], picture)
            assert all(scale[-1].shape[:2] == (2, 1) for scale in scales)


@pytest.mark.usefixtures("fresh_process")
def test_two_folders_of_pictures_are_all_that_a_system_without_pairs_needs(tmp_path: Path):
    examples = SyntheticExamples(image_size=32, length=5)
    for name, column in {"pictures": "labels", "photos": "image"}.items():
        for split, count in {"train": 4 if name == "photos" else 3, "validation": 2}.items():
            folder = tmp_path / name / split
            folder.mkdir(parents=True)
            for number in range(count):
                examples[number][column].convert("RGB").save(folder / f"{number}.png")
    names = ("cyclegan", "layers/cyclegan", "layers/two-folders")
    small = {
        "generator": {"base_channels": 4, "blocks": 1},
        "critic": {"base_channels": 4, "halvings": 1},
    }
    networks = {
        f"{domain}_{part}": own for part, own in small.items() for domain in ("condition", "photo")
    }
    settings = {
        "output_dir": str(tmp_path / "run"),
        "data": {
            "source": str(tmp_path / "photos"),
            "condition_source": str(tmp_path / "pictures"),
            "image_size": 32,
            "load_size": 36,
            "workers": 0,
        },
        "networks": networks,
        "schedule": {"unit": "step", "constant": 2, "decay": 0},
        "output": {"validate_every": 2, "validation_batches": 1, "check_rows": 2},
    }
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump(settings))
    pipeline = train(load_config([*(CONFIGS / f"{name}.yaml" for name in names), own]))
    pipe = open_model(str(pipeline))
    (picture,) = pipe(str(tmp_path / "pictures/train/0.png")).images
    assert picture.size == (32, 32)
