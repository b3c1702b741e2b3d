"""Recomputed activations, and compiled networks."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cocosnet_hf import ProjectedDiscriminator, TranslationNetwork
from cocosnet_hf.models import StyleEncoder
from cocosnet_hf.models.efficientnet import EfficientNetLite0Features
from tests.support import tiny


def batch_normed() -> nn.Module:
    return tiny.lively(TranslationNetwork(2, (8, 8, 8, 8), spade_channels=4, norm="batch"))


def projected() -> nn.Module:
    network = ProjectedDiscriminator(2, 8, backbones=("efficientnet-lite0",), head_channels=8)
    network.attach({"efficientnet-lite0": EfficientNetLite0Features.from_package()})
    return network


@pytest.mark.parametrize(
    "make",
    [
        tiny.correspondence,
        tiny.translation,
        batch_normed,
        tiny.discriminator,
        tiny.blending_translation,
        projected,
    ],
)
def test_recomputed_activations_change_neither_gradients_nor_norms(make: Any):
    plain = make().train()
    assert any(isinstance(part, plain.recomputed) for part in plain.modules())
    sparing = copy.deepcopy(plain)
    sparing.enable_gradient_checkpointing()
    assert sparing.is_gradient_checkpointing and not plain.is_gradient_checkpointing
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


def test_what_is_turned_on_twice_is_turned_off_at_once():
    network = tiny.translation().train()
    for _ in range(2):
        network.enable_gradient_checkpointing()
    assert saved_bytes(network) < 0.5 * saved_bytes(tiny.translation().train())
    network.disable_gradient_checkpointing()
    assert not network.is_gradient_checkpointing
    assert saved_bytes(network) == saved_bytes(tiny.translation().train())


def test_what_cannot_be_computed_again_is_told():
    with pytest.raises(ValueError, match="StyleEncoder has no part that is worth computing again"):
        StyleEncoder(9, channels=[4, 8]).enable_gradient_checkpointing()
    with pytest.raises(ValueError, match="would move the norms on once more"):
        tiny.translation().enable_gradient_checkpointing(torch.utils.checkpoint.checkpoint)


def saved_bytes(network: nn.Module) -> int:
    """What a training pass keeps for its backward pass, without weights."""
    own = {parameter.data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = network(torch.rand(1, 3, 32, 32), torch.rand(1, 2, 32, 32))
        assert outputs.requires_grad
    return sum(kept.values())


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
    if name == "BlendingTranslationNetwork":
        return [network(torch.cat([picture, picture, condition], dim=1), condition).image]
    if name == "TranslationNetwork":
        return [network(picture, condition)]
    return [layer for scale in network(condition, picture) for layer in scale]
