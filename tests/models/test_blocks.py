"""The shared layers are the formulas they claim to be, and fold without changing their outputs."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from cocosnet_hf.memory import process_peak
from cocosnet_hf.models.blocks import (
    SPADE,
    InstanceNormResidualBlock,
    SelfAttention,
    SPADEResidualBlock,
    conv2d,
    leaky_relu_,
    normalize_features,
)
from cocosnet_hf.models.inference import plain_conv2d, reflect_pad, without_spectral_norm
from cocosnet_hf.models.norms import instance_norm, positional_norm
from tests.support.operations import Operations
from tests.support.processes import ended, fork
from tests.support.tensors import normal
from tests.support.tiny import lively


def spectral_conv(into: int = 5, out: int = 7, kernel: int = 3) -> nn.Conv2d:
    torch.manual_seed(0)
    return conv2d(into, out, kernel, padding=1, spectral=True)


def original(conv: nn.Conv2d) -> nn.Parameter:
    return conv.parametrizations.weight.original


def singular_vectors(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    state = conv.state_dict()
    return tuple(state[f"parametrizations.weight.0.{name}"].clone() for name in ("_u", "_v"))


# Spectral norm ------------------------------------------------------------------------------


def test_spectral_norm_has_torchs_keys_and_in_evaluation_torchs_value():
    ours, theirs = spectral_conv(), nn.Conv2d(5, 7, 3, padding=1)
    parametrizations.spectral_norm(theirs)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = normal(2, 5, 6, 8)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_one_training_use_improves_v_first_and_then_u():
    conv = spectral_conv().train()
    matrix, (u, _) = original(conv).detach().flatten(1), singular_vectors(conv)
    v = F.normalize(matrix.t() @ u, dim=0)
    u = F.normalize(matrix @ v, dim=0)
    weight = conv.weight
    found_u, found_v = singular_vectors(conv)
    torch.testing.assert_close(found_v, v)
    torch.testing.assert_close(found_u, u)
    torch.testing.assert_close(weight, original(conv) / (u @ matrix @ v))


def test_many_training_uses_find_the_largest_singular_value():
    conv = spectral_conv().train()
    for _ in range(200):
        weight = conv.weight
    assert torch.linalg.matrix_norm(weight.flatten(1), ord=2).item() == pytest.approx(1, abs=1e-4)


def test_evaluation_leaves_the_singular_vectors_alone_and_training_moves_them():
    conv = spectral_conv()
    before = singular_vectors(conv)
    conv.eval()(normal(1, 5, 4, 4))
    for found, expected in zip(singular_vectors(conv), before, strict=True):
        assert torch.equal(found, expected)
    conv.train()(normal(1, 5, 4, 4))
    for found, expected in zip(singular_vectors(conv), before, strict=True):
        assert not torch.equal(found, expected)


def test_the_gradient_flows_through_sigma_with_constant_singular_vectors():
    conv = spectral_conv().train()
    upstream = normal(*original(conv).shape)
    (conv.weight * upstream).sum().backward()
    u, v = singular_vectors(conv)
    weight = original(conv).detach()
    sigma = u @ weight.flatten(1) @ v
    through_sigma = (upstream * weight).sum() / sigma**2 * torch.outer(u, v)
    expected = upstream / sigma - through_sigma.view_as(weight)
    torch.testing.assert_close(original(conv).grad, expected)


def test_two_forward_passes_before_one_backward_pass_each_keep_their_own_sigma():
    x = normal(2, 5, 4, 4)
    together = spectral_conv().train()
    (together(x).square().mean() + together(2 * x).square().mean()).backward()
    apart = spectral_conv().train()
    apart(x).square().mean().backward()
    apart(2 * x).square().mean().backward()
    torch.testing.assert_close(original(together).grad, original(apart).grad)


def test_removing_spectral_norm_from_a_copy_leaves_the_original_usable():
    conv, x = lively(spectral_conv()), normal(1, 5, 4, 4)
    expected = conv(x)
    plain = without_spectral_norm(copy.deepcopy(conv))
    assert not parametrize.is_parametrized(plain)
    torch.testing.assert_close(plain(x), expected)
    assert torch.equal(conv(x), expected)
    conv.train()(x).sum().backward()
    assert original(conv).grad is not None


def test_autocast_keeps_sigma_in_float32():
    conv, x = lively(spectral_conv()), normal(1, 5, 4, 4)
    expected = conv.weight
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(conv.weight, expected)
        assert conv(x).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_are_normalised_as_their_float32_values(dtype: torch.dtype):
    conv = lively(spectral_conv()).to(dtype)
    u, v = (vector.float() for vector in singular_vectors(conv))
    sigma = u @ original(conv).float().flatten(1) @ v
    expected = (original(conv).float() / sigma).to(dtype)
    assert conv.weight.dtype == dtype
    torch.testing.assert_close(conv.weight, expected)


# Plain layers -------------------------------------------------------------------------------


def test_a_fresh_convolution_is_xavier_normal_with_gain_0_02_and_zero_bias():
    torch.manual_seed(0)
    for conv in (conv2d(40, 60, 3), conv2d(40, 60, 3, spectral=True)):
        weight = original(conv) if parametrize.is_parametrized(conv) else conv.weight
        assert weight.std().item() == pytest.approx(0.02 * (2 / (9 * 100)) ** 0.5, rel=0.05)
        assert not conv.bias.any()
    assert conv2d(4, 6, 3, bias=False).bias is None


def test_a_plain_convolution_takes_over_geometry_and_weights():
    like = nn.Conv2d(5, 7, 4, stride=2, padding=1)
    x = normal(1, 5, 8, 6)
    torch.testing.assert_close(plain_conv2d(like, like.weight, like.bias)(x), like(x))
    assert plain_conv2d(like, like.weight, None).bias is None


def test_padding_mirrors_one_row_and_column_without_repeating_the_edge():
    x = torch.arange(6.0).view(1, 1, 2, 3)
    expected = [[4, 3, 4, 5, 4], [1, 0, 1, 2, 1], [4, 3, 4, 5, 4], [1, 0, 1, 2, 1]]
    assert reflect_pad(x)[0, 0].tolist() == expected


def test_leaky_relu_keeps_a_fifth_of_negative_values():
    assert torch.equal(leaky_relu_(torch.tensor([-5.0, 0.0, 2.0])), torch.tensor([-1.0, 0.0, 2.0]))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_instance_norm_and_its_gradient_equal_torchs(layout: torch.memory_format):
    x = (2 * normal(2, 3, 4, 7) + 5).contiguous(memory_format=layout).requires_grad_()
    out, expected = instance_norm(x), F.instance_norm(x)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    found, wanted = (
        torch.autograd.grad((y * normal(2, 3, 4, 7, seed=1)).sum(), x)[0] for y in (out, expected)
    )
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_normalizing_makes_every_position_one_long_and_leaves_zeros():
    x = normal(2, 5, 3, 4)
    x[0, :, 1, 2] = 0
    lengths = normalize_features(x).norm(dim=1)
    assert lengths[0, 1, 2] == 0
    lengths[0, 1, 2] = 1
    torch.testing.assert_close(lengths, torch.ones(2, 3, 4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_normalizing_leaves_zeros_in_half_precision(dtype: torch.dtype):
    zeros = torch.zeros(1, 4, 2, 2, dtype=dtype)
    assert torch.equal(normalize_features(zeros), zeros)


def plain_positional_norm(x: Tensor) -> Tensor:
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=True)
    return (x - mean) / (variance + 1e-5).sqrt()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("scale", [1.0, 1e-3])  # at 1e-3 the epsilon decides
def test_positional_norm_is_its_formula_with_the_unbiased_variance(
    layout: torch.memory_format, scale: float
):
    x = (scale * normal(2, 6, 3, 5, dtype=torch.float64) + 2).contiguous(memory_format=layout)
    torch.testing.assert_close(positional_norm(x), plain_positional_norm(x), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(
        positional_norm(x[:1].float()), plain_positional_norm(x[:1]).float(), atol=1e-3, rtol=1e-3
    )


def test_positional_norm_has_the_gradient_of_its_formula():
    x, upstream = normal(2, 6, 3, 5, dtype=torch.float64).requires_grad_(), normal(2, 6, 3, 5)
    found, expected = (
        torch.autograd.grad((norm(x) * upstream).sum(), x)[0]
        for norm in (positional_norm, plain_positional_norm)
    )
    torch.testing.assert_close(found, expected)


def test_positional_norm_of_one_colour_is_zero():
    assert positional_norm(torch.full((1, 6, 2, 3), 4.0)).abs().max() < 1e-3


# SPADE --------------------------------------------------------------------------------------


def plain_spade(spade: SPADE, x: Tensor, condition: Tensor) -> Tensor:
    gamma_weight, beta_weight = spade.modulation.weight.chunk(2)
    scale_bias, beta_bias = spade.modulation.bias.chunk(2)
    padded = F.pad(condition, (1, 1, 1, 1), mode="reflect")
    hidden = F.conv2d(padded, spade.style_encoder.weight, spade.style_encoder.bias).relu()
    hidden = F.pad(hidden, (1, 1, 1, 1), mode="reflect")
    gamma = F.conv2d(hidden, gamma_weight, scale_bias - 1)
    return x * (1 + gamma) + F.conv2d(hidden, beta_weight, beta_bias)


@pytest.mark.parametrize("batch", [1, 2])
def test_spade_scales_and_shifts_by_what_the_condition_says(batch: int):
    spade = lively(SPADE(6, 3, 5))
    x, condition = normal(batch, 6, 4, 7), normal(batch, 3, 4, 7, seed=1)
    out = spade(x, condition)
    assert out.shape == x.shape
    torch.testing.assert_close(out, plain_spade(spade, x, condition))


def test_spade_sees_a_larger_condition_at_its_nearest_values():
    spade = lively(SPADE(6, 3, 5))
    x, condition = normal(2, 6, 4, 7), normal(2, 3, 8, 28, seed=1)
    torch.testing.assert_close(spade(x, condition), spade(x, condition[:, :, ::2, ::4]))


def test_a_fresh_spade_leaves_the_map_alone_where_the_condition_is_silent():
    x = normal(1, 6, 4, 7)
    torch.testing.assert_close(SPADE(6, 3, 5)(x, torch.zeros(1, 3, 4, 7)), x)


@pytest.mark.parametrize("channels", [(6, 6), (6, 4), (4, 6)])
def test_a_residual_block_is_its_formula(channels: tuple[int, int]):
    block = lively(SPADEResidualBlock(*channels, 3, 5))
    x, condition = normal(2, channels[0], 4, 6), normal(2, 3, 8, 12, seed=1)
    nearest = condition[:, :, ::2, ::2]

    def convolve(conv: nn.Conv2d, norm: SPADE, y: Tensor) -> Tensor:
        y = F.leaky_relu(plain_spade(norm, plain_positional_norm(y), nearest), 0.2)
        return F.conv2d(F.pad(y, (1, 1, 1, 1), mode="reflect"), conv.weight, conv.bias)

    shortcut = x
    if channels[0] != channels[1]:
        modulated = plain_spade(block.norm_s, plain_positional_norm(x), nearest)
        shortcut = F.conv2d(modulated, block.conv_s.weight)
    expected = shortcut + convolve(
        block.conv_1, block.norm_1, convolve(block.conv_0, block.norm_0, x)
    )
    out = block(x, condition)
    assert out.shape == (2, channels[1], 4, 6)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("channels", [(6, 6), (6, 4)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_folding_a_residual_block_changes_nothing(
    channels: tuple[int, int], dtype: torch.dtype, tolerance: float
):
    block = lively(SPADEResidualBlock(*channels, 3, 5).to(dtype))
    x, condition = normal(2, channels[0], 4, 6, dtype=dtype), normal(2, 3, 4, 6, dtype=dtype)
    expected = block(x, condition)
    for _ in range(2):  # folding again changes nothing either
        block.fold()
        torch.testing.assert_close(block(x, condition), expected, atol=tolerance, rtol=0)


def test_a_folded_shortcut_makes_only_the_output_channels_of_its_shift():
    block = lively(SPADEResidualBlock(6, 4, 3, 5))
    block.fold()
    assert block.norm_s.modulation.out_channels == 6 + 4
    assert block.norm_0.modulation.out_channels == 2 * 6


@pytest.mark.parametrize("channels", [(6, 6), (6, 4)])
def test_every_parameter_of_a_residual_block_gets_a_gradient(channels: tuple[int, int]):
    block = lively(SPADEResidualBlock(*channels, 3, 5)).train()
    out = block(normal(2, channels[0], 4, 6), normal(2, 3, 4, 6))
    out.square().sum().backward()
    assert [n for n, p in block.named_parameters() if p.grad is None or not p.grad.any()] == []


# Attention ----------------------------------------------------------------------------------


def plain_attention(attention: SelfAttention, x: Tensor) -> Tensor:
    query = F.conv2d(x, attention.query.weight).flatten(2)
    key = F.max_pool2d(F.conv2d(x, attention.key.weight), 2).flatten(2)
    value = F.max_pool2d(F.conv2d(x, attention.value.weight), 2).flatten(2)
    shares = (query.transpose(1, 2) @ key).softmax(dim=2)  # not divided by sqrt(width)
    attended = (value @ shares.transpose(1, 2)).unflatten(2, x.shape[2:])
    return x + attention.gamma * F.conv2d(attended, attention.out.weight)


@pytest.mark.parametrize("shape", [(1, 32, 6, 6), (2, 32, 4, 10), (3, 8, 2, 2)])
def test_attention_and_its_gradients_equal_the_explicit_softmax(shape: tuple[int, ...]):
    attention = lively(SelfAttention(shape[1]))
    x, upstream = 2 * normal(*shape), normal(*shape, seed=1)
    inputs = [x.requires_grad_(), *attention.parameters()]
    out, expected = attention(x), plain_attention(attention, x)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    found, wanted = (torch.autograd.grad((y * upstream).sum(), inputs) for y in (out, expected))
    for ours, plain in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)


def test_a_fresh_attention_changes_nothing():
    x = normal(2, 16, 4, 6)
    assert torch.equal(SelfAttention(16)(x), x)


def test_attention_runs_in_the_fused_kernel_and_makes_no_matrix_of_position_pairs():
    attention, x = lively(SelfAttention(16)).train(), normal(1, 16, 64, 64)
    with Operations() as seen:
        attention(x).sum().backward()
    assert "aten::_scaled_dot_product_flash_attention_for_cpu" in seen.names
    assert "aten::_scaled_dot_product_flash_attention_for_cpu_backward" in seen.names
    assert seen.largest_bytes <= x.nbytes


def measure(side: int, found: Path) -> None:
    """MB that attention over side x side positions takes."""
    attention = SelfAttention(64).eval()
    with torch.no_grad():
        attention(torch.randn(1, 64, 8, 8))
        before = process_peak()
        attention(torch.randn(1, 64, side, side))
    found.write_text(f"{process_peak() - before}")


@pytest.mark.slow
def test_attention_needs_no_memory_for_position_pairs(tmp_path: Path):
    side = 192
    assert ended(fork(measure, side, tmp_path / "found"), 300) == 0
    positions = side**2
    found = float((tmp_path / "found").read_text())
    assert found * 2**20 < positions * (positions // 4) * 4 / 8


# Instance norm block ------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2])
def test_a_shared_block_is_its_formula_with_one_slope_for_both_activations(batch: int):
    block = lively(InstanceNormResidualBlock(5))
    x = normal(batch, 5, 4, 7)

    def convolve(conv: nn.Conv2d, y: Tensor) -> Tensor:
        y = F.conv2d(F.pad(y, (1, 1, 1, 1), mode="reflect"), conv.weight)
        mean, variance = y.mean((2, 3), keepdim=True), y.var((2, 3), keepdim=True, unbiased=False)
        return (y - mean) / (variance + 1e-5).sqrt()

    def activate(y: Tensor) -> Tensor:
        return torch.where(y > 0, y, block.prelu.weight * y)

    expected = activate(x + convolve(block.conv2, activate(convolve(block.conv1, x))))
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-5)


def test_every_parameter_of_a_shared_block_gets_a_gradient():
    block = lively(InstanceNormResidualBlock(5))
    block(normal(2, 5, 4, 7)).square().sum().backward()
    assert all(parameter.grad.any() for parameter in block.parameters())


def test_instance_norm_in_half_precision_survives_large_values():
    x = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0)) * 2000
    found = instance_norm(x.half())
    assert torch.allclose(found.float(), F.instance_norm(x), atol=1e-2)
