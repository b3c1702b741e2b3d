"""The translation network: sizes, the residual form, refusals."""

from pathlib import Path

import pytest
import torch

from cocosnet_hf import TranslationNetwork
from tests.support import tiny
from tests.support.networks import HEIGHT, WIDTH, inputs
from tests.support.tensors import normal


@torch.no_grad()
def test_translation_paints_at_the_size_of_its_condition():
    warped, condition = inputs("translation")
    image = tiny.translation()(warped, condition)
    assert image.shape == (2, 3, HEIGHT, WIDTH)
    assert -1 <= image.min() < image.max() <= 1


@pytest.mark.parametrize("channels", [(10, 8, 6), (10, 9, 8, 6), (10, 9, 8, 7, 6)])
@torch.no_grad()
def test_translation_takes_any_number_of_strides_from_three(channels: tuple[int, ...]):
    network = tiny.translation(channels=channels)
    assert network.stride == 2 ** (len(channels) - 1)
    seen = []
    network.attention.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    assert network(normal(1, 3, 32, 64), normal(1, 2, 32, 64)).shape == (1, 3, 32, 64)
    assert seen[0][-2:] == (16, 32)


@torch.no_grad()
def test_a_residual_translation_paints_the_warped_exemplar_where_it_corrects_nothing():
    network = TranslationNetwork(2, (12, 10, 8, 6), spade_channels=6, residual=True)
    for parameter in network.output_conv.parameters():
        parameter.zero_()
    warped, condition = torch.rand(1, 3, 32, 32) * 1.9 - 0.95, normal(1, 2, 32, 32)
    torch.testing.assert_close(network(warped, condition), warped)
    assert torch.isfinite(network(torch.sign(warped), condition)).all()
    network.output_conv.bias.copy_(torch.tensor([3.0, 0.0, 0.0]))
    red, *others = network(warped, condition).unbind(1)
    assert (red > warped[:, 0]).all()
    torch.testing.assert_close(torch.stack(others, 1), warped[:, 1:])


@torch.no_grad()
def test_a_residual_translation_is_saved_as_one_and_paints_in_half_precision(tmp_path: Path):
    torch.manual_seed(0)
    network = TranslationNetwork(2, (12, 10, 8, 6), spade_channels=6, residual=True).eval()
    network.save_pretrained(tmp_path)
    inputs = torch.rand(1, 3, 32, 32) * 2 - 1, normal(1, 2, 32, 32)
    expected = network(*inputs)
    loaded = TranslationNetwork.from_pretrained(tmp_path).eval()
    # Memory laid out otherwise is summed in another order.
    torch.testing.assert_close(loaded(*inputs), expected, rtol=0, atol=1e-4)
    half = loaded.to(torch.bfloat16)(*(one.bfloat16() for one in inputs))
    assert half.dtype == torch.bfloat16
    assert (half.float() - expected).abs().mean() < 0.02


def test_translation_needs_three_strides():
    with pytest.raises(ValueError, match=r"at least 3 strides, got \(8, 8\)"):
        TranslationNetwork(2, (8, 8))


@pytest.mark.parametrize("channels", [(16, 7, 4), (16, 16, 7, 8, 8)])
def test_translation_needs_channels_for_its_attention(channels: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"eighth of 7 channels; it needs 8 or more"):
        TranslationNetwork(2, channels)


@pytest.mark.parametrize(
    ("warped", "condition", "message"),
    [
        ((1, 4, 32, 32), (1, 2, 32, 32), r"warped_exemplar must have the shape \(B, 3, H, W\)"),
        ((1, 3, 32, 32), (1, 3, 32, 32), r"condition must have the shape \(B, 2, H, W\)"),
        ((1, 3, 32, 36), (1, 2, 32, 36), "multiples of 8 .* got 32 x 36"),
        ((1, 3, 32, 32), (1, 2, 32, 40), r"must agree in batch, height and width"),
        ((2, 3, 32, 32), (1, 2, 32, 32), r"must agree in batch, height and width"),
        ((1, 3, 8, 32), (1, 2, 8, 32), "8 x 32; .* 16 x 32"),
    ],
)
def test_tensors_that_do_not_fit_the_translation_are_refused(
    warped: tuple[int, ...], condition: tuple[int, ...], message: str
):
    with pytest.raises(ValueError, match=message):
        tiny.translation()(torch.ones(warped), torch.ones(condition))
