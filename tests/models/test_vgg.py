"""VGG19's features and their weights' files."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cocosnet_hf import VGG19Features
from tests.support.networks import assert_equal_states
from tests.support.tensors import normal

VGG19 = [64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"]


@pytest.fixture(scope="module")
def plain_vgg() -> nn.Sequential:
    """Configuration E of Simonyan and Zisserman, numbered as in torchvision and timm."""
    torch.manual_seed(0)
    layers, channels = [], 3
    for width in VGG19:
        if width == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def timm_file(plain_vgg: nn.Sequential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = {f"features.{key}": tensor for key, tensor in plain_vgg.state_dict().items()}
    file = tmp_path_factory.mktemp("timm") / "model.safetensors"
    save_file(state | {"head.fc.weight": torch.zeros(10, 4)}, file)
    return file


@pytest.fixture(scope="module")
def vgg(timm_file: Path) -> VGG19Features:
    return VGG19Features.from_timm(timm_file)


RELUS = {"relu1_1": 2, "relu1_2": 4, "relu2_2": 9, "relu3_2": 14, "relu4_2": 23, "relu5_4": 36}


@torch.no_grad()
def test_vgg_features_are_those_after_the_named_relus(vgg: VGG19Features, plain_vgg: nn.Sequential):
    images = normal(2, 3, 32, 48).clamp(-1, 1)
    features = vgg(images, RELUS)
    assert list(features) == list(RELUS)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    x = ((images + 1) / 2 - mean) / std
    for name, depth in RELUS.items():
        torch.testing.assert_close(features[name], plain_vgg[:depth](x), atol=1e-5, rtol=1e-4)
    assert features["relu3_2"].shape == (2, 256, 8, 12)


def test_vgg_weights_from_timm_are_frozen_while_the_gradient_reaches_the_image(vgg: VGG19Features):
    assert not any(parameter.requires_grad for parameter in vgg.parameters())
    image = normal(1, 3, 16, 16).requires_grad_()
    vgg(image, ["relu2_2"])["relu2_2"].sum().backward()
    assert image.grad.any()


def test_vgg_stops_after_the_last_wanted_layer(vgg: VGG19Features):
    def fail(*_: Any) -> None:
        raise AssertionError("this layer is not wanted")

    handle = vgg.conv3_1.register_forward_pre_hook(fail)
    vgg(normal(1, 3, 16, 16), ["relu2_2", "relu1_1"])
    handle.remove()


def test_caffe_weights_get_bgr_less_the_mean_colour_in_0_to_255():
    with torch.device("meta"):
        network = VGG19Features("caffe")
    white = network.preprocess(torch.ones(1, 3, 1, 1)).flatten()
    red = network.preprocess(torch.tensor([1.0, -1, -1]).view(1, 3, 1, 1)).flatten()
    mean = torch.tensor([103.939, 116.779, 123.68])  # blue, green, red
    torch.testing.assert_close(white, 255 - mean, atol=1e-3, rtol=0)
    torch.testing.assert_close(red, torch.tensor([0.0, 0, 255]) - mean, atol=1e-3, rtol=0)


def test_unknown_vgg_layers_and_preprocessing_are_refused(vgg: VGG19Features):
    with pytest.raises(ValueError, match=r"unknown layers \['relu3_5'\]; .* relu1_1 to relu5_4"):
        vgg(normal(1, 3, 16, 16), ["relu1_1", "relu3_5"])
    with pytest.raises(ValueError, match=r"images must have the shape \(B, 3, H, W\)"):
        vgg(normal(1, 1, 16, 16))
    with pytest.raises(ValueError, match='"caffe" or "torchvision", got \'keras\''):
        VGG19Features("keras")


def test_a_file_that_is_no_vgg19_is_refused(tmp_path: Path):
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="lacks features.0.bias, "):
        VGG19Features.from_timm(tmp_path / "model.safetensors")


def test_vgg_is_saved_and_loaded_with_its_preprocessing(vgg: VGG19Features, tmp_path: Path):
    vgg.save_pretrained(tmp_path)
    loaded = VGG19Features.from_pretrained(tmp_path)
    assert loaded.config.preprocessing == "torchvision"
    assert_equal_states(loaded, vgg)
