"""Feature networks other than the official one, and what makes loss weights mean the same."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from skimage import data
from torch import Tensor

from cocosnet_hf import DistilledVGG19Features, VGG19Features
from cocosnet_hf.models.perceptual import REFERENCE_CHANGES
from cocosnet_hf.models.vgg import open_perceptual
from tests.support.paths import SHARED_PARITY

WEIGHTS = SHARED_PARITY.parent / "data" / "weights" / "vgg19_distilled16x_relu5_1.safetensors"
THREE_DIGITS = 5e-3


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Seeded weights with the keys of the file, its maps to VGG-19's channels included."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, value in DistilledVGG19Features().state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        state[key] = noise * (2 / noise[0].numel()) ** 0.5 if noise.ndim > 1 else 0.1 * noise
    return state | {"conv1_1_aux.weight": torch.ones(64, 16, 1, 1)}


@pytest.fixture(scope="module")
def file(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("distilled") / "model.safetensors"
    save_file(state, path)
    return path


@pytest.fixture(scope="module")
def network(file: Path) -> DistilledVGG19Features:
    return DistilledVGG19Features.from_file(file)


def pictures(*shape: int) -> Tensor:
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(1)) - 1


def test_the_distilled_features_are_those_of_its_convolutions_with_mirrored_borders(
    network: DistilledVGG19Features, state: dict[str, Tensor]
):
    images = pictures(2, 3, 32, 48)
    x = F.conv2d((images + 1) / 2, state["conv0.weight"], state["conv0.bias"])
    expected = {}
    for name in "11 12 P 21 22 P 31 32 33 34 P 41 42 43 44 P 51".split():
        if name == "P":
            x = F.max_pool2d(x, 2)
            continue
        conv = f"conv{name[0]}_{name[1]}"
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        x = F.conv2d(x, state[f"{conv}.weight"], state[f"{conv}.bias"]).relu()
        expected[conv.replace("conv", "relu")] = x
    found = network(images, expected)
    assert list(found) == list(expected)
    for name, features in found.items():
        torch.testing.assert_close(features, expected[name])


def test_the_distilled_network_is_frozen_while_the_gradient_reaches_the_image(
    network: DistilledVGG19Features,
):
    images = pictures(1, 3, 32, 32).requires_grad_()
    network.calibrated(images)["relu5_1"].sum().backward()
    assert images.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_by_default_the_features_are_those_of_the_declared_layers(network: DistilledVGG19Features):
    assert tuple(network(pictures(1, 3, 32, 32))) == network.layers
    assert tuple(network.calibrated(pictures(1, 3, 32, 32))) == network.layers


def photographs() -> Tensor:
    """Three photographs, square, (3, 3, 128, 128) in [-1, 1]."""
    photos = []
    for photo in (data.astronaut(), data.coffee(), data.chelsea()):
        side = min(photo.shape[:2])
        square = torch.tensor(photo[:side, :side, :3]).movedim(-1, 0)
        photos.append(F.interpolate(square[None] / 127.5 - 1, size=128, mode="area"))
    return torch.cat(photos)


def test_calibrated_features_change_under_a_blur_as_those_of_the_reference_do(
    network: DistilledVGG19Features,
):
    sharp = photographs()
    blurred = F.interpolate(F.avg_pool2d(sharp, 4), scale_factor=4)
    pixels = 127.5 * (sharp - blurred).abs().mean()
    features, others = network.calibrated(sharp), network.calibrated(blurred)
    for name, reference in zip(network.layers, REFERENCE_CHANGES, strict=True):
        change = (features[name] - others[name]).abs().mean() / pixels
        assert change.item() == pytest.approx(reference, rel=THREE_DIGITS)


def test_calibration_takes_out_the_units_of_the_weights(
    network: DistilledVGG19Features, state: dict[str, Tensor], tmp_path: Path
):
    # All later layers are homogeneous but for their biases.
    def scaled(key: str, value: Tensor) -> Tensor:
        if key.startswith("conv0"):
            return value
        return 7 * value if key.startswith("conv1_1.") or key.endswith("bias") else value

    save_file({key: scaled(key, value) for key, value in state.items()}, tmp_path / "other")
    other = DistilledVGG19Features.from_file(tmp_path / "other")
    images = pictures(1, 3, 32, 32)
    raw, expected = network(images), network.calibrated(images)
    for name, features in other.calibrated(images).items():
        torch.testing.assert_close(features, expected[name], rtol=2 * THREE_DIGITS, atol=1e-4)
        torch.testing.assert_close(other(images)[name], 7 * raw[name], rtol=1e-4, atol=1e-4)


def test_the_caffe_form_is_the_reference_and_the_torchvision_form_is_not():
    assert VGG19Features("caffe").scales == dict.fromkeys(VGG19Features.layers, 1.0)
    scales = VGG19Features("torchvision").scales
    assert scales.keys() == set(VGG19Features.layers)
    assert 1.0 not in scales.values()


@pytest.mark.skipif(not WEIGHTS.is_file(), reason=f"needs {WEIGHTS}")
def test_the_published_distilled_weights_have_their_scales():
    scales = DistilledVGG19Features.from_file(WEIGHTS).scales
    expected = dict(zip(scales, (9.6, 39.0, 40.0, 87.2, 0.801), strict=True))
    assert scales == pytest.approx(expected, rel=THREE_DIGITS)


def test_weights_that_do_not_react_cannot_be_calibrated(state: dict[str, Tensor], tmp_path: Path):
    dead = state | {"conv3_1.weight": torch.zeros_like(state["conv3_1.weight"])}
    save_file(dead, tmp_path / "dead")
    with pytest.raises(ValueError, match="relu3_2 of this DistilledVGG19Features is the same"):
        _ = DistilledVGG19Features.from_file(tmp_path / "dead").scales


def test_the_distilled_network_is_saved_and_loaded(network: DistilledVGG19Features, tmp_path: Path):
    network.save_pretrained(tmp_path)
    loaded = DistilledVGG19Features.from_pretrained(tmp_path)
    images = pictures(1, 3, 32, 32)
    for name, features in loaded.calibrated(images).items():
        torch.testing.assert_close(features, network.calibrated(images)[name], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["vgg19-distilled", "vgg19"])
def test_a_network_is_opened_by_its_name_frozen_and_with_its_own_weights(
    name: str, file: Path, state: dict[str, Tensor], tmp_path: Path
):
    if name == "vgg19":
        saved = VGG19Features("caffe")
        saved.save_pretrained(tmp_path)
        opened, expected = open_perceptual(name, str(tmp_path)), saved.state_dict()
        assert opened.is_reference
    else:
        opened, expected = open_perceptual(name, str(file)), state
    assert not opened.training
    assert not any(parameter.requires_grad for parameter in opened.parameters())
    for key, value in opened.state_dict().items():
        assert torch.equal(value, expected[key])


def test_a_file_that_is_not_the_distilled_network_is_refused(
    state: dict[str, Tensor], tmp_path: Path
):
    with pytest.raises(FileNotFoundError, match="none"):
        DistilledVGG19Features.from_file(tmp_path / "none")
    save_file({key: t for key, t in state.items() if key != "conv5_1.bias"}, tmp_path / "short")
    with pytest.raises(ValueError, match=r"conv5_1\.bias is missing, left over or of another"):
        DistilledVGG19Features.from_file(tmp_path / "short")
    save_file(state | {"conv5_1.bias": torch.ones(3)}, tmp_path / "narrow")
    with pytest.raises(ValueError, match=r"conv5_1\.bias is"):
        DistilledVGG19Features.from_file(tmp_path / "narrow")


def test_pictures_and_layers_that_the_distilled_network_cannot_serve_are_refused(
    network: DistilledVGG19Features,
):
    with pytest.raises(ValueError, match="at least 32 pixels"):
        network(pictures(1, 3, 32, 16))
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        network(pictures(1, 1, 32, 32))
    with pytest.raises(ValueError, match="relu5_2"):
        network(pictures(1, 3, 32, 32), ["relu5_2"])
    with pytest.raises(ValueError, match="unknown layers"):
        network(pictures(1, 3, 32, 32), [])
