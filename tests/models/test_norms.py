"""The norms are what they claim to be, and each does what the others do not."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cocosnet_hf import TranslationNetwork
from cocosnet_hf.models.blocks import SPADEResidualBlock
from cocosnet_hf.models.norms import NORMS, adaptive_norm, layer_norm, make_norm, moments
from tests.support.networks import assert_equal_states, inputs
from tests.support.tensors import normal
from tests.support.tiny import lively


def norm(name: str, channels: int = 6, affine: bool = False) -> nn.Module:
    torch.manual_seed(0)
    return make_norm(name, channels, affine)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", lambda x: x),
        ("batch", lambda x: F.batch_norm(x, None, None, training=True)),
        ("sync_batch", lambda x: F.batch_norm(x, None, None, training=True)),
        ("instance", F.instance_norm),
        ("layer", lambda x: F.layer_norm(x, x.shape[1:])),
        ("positional", lambda x: (x - x.mean(1, True)) / (x.var(1, keepdim=True) + 1e-5).sqrt()),
        ("pixel", lambda x: x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()),
    ],
)
@pytest.mark.parametrize("affine", [False, True])
def test_a_norm_is_its_formula_and_begins_without_scale_and_shift(name, expected, affine):
    x = 3 * normal(2, 6, 4, 5) + 2
    layer = norm(name, affine=affine)
    torch.testing.assert_close(layer(x), expected(x), atol=1e-5, rtol=1e-5)
    assert len(list(layer.parameters())) == (2 if affine and name != "none" else 0)


def test_every_norm_is_tested_against_its_formula():
    marks = test_a_norm_is_its_formula_and_begins_without_scale_and_shift.pytestmark
    assert {case[0] for case in marks[1].args[1]} == set(NORMS)


@pytest.mark.parametrize("name", [name for name in NORMS if name != "none"])
def test_a_learned_scale_and_shift_come_after_the_norm(name: str):
    x, layer = normal(2, 6, 4, 5), norm(name, affine=True)
    before = layer(x)
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), (2.0, 3.0), strict=True):
            parameter[1] = value
    expected = before.clone()
    expected[:, 1] = 2 * before[:, 1] + 3
    torch.testing.assert_close(layer(x), expected)


def test_batch_norm_mixes_the_items_of_a_batch_in_training_alone():
    shared, others = (
        normal(1, 6, 4, 5),
        (normal(1, 6, 4, 5, seed=1), 9 * normal(1, 6, 4, 5, seed=2)),
    )
    layer = norm("batch")

    def seen_beside_others() -> list[Tensor]:
        return [layer(torch.cat([shared, other]))[:1] for other in others]

    first, second = seen_beside_others()
    assert (first - second).abs().max() > 0.1
    layer.eval()
    torch.testing.assert_close(*seen_beside_others())


@pytest.mark.parametrize("name", ["instance", "positional", "layer", "pixel"])
def test_every_other_norm_sees_one_item_and_is_the_same_in_evaluation(name: str):
    x, layer = normal(2, 6, 4, 5), norm(name)
    both = layer(x)
    torch.testing.assert_close(layer.eval()(x[:1]), both[:1])


def test_instance_norm_undoes_contrast_and_the_others_do_not():
    """A change of gain and offset of one item's channels, as of a photo of low contrast."""
    x = normal(2, 6, 4, 5)
    changed = x.clone()
    changed[0] = 0.3 * changed[0] + torch.arange(6.0)[:, None, None]
    kept = {
        name: torch.allclose(norm(name)(changed), norm(name)(x), atol=1e-3)
        for name in NORMS
        if name != "none"
    }
    assert [name for name, is_kept in kept.items() if is_kept] == ["instance"]


def test_positional_norm_alone_undoes_a_number_added_to_all_channels_of_a_position():
    x = normal(2, 6, 4, 5)
    changed = x + normal(2, 1, 4, 5, seed=1)
    kept = [name for name in NORMS if torch.allclose(norm(name)(changed), norm(name)(x), atol=1e-4)]
    assert kept == ["positional"]


def test_adaptive_norm_gives_a_map_the_moments_of_another():
    x, style = normal(2, 6, 4, 5), 3 * normal(2, 6, 7, 8, seed=1) + 1
    found = moments(adaptive_norm(x, *moments(style)))
    for one, other in zip(found, moments(style), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(adaptive_norm(x, *moments(x)), x, atol=1e-5, rtol=1e-5)
    scale, shift = normal(2, 6), normal(2, 6, seed=1)
    layered = adaptive_norm(x, scale, shift, normalize=layer_norm)
    expected = layer_norm(x) * scale[:, :, None, None] + shift[:, :, None, None]
    torch.testing.assert_close(layered, expected)


def test_styles_of_another_shape_are_an_error():
    with pytest.raises(ValueError, match=r"scale and shift must be \(2, 6\), .* got \(1, 6\)"):
        adaptive_norm(normal(2, 6, 4, 5), normal(1, 6), normal(2, 6))


@pytest.mark.parametrize("name", [name for name in NORMS if name != "none"])
def test_a_norm_in_half_precision_survives_large_values(name: str):
    x = 300 * normal(2, 6, 4, 5)
    found = norm(name).half()(x.half())
    assert found.dtype == torch.float16
    assert torch.allclose(found.float(), norm(name)(x), atol=2e-2)


def test_a_norm_that_there_is_not_is_an_error():
    with pytest.raises(ValueError, match="norm must be one of none, instance, .* got 'group'"):
        make_norm("group", 4)
    with pytest.raises(ValueError, match="compares channels: it needs 2 or more"):
        make_norm("positional", 1)
    with pytest.raises(ValueError, match="norm must be one of"):
        TranslationNetwork(2, (8, 8, 8), 4, norm="group")


@torch.no_grad()
def test_a_uniform_class_is_washed_away_by_instance_norm_and_not_by_spade():
    """Park et al. 2019, section 3: convolution and instance norm forget which class it was."""
    convolve = lively(nn.Conv2d(2, 6, 3, padding=1, padding_mode="reflect"))
    block = lively(SPADEResidualBlock(6, 6, 2, 5, norm="instance"))
    classes = [F.one_hot(torch.full((1, 8, 8), n), 2).movedim(-1, 1).float() for n in (0, 1)]
    washed = [norm("instance")(convolve(each)) for each in classes]
    torch.testing.assert_close(*washed, atol=1e-3, rtol=0)  # rounding, times 1 / sqrt(1e-5)
    first, second = (block(normal(1, 6, 8, 8), each) for each in classes)
    assert (first - second).abs().max() > 0.1


@pytest.mark.parametrize("name", ["instance", "positional", "layer", "batch"])
def test_a_norm_before_the_doubling_is_the_norm_behind_it(name: str):
    x = normal(2, 6, 4, 5)
    doubled = F.interpolate(x, scale_factor=2)
    torch.testing.assert_close(
        F.interpolate(norm(name)(x), scale_factor=2), norm(name)(doubled), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("name", [name for name in NORMS if name not in ("none", "sync_batch")])
def test_the_translation_network_learns_by_any_norm_and_is_saved_whole(name: str, tmp_path: Path):
    torch.manual_seed(0)
    network = TranslationNetwork(2, (8, 8, 8, 8), 4, norm=name).train()
    photo, condition = inputs("translation")
    target = torch.full_like(photo, 0.5)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    values = []
    for _ in range(4):
        loss = F.l1_loss(network(photo, condition), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < values[0]
    network.eval().save_pretrained(tmp_path)
    loaded = TranslationNetwork.from_pretrained(tmp_path)
    assert_equal_states(loaded, network)
    expected = network(photo, condition)
    torch.testing.assert_close(loaded(photo, condition), expected)
    torch.testing.assert_close(network.fold()(photo, condition), expected, atol=1e-4, rtol=1e-4)
