"""The formulas as they are written down give what the library computes, and only where asked."""

import copy

import pytest
import torch
from torch import Tensor

from cocosnet_hf import Matching, losses, reference
from tests.support import tiny


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def gradients(value: Tensor, *inputs: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad((value * normal(*value.shape)).sum(), inputs))


@pytest.mark.parametrize("patches", [False, True])
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("patch_size", [1, 3])
def test_the_plain_matching_and_its_gradients_are_those_of_ours(
    patch_size: int, patches: bool, back: bool
):
    content = normal(2, 6, 5, 7).requires_grad_()
    style = normal(2, 6, 4, 9).requires_grad_()
    values = normal(2, 3, 16, 36).requires_grad_()
    found = []
    for kind in (reference.ReferenceMatching, Matching):
        matching = kind(content, style, patch_size=patch_size, temperature=0.05)
        seen = matching.warp(values, patches)
        if back:
            seen = matching.warp_back(seen[:, :, ::4, ::4] if patches else seen)
        found.append([seen, *gradients(seen, content, style, values)])
    for plain, ours in zip(*found, strict=True):
        torch.testing.assert_close(plain, ours, atol=1e-4, rtol=1e-4)


def test_the_plain_contextual_loss_and_its_gradient_are_those_of_ours():
    features = normal(2, 8, 4, 6).requires_grad_()
    exemplar = normal(2, 8, 6, 4).transpose(2, 3)
    found = []
    for loss in (reference.contextual_loss, losses.contextual_loss):
        value = loss(features, exemplar)
        found.append([value, *gradients(value, features)])
    for plain, ours in zip(*found, strict=True):
        torch.testing.assert_close(plain, ours, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_network_in_the_plain_form_gives_the_same_and_leaves_the_others_as_they_are():
    ours = tiny.correspondence()
    plain = copy.deepcopy(ours)
    reference.use_reference(plain)
    content, style = normal(1, 8, 6, 6), normal(1, 8, 6, 6)
    matchings = [network.match(content, style) for network in (plain, ours)]
    assert [type(one) for one in matchings] == [reference.ReferenceMatching, Matching]
    photo = normal(1, 3, 24, 24)
    warps = [
        network.warp(one, photo).picture
        for network, one in zip((plain, ours), matchings, strict=True)
    ]
    torch.testing.assert_close(*warps, atol=1e-4, rtol=1e-4)
    painter = tiny.translation()
    painters = painter, copy.deepcopy(painter)
    reference.use_reference(painters[1])
    warped, condition = normal(1, 3, 48, 48), normal(1, 2, 48, 48)
    torch.testing.assert_close(*(painter(warped, condition) for painter in painters))
