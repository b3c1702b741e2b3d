"""The correspondence network: its outputs, forms and refusals."""

import pytest
import torch
from torch import Tensor

from cocosnet_hf import CorrespondenceNetwork, TranslationNetwork
from tests.support import tiny
from tests.support.networks import inputs
from tests.support.tensors import normal


@torch.no_grad()
def test_correspondence_returns_projections_and_unit_features_at_a_quarter_of_the_size():
    network = tiny.correspondence()
    condition, exemplar, exemplar_condition, target = inputs("correspondence")
    exemplar, exemplar_condition = exemplar[..., :40], exemplar_condition[..., :40]
    out = network(condition, exemplar, exemplar_condition, target)
    assert out.content.shape == out.content_features.shape == (2, 8, 8, 12)
    assert out.style.shape == (2, 8, 8, 10)
    assert out.target_features.shape == (2, 8, 8, 12)
    for features in (out.content_features, out.target_features):
        torch.testing.assert_close(features.norm(dim=1), torch.ones(features[:, 0].shape))


@torch.no_grad()
def test_either_half_of_the_correspondence_runs_alone():
    network = tiny.correspondence()
    condition, exemplar, exemplar_condition, _ = inputs("correspondence")
    both = network(condition, exemplar, exemplar_condition)
    content = network(condition, None)
    style = network(None, exemplar, exemplar_condition)
    assert torch.equal(content.content, both.content)
    assert torch.equal(style.style, both.style)
    assert content["content"] is content.content is content[0]
    assert content.style is None and content.target_features is None
    assert style.content is None and style.content_features is None


@pytest.mark.parametrize("kernel", [3, 4])
@pytest.mark.parametrize("mix_condition", [True, False])
@torch.no_grad()
def test_every_published_form_of_the_correspondence_runs(kernel: int, mix_condition: bool):
    network = tiny.correspondence(
        adaptor_kernel_size=kernel, mix_condition=mix_condition, num_residual_blocks=2
    )
    condition, exemplar, exemplar_condition, _ = inputs("correspondence", batch=1)
    out = network(condition, exemplar, exemplar_condition)
    assert out.content.shape == out.style.shape == (1, 8, 8, 12)
    without = None if network.needs_exemplar_condition else network(None, exemplar).style
    if without is not None:
        assert torch.equal(without, out.style)


@torch.no_grad()
def test_context_levels_let_a_position_see_further(monkeypatch: pytest.MonkeyPatch):
    # Instance norm lets every position see the whole map a little.
    monkeypatch.setattr("cocosnet_hf.models.correspondence.instance_norm", lambda x: x)
    condition, _, _, _ = inputs("correspondence", batch=1, height=128, width=160)
    moved = condition.clone()
    moved[:, :, :16, :16] += 1
    for levels, sees in ((0, False), (3, True)):
        network = tiny.correspondence(context_levels=levels, num_adaptor_blocks=1)
        before, after = (network(x, None).content_features for x in (condition, moved))
        assert before.shape == (1, 8, 32, 40)
        assert torch.equal(before[..., 14, 14], after[..., 14, 14]) != sees


@torch.no_grad()
def test_noise_stands_in_for_the_exemplars_condition_and_a_generator_repeats_it():
    network = tiny.correspondence(exemplar_noise=0.5)
    assert not network.needs_exemplar_condition
    _, exemplar, exemplar_condition, _ = inputs("correspondence")

    def style(seed: int) -> Tensor:
        return network(None, exemplar, generator=torch.Generator().manual_seed(seed)).style

    assert torch.equal(style(0), style(0))
    assert not torch.equal(style(0), style(1))
    one_each = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    found = network(None, exemplar, generator=one_each).style
    alone = network(None, exemplar[1:], generator=torch.Generator().manual_seed(1)).style
    torch.testing.assert_close(found[1:], alone, atol=1e-5, rtol=1e-4)
    given = network(None, exemplar, exemplar_condition).style
    assert torch.equal(given, network(None, exemplar, exemplar_condition).style)


@pytest.mark.parametrize("make", [CorrespondenceNetwork, TranslationNetwork])
def test_a_configuration_says_what_was_given_by_position(make: type):
    with torch.device("meta"):
        network = make(3)
        again = make.from_config(network.config)
    assert again.config.condition_channels == 3
    assert {name: tuple(value.shape) for name, value in again.state_dict().items()} == {
        name: tuple(value.shape) for name, value in network.state_dict().items()
    }


@torch.no_grad()
def test_the_noise_has_the_strength_of_the_configuration():
    # The first shared block reads features, then noise.
    network = tiny.correspondence(exemplar_noise=0.25, num_residual_blocks=1)
    seen = []
    network.residual_blocks.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(None, normal(4, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    assert seen[0][:, 8:].std().item() == pytest.approx(0.25, rel=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch_size": 2}, "patch_size must be odd"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"exemplar_noise": -1.0}, "exemplar_noise must not be negative"),
        ({"warp": "median"}, '"mean", "patch" or "coherent", got \'median\''),
        ({"warp_upsampling": "cubic"}, '"nearest" or "bilinear", got \'cubic\''),
        ({"adaptor_kernel_size": 5}, "must be 3 or 4, got 5"),
        ({"centring": "both"}, 'must be "channels" or "positions", got \'both\''),
    ],
)
def test_impossible_settings_of_the_correspondence_are_refused(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        CorrespondenceNetwork(2, base_channels=2, **settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(1, 3, 32, 32), None), r"condition must have the shape \(B, 2, H, W\)"),
        ((torch.ones(2, 32, 32), None), r"condition must have the shape .* got \(2, 32, 32\)"),
        ((torch.ones(1, 2, 32, 30), None), "multiples of 4 .* got 32 x 30; .* 32 x 32"),
        ((None, torch.ones(1, 4, 32, 32)), r"exemplar must have the shape \(B, 3, H, W\)"),
        ((None, torch.ones(1, 3, 32, 32)), "got none; pass exemplar_condition"),
        (
            (None, torch.ones(1, 3, 32, 32), torch.ones(1, 3, 32, 32)),
            r"exemplar_condition must have the shape \(B, 2, H, W\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_the_correspondence_are_refused(arguments: tuple, message: str):
    with pytest.raises(ValueError, match=message):
        tiny.correspondence()(*arguments)


@torch.no_grad()
@pytest.mark.parametrize("patch_size", [1, 3])
def test_features_centred_over_positions_are_matched_as_they_then_are(patch_size: int):
    network = tiny.correspondence(centring="positions", patch_size=patch_size, temperature=0.05)
    content, style, values = normal(2, 8, 5, 6), normal(2, 8, 4, 7), normal(2, 3, 4, 7)
    content, style = (2 * features + normal(2, 8, 1, 1) for features in (content, style))

    def unit(features: Tensor) -> Tensor:
        features = features - features.mean((2, 3), keepdim=True)
        patches = torch.nn.functional.unfold(features, patch_size, padding=patch_size // 2)
        return torch.nn.functional.normalize(patches, dim=1)

    shares = (unit(content).mT @ unit(style) / 0.05).softmax(dim=2)
    expected = (shares @ values.flatten(2).mT).mT.unflatten(2, (5, 6))
    torch.testing.assert_close(network.match(content, style).warp(values), expected)
    nested = network.match(content, [[one] for one in style])
    torch.testing.assert_close(nested.warp([[one] for one in values]), expected)


@torch.no_grad()
def test_centring_says_what_the_matching_does_not_see():
    content, style, values = normal(1, 8, 5, 6), normal(1, 8, 4, 7), normal(1, 3, 4, 7)
    moved = {"positions": content + normal(1, 8, 1, 1), "channels": content + normal(1, 1, 5, 6)}
    for centring in moved:
        network = tiny.correspondence(centring=centring, patch_size=1)
        seen = network.match(content, style).warp(values)
        same = {
            name: torch.allclose(network.match(other, style).warp(values), seen, atol=1e-3)
            for name, other in moved.items()
        }
        assert same == {name: name == centring for name in moved}
