"""The baseline that paints from a style vector, without correspondence."""

from itertools import pairwise

import pytest
import torch

from cocosnet_hf import DistilledVGG19Features, EdgeCondition
from cocosnet_hf.models import StyleEncoder
from cocosnet_hf.systems import Batch, StyleVector, StyleVectorPipeline
from cocosnet_hf.systems.adversarial import PictureLosses
from tests.support import tiny
from tests.support.phases import PlainPhases


def photo(seed: int, side: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, side, side, generator=generator) * 2 - 1


@pytest.fixture
def encoder() -> StyleEncoder:
    return tiny.lively(StyleEncoder(9, channels=(6, 8, 8)))


def test_a_style_does_not_say_where_in_the_exemplar_anything_is(encoder: StyleEncoder):
    first = photo(0)
    style = encoder(first)
    assert style.shape == (1, 9)
    for shifts in ((8, 0), (24, 40)):
        rolled = first.roll(shifts, dims=(2, 3))
        torch.testing.assert_close(encoder(rolled), style, rtol=0, atol=1e-5)
    assert (encoder(photo(1)) - style).abs().max() > 1e-2


def test_a_flat_exemplar_has_one_style_at_every_size(encoder: StyleEncoder):
    colour = torch.tensor([0.3, -0.5, 0.9]).reshape(1, 3, 1, 1)
    sizes = ((64, 64), (8, 8), (37, 50), (1, 3))
    styles = [encoder(colour.expand(1, 3, *size)) for size in sizes]
    for one, other in pairwise(styles):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_a_style_begins_with_the_means_and_spreads_of_the_colours(encoder: StyleEncoder):
    exemplar = photo(2) * 0.5 + 0.25
    colours = exemplar[0].flatten(1)
    expected = torch.cat([colours.mean(dim=1), colours.std(dim=1, unbiased=False)])
    torch.testing.assert_close(encoder(exemplar)[0, :6], expected)


def test_a_style_of_colours_alone_is_an_error():
    with pytest.raises(ValueError, match="style_channels must be over 6"):
        StyleEncoder(6)


def test_an_exemplar_of_other_channels_is_an_error(encoder: StyleEncoder):
    with pytest.raises(ValueError, match=r"exemplar must have the shape \(B, 3, H, W\)"):
        encoder(torch.zeros(1, 4, 64, 64))


@torch.no_grad()
def test_the_picture_changes_with_the_exemplar_but_not_with_its_places(encoder: StyleEncoder):
    pipe = StyleVectorPipeline(encoder, tiny.translation(2 + 9 - 3), EdgeCondition(), 32)
    condition = torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(3))
    exemplar = (photo(0, 32)[0] + 1) / 2
    looks = (exemplar, exemplar.roll((8, 16), dims=(1, 2)), exemplar * 0.3)
    pictures = [pipe(condition, look, output_type="pt").images for look in looks]
    assert pictures[0].shape == (1, 3, 32, 32)
    assert (pictures[0] - pictures[1]).abs().max() < 1e-4
    assert (pictures[0] - pictures[2]).abs().max() > 1e-2
    batch = pipe([condition, condition], [looks[0], looks[2]], output_type="pt").images
    torch.testing.assert_close(batch, torch.cat([pictures[0], pictures[2]]))


def test_exemplars_of_a_batch_have_one_size(encoder: StyleEncoder):
    pipe = StyleVectorPipeline(encoder, tiny.translation(2 + 9 - 3), EdgeCondition(), 32)
    conditions = torch.rand(2, 2, 32, 32)
    with pytest.raises(ValueError, match="the exemplars of a batch of 2 must be"):
        pipe(conditions, [torch.rand(3, 32, 32), torch.rand(3, 64, 64)])
    with pytest.raises(ValueError, match="output_type must be"):
        pipe(conditions, torch.rand(3, 32, 32), output_type="jpg")


def test_a_step_is_the_published_losses_computed_plainly():
    """Those of CoCosNet's picture, of which the contextual one is tested by itself."""
    torch.manual_seed(0)
    settings = {
        "style_encoder": {"style_channels": 9, "channels": [4, 8]},
        "translation": tiny.NETWORK_SETTINGS["translation"],
        "discriminator": tiny.NETWORK_SETTINGS["discriminator"],
    }
    networks = StyleVector.make_networks(EdgeCondition(), settings)
    for network in networks.values():  # so that each computation sees the same singular vectors
        tiny.lively(network)
    losses = PictureLosses(
        adversarial=2, feature_matching=3, pseudo_exemplar=4, perceptual=5, contextual=0
    )
    network = tiny.lively(DistilledVGG19Features()).requires_grad_(False)
    system = StyleVector(EdgeCondition(), networks, losses, perceptual=network)
    condition = torch.rand(2, 2, 32, 32)
    target, exemplar = (torch.cat([photo(seed, 32), photo(seed + 1, 32)]) for seed in (0, 2))
    given = Batch(target, condition, exemplar, None, torch.tensor([1.0, 0.0]))
    with torch.no_grad():
        fake = system.generate(networks, given).image
        (false,), (true,) = (
            networks["discriminator"](condition, image) for image in (fake, target)
        )
        found, wanted = (list(network.calibrated(one).values()) for one in (fake, target))
        own = zip((1 / 32, 1 / 16, 1 / 8, 1 / 4, 1), found, wanted, strict=True)
        expected = {
            "adversarial": -2 * false[-1].mean(),
            "feature_matching": 3
            * sum((x - y).abs().mean() for x, y in zip(false[:-1], true[:-1], strict=True)),
            # Of two pictures the first is its own exemplar.
            "pseudo_exemplar": 4 * sum(w * (x - y)[0].abs().mean() / 2 for w, x, y in own),
            "perceptual": 5 * (found[3] - wanted[3]).square().mean(),
        }
        critic = {
            "fake": 2 * (1 + false[-1]).clamp(min=0).mean(),
            "real": 2 * (1 - true[-1]).clamp(min=0).mean(),
        }
    phases = PlainPhases(system)
    system.step(phases, given)
    torch.testing.assert_close(phases.terms["generator"], expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(phases.terms["discriminator"], critic, rtol=1e-3, atol=1e-5)
    assert phases.gradients == {
        "generator": {"style_encoder", "translation"},
        "discriminator": {"discriminator"},
    }
