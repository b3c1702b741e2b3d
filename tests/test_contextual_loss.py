"""The contextual loss equals the plain matrix and never holds it."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import cocosnet_hf
from cocosnet_hf import losses
from cocosnet_hf.losses import contextual_loss
from tests.support.operations import Operations
from tests.support.tensors import normal

FORMS = ["forward", "original"]
CENTERINGS = ["position", "channel", None]
ROUNDING = 1e-6  # of a float32 product of unit vectors, with slack
ONE_ROW, SOME_ROWS, EVERYTHING = 1, 4_000, 2**25  # bytes of a chunk

examples = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def distances(x: Tensor, y: Tensor, centering: str | None) -> Tensor:
    if centering is not None:
        mean = y.mean(1 if centering == "position" else (2, 3), keepdim=True)
        x, y = x - mean, y - mean
    x, y = F.normalize(x.flatten(2), dim=1), F.normalize(y.flatten(2), dim=1)
    return 1 - x.mT @ y


def nearest(x: Tensor, y: Tensor, centering: str | None) -> float:
    """The smallest distance of all."""
    return distances(x.double(), y.double(), centering).min().item()


def plain_contextual(
    x: Tensor,
    y: Tensor,
    form: str = "forward",
    centering: str | None = "position",
    bandwidth: float = 0.1,
    epsilon: float = 1e-3,
) -> Tensor:
    """The definition with the whole N x N' matrix, in the precision of its inputs."""
    distance = distances(x, y, centering)
    relative = distance / (distance.amin(2, keepdim=True) + epsilon)
    weight = ((1 - relative) / bandwidth).exp()
    share = weight / weight.sum(2, keepdim=True)
    similarity = share.amax(2).mean(1) if form == "forward" else share.amax(1).mean(1)
    return -similarity.log().mean()


def with_gradients(
    loss: Callable[..., Tensor], x: Tensor, y: Tensor, **variant: object
) -> tuple[Tensor, Tensor, Tensor]:
    x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
    value = loss(x, y, **variant)
    value.backward()
    return value.detach(), x.grad, y.grad


@examples
@given(
    sizes=st.tuples(*[st.integers(1, 7)] * 4),
    batch=st.integers(1, 2),
    channels=st.integers(4, 16),
    form=st.sampled_from(FORMS),
    centering=st.sampled_from(CENTERINGS),
    bandwidth=st.sampled_from([0.1, 0.5]),
    epsilon=st.sampled_from([1e-3, 1e-5]),
    tile_memory=st.sampled_from([ONE_ROW, SOME_ROWS, EVERYTHING]),
    seed=st.integers(0, 2**16),
)
def test_the_contextual_loss_and_its_gradients_equal_the_plain_matrix_at_any_size(
    sizes: tuple[int, int, int, int],
    batch: int,
    channels: int,
    form: str,
    centering: str | None,
    bandwidth: float,
    epsilon: float,
    tile_memory: int,
    seed: int,
):
    x = normal(batch, channels, *sizes[:2], seed=seed)
    y = normal(batch, channels, *(sizes[:2] if centering == "position" else sizes[2:]), seed=~seed)
    if centering == "channel" and y[0, 0].numel() == 1:
        y = torch.cat([y, -y], dim=3)  # a single position would be centred to nothing
    variant = {"form": form, "centering": centering, "bandwidth": bandwidth, "epsilon": epsilon}
    expected = with_gradients(plain_contextual, x.double(), y.double(), **variant)
    found = with_gradients(contextual_loss, x, y, tile_memory=tile_memory, **variant)
    assert all(tensor.dtype == torch.float32 for tensor in found)
    # Both forms divide the rounding of d by this, whoever computes them in float32.
    limit = ROUNDING / (bandwidth * (nearest(x, y, centering) + epsilon))
    torch.testing.assert_close(found[0].double(), expected[0], atol=limit, rtol=0)
    for gradient, plain in zip(found[1:], expected[1:], strict=True):
        scale = max(1.0, plain.abs().max().item())
        torch.testing.assert_close(gradient.double(), plain, atol=limit * scale, rtol=0)


@pytest.mark.parametrize("form", FORMS)
def test_the_contextual_gradient_predicts_a_small_step(form: str):
    x, y, direction = (normal(1, 8, 5, 6, seed=seed) for seed in range(3))
    _, gradient, _ = with_gradients(contextual_loss, x, y, form=form, tile_memory=SOME_ROWS)
    step = 1e-4 * direction.double()
    change = plain_contextual(x.double() + step, y.double(), form) - plain_contextual(
        x.double() - step, y.double(), form
    )
    predicted = 2 * (gradient.double() * step).sum()
    assert predicted.item() == pytest.approx(change.item(), rel=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_the_contextual_loss_does_not_mind_where_a_feature_lies(form: str):
    x, y = normal(1, 8, 6, 6), normal(1, 8, 6, 6, seed=1)
    shuffled = y.flatten(2)[:, :, torch.randperm(36, generator=torch.Generator().manual_seed(2))]
    variant = {"form": form, "centering": "channel"}
    torch.testing.assert_close(
        contextual_loss(x, shuffled.view_as(y), **variant), contextual_loss(x, y, **variant)
    )


def test_the_original_form_misses_what_the_forward_form_does_not():
    exemplar = normal(1, 16, 4, 4)
    half = exemplar[:, :, :2]
    settings = {"centering": "channel", "bandwidth": 0.05}
    forward = contextual_loss(half, exemplar, form="forward", **settings)
    original = contextual_loss(half, exemplar, form="original", **settings)
    assert forward.item() < 0.01
    # Every second exemplar feature is found and no other: CX is one half.
    assert original.item() == pytest.approx(math.log(2), abs=0.02)


@pytest.mark.parametrize("form", FORMS)
def test_the_contextual_loss_never_holds_the_matrix(form: str):
    x, y = (normal(1, 4, 48, 48, seed=seed).requires_grad_() for seed in range(2))
    memory, matrix = 200_000, 4 * 48**4
    with Operations() as seen:
        contextual_loss(x, y, form=form, tile_memory=memory).backward()
    assert "aten::mm" in seen.names
    assert seen.largest_bytes <= memory < matrix / 100
    with Operations() as seen:
        plain_contextual(x, y, form).backward()
    assert seen.largest_bytes == matrix


def test_the_contextual_loss_is_computed_in_float32_under_autocast():
    x, y = normal(1, 8, 6, 6), normal(1, 8, 6, 6, seed=1)
    expected = with_gradients(contextual_loss, x, y)
    x, y = x.requires_grad_(), y.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = contextual_loss(x, y)
        loss.backward()
    for found, value in zip((loss, x.grad, y.grad), expected, strict=True):
        torch.testing.assert_close(found, value, atol=0, rtol=0)


def test_an_exemplar_without_gradient_gets_none():
    x, y = normal(1, 8, 6, 6).requires_grad_(), normal(1, 8, 6, 6, seed=1)
    contextual_loss(x, y).backward()
    assert y.grad is None
    assert x.grad.abs().sum() > 0


def test_flat_features_give_the_loss_of_no_preference_and_no_gradient():
    x = torch.zeros(1, 4, 3, 3, requires_grad=True)
    loss = contextual_loss(x, torch.zeros(1, 4, 3, 3))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(9))
    assert x.grad.abs().max() == 0


@pytest.mark.parametrize("length", [0.0, 1e-12])
@pytest.mark.parametrize("form", FORMS)
def test_a_position_without_texture_does_not_blow_up_the_gradient(form: str, length: float):
    x, y = normal(1, 8, 5, 5), normal(1, 8, 5, 5, seed=1)
    x[:, :, 2, 3] = length * x[:, :, 2, 3]
    _, gradient, other = with_gradients(contextual_loss, x, y, form=form, centering=None)
    assert gradient[:, :, 2, 3].abs().max() == 0
    assert 0 < gradient.abs().max() < 1
    assert 0 < other.abs().max() < 1


def test_the_contextual_loss_is_exported():
    assert cocosnet_hf.contextual_loss is contextual_loss


@pytest.mark.parametrize(
    ("shapes", "variant", "message"),
    [
        (((1, 4, 3, 3), (2, 4, 3, 3)), {}, "batch and channels"),
        (((1, 4, 3, 3), (1, 5, 3, 3)), {}, "batch and channels"),
        (((4, 3, 3), (4, 3, 3)), {}, r"\(B, C, h, w\)"),
        (((1, 4, 3, 0), (1, 4, 3, 0)), {}, r"\(B, C, h, w\)"),
        (((1, 4, 3, 3), (1, 4, 3, 4)), {}, 'use centering="channel"'),
        (((1, 4, 3, 3), (1, 4, 3, 3)), {"form": "backward"}, "form must be"),
        (((1, 4, 3, 3), (1, 4, 3, 3)), {"centering": "batch"}, "centering must be"),
        (((1, 4, 3, 3), (1, 4, 3, 3)), {"bandwidth": 0.0}, "bandwidth and epsilon"),
        (((1, 4, 3, 3), (1, 4, 3, 3)), {"epsilon": -1.0}, "bandwidth and epsilon"),
    ],
)
def test_the_contextual_loss_refuses_what_it_cannot_compare(
    shapes: tuple, variant: dict, message: str
):
    with pytest.raises(ValueError, match=message):
        contextual_loss(*(torch.ones(shape) for shape in shapes), **variant)


def test_the_layered_contextual_loss_weighs_three_layers_and_pools_the_finest():
    x = [normal(1, 4, 8, 8), normal(1, 6, 4, 4, seed=1), normal(1, 6, 2, 2, seed=2)]
    y = [normal(1, 4, 8, 8, seed=3), normal(1, 6, 4, 4, seed=4), normal(1, 6, 2, 2, seed=5)]
    expected = (
        2 * plain_contextual(F.avg_pool2d(x[0], 2), F.avg_pool2d(y[0], 2))
        + 4 * plain_contextual(x[1], y[1])
        + 8 * plain_contextual(x[2], y[2])
    )
    torch.testing.assert_close(losses.layered_contextual_loss(x, y), expected)
    exemplar = y[2].requires_grad_()
    x[2].requires_grad_()
    losses.layered_contextual_loss(x, y).backward()
    assert exemplar.grad is None
    with pytest.raises(ValueError, match="3 coarsest layers"):
        losses.layered_contextual_loss(x[:2], y)
