"""The official recipes: each loads a folder as its head describes it, and trains on it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from cocosnet_hf import CoCosPipeline, DistilledVGG19Features
from cocosnet_hf.presets import preset
from cocosnet_hf.synthetic import SyntheticExamples
from tests.support import tiny
from tests.support.paths import CONFIGS
from train.config import TrainConfig, load_config
from train.train import train

pytest.importorskip("datasets")
pytestmark = pytest.mark.usefixtures("fresh_process")

SIDE = 48

TINY = {
    "data": {"image_size": 32, "load_size": 36, "batch_size": 2, "workers": 0},
    "networks": tiny.NETWORK_SETTINGS,
    "perceptual": {"network": "vgg19-distilled"},
    "schedule": {"constant": 1, "decay": 0},
}


def labels_of(name: str, rng: np.random.Generator) -> Image.Image:
    """Blocks of the highest classes of a recipe's label maps, the unknown and the lowest."""
    classes = {"ade20k": [0, 1, 150], "celebahq": [0, 2, 16, 18], "celebahq-edge": [0, 1, 3, 13]}
    blocks = rng.choice(classes[name], (SIDE // 12, SIDE // 12))
    blocks[0, 0] = classes[name][1]
    return Image.fromarray(np.kron(blocks, np.ones((12, 12))).astype(np.uint8))


def write_set(name: str, root: Path) -> None:
    """Two training and two validation photos, as the head of the recipe says."""
    rng = np.random.default_rng(0)
    for split, numbers in (("train", (0, 1)), ("validation", (2, 3))):
        (root / split).mkdir(parents=True)
        lines = []
        for number in numbers:
            row: dict[str, Any] = {"file_name": f"{number}.jpg"}
            photo = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(photo).save(root / split / f"{number}.jpg")
            if name == "deepfashion":
                joints = SyntheticExamples("pose", SIDE)[number]["condition"].joints
                row["keypoints"] = (joints * (SIDE / 128, SIDE / 128, 1)).round(1).tolist()
                row["keypoints"][-1] = [0, 0, 0]
            else:
                column = "parts" if name == "celebahq-edge" else "label"
                row[f"{column}_file_name"] = f"{number}_{column}.png"
                labels_of(name, rng).save(root / split / row[f"{column}_file_name"])
            lines.append(json.dumps(row))
        (root / split / "metadata.jsonl").write_text("\n".join(lines))
    if name == "deepfashion":
        lists = {
            "deepfashion_self_pair": "0.jpg,1.jpg",
            "deepfashion_self_pair_test": "2.jpg,3.jpg",
        }
    else:
        start = name.removesuffix("-edge")
        lists = {
            f"{start}_ref": "0.jpg,1.jpg\n1.jpg,0.jpg",
            f"{start}_ref_test": "2.jpg,0.jpg,1.jpg",
        }
    for stem, lines in lists.items():
        (root / f"{stem}.txt").write_text(lines + "\n")


def recipe(name: str, folder: Path, *overrides: str) -> TrainConfig:
    """The recipe on a made-up set, a few channels wide and with random perceptual weights."""
    write_set(name, folder / "set")
    torch.manual_seed(0)
    save_file(DistilledVGG19Features().state_dict(), folder / "distilled.safetensors")
    layer = folder / "tiny.yaml"
    layer.write_text(yaml.safe_dump(TINY))
    paths = [
        f"--data.source={folder / 'set'}",
        f"--data.cache_dir={folder / 'cache'}",
        f"--output_dir={folder / 'run'}",
        f"--perceptual.source={folder / 'distilled.safetensors'}",
    ]
    return load_config([CONFIGS / f"{name}.yaml", layer], [*paths, *overrides])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ade20k", "celebahq", "celebahq-edge", "deepfashion"])
def test_an_official_recipe_trains_on_a_folder_as_it_describes(name: str, tmp_path: Path):
    config = recipe(name, tmp_path, "--output.log_every=1")
    pipe = CoCosPipeline.from_pretrained(train(config))
    assert pipe.condition == preset(name).condition
    logged = Path(config.output_dir, "metrics.jsonl").read_text()
    weights = {key: value for key, value in vars(config.losses).items() if value}
    assert weights.keys() >= {"pseudo_exemplar", "perceptual", "contextual"}
    for term in weights:
        assert f'"generator/{term}":' in logged


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("ade20k", ["--data.retrieve=true"]),
        (
            "ade20k",
            [
                "--data.retrieve=true",
                "--networks.task=ade20k-noise",
                "--system_options.mask_warmup=1",
            ],
        ),
        ("celebahq", ["--data.retrieve=true"]),
        ("celebahq-edge", ["--data.retrieve=true"]),
        ("deepfashion", ["--data.same_look=false"]),
    ],
)
def test_what_a_recipe_says_for_sets_without_lists_works(
    name: str, overrides: list[str], tmp_path: Path
):
    without = ["--data.exemplar_list=null", "--data.validation_exemplar_list=null"]
    config = recipe(name, tmp_path, "--schedule.constant=2", *overrides, *without)
    CoCosPipeline.from_pretrained(train(config))


def test_without_perceptual_weights_the_error_names_three_ways_out_and_a_layer_is_one():
    chosen = load_config(CONFIGS / "edge-to-face.yaml", ["--perceptual.source=not-there"])
    with pytest.raises(FileNotFoundError, match="convert --perceptual.*network=vgg19.*no-percept"):
        chosen.perceptual.load()
    layer = CONFIGS / "layers/no-perceptual.yaml"
    judged = "--networks.discriminator.backbones=[efficientnet-lite0]"
    for name, overrides in (("edge-to-face", [judged]), ("facades", []), ("edge-to-face-128", [])):
        losses = load_config([CONFIGS / f"{name}.yaml", layer], overrides).losses
        assert not losses.need_perceptual_network
