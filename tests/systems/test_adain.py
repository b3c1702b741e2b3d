"""AdaIN: its terms, statistics that move, strength, several styles, and an encoder that stays."""

import copy
import functools
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cocosnet_hf import DistilledVGG19Features, PictureCondition
from cocosnet_hf.models.content_style import init_he_
from cocosnet_hf.models.drawn import drawn
from cocosnet_hf.models.norms import moments
from cocosnet_hf.systems import AdaIN, AdaINLosses, AdaINPipeline, Batch, Networks
from cocosnet_hf.systems.adain import DEEPEST, LAYERS, shares_of, stylized
from tests.support import tiny
from tests.support.phases import PlainPhases
from tests.support.unpaired import batch, made, two_colour

SETTINGS = tiny.ADAIN_SETTINGS


def seeing(losses: AdaINLosses | None = None) -> AdaIN:
    """A system whose encoder, of no known weights, passes on what it sees."""
    system = made(AdaIN, SETTINGS, losses)
    init_he_(system.networks["encoder"])
    return system


def piped(system: AdaIN) -> AdaINPipeline:
    pipe = system.pipeline(system.networks)
    pipe.set_progress_bar_config(disable=True)
    pipe.condition = PictureCondition()
    return pipe


@pytest.fixture(scope="module")
def pipe() -> AdaINPipeline:
    return piped(seeing())


def photos(seed: int = 0) -> Tensor:
    """Two in 0..1."""
    return (batch(seed).exemplar + 1) / 2


def test_the_terms_are_those_of_the_paper_computed_plainly():
    system, given = seeing(), batch()
    phases = PlainPhases(system)
    system.step(phases, given)
    n, c, s = system.networks, drawn(given.condition), given.exemplar

    def statistics(x: Tensor) -> list[Tensor]:
        flat = x.flatten(2)
        return [flat.mean(2), (flat.var(2, correction=0) + 1e-5).sqrt()]

    with torch.no_grad():
        f_c, f_s = n["encoder"](c, [DEEPEST])[DEEPEST], n["encoder"](s, LAYERS)
        (m_c, d_c), (m_s, d_s) = statistics(f_c), statistics(f_s[DEEPEST])
        t = d_s[..., None, None] * (f_c - m_c[..., None, None]) / d_c[..., None, None]
        t = t + m_s[..., None, None]
        found = n["encoder"](n["decoder"](t), LAYERS)
        style = sum(
            F.mse_loss(one, other)
            for name in LAYERS
            for one, other in zip(statistics(found[name]), statistics(f_s[name]), strict=True)
        )
    expected = {"content": F.mse_loss(found[DEEPEST], t), "style": 10 * style}
    torch.testing.assert_close(phases.terms["decoder"], expected)
    assert phases.gradients == {"decoder": {"decoder"}}


def test_features_take_the_statistics_of_the_style_and_stay_with_their_own():
    networks = seeing().networks
    one, other = drawn(two_colour(0, side=32).condition), two_colour(1, side=32).exemplar
    with torch.no_grad():
        own, look = (networks["encoder"](x, [DEEPEST])[DEEPEST] for x in (one, other))
        # Of a channel that is even there is nothing to stretch.
        seen = (moments(own)[0] > 0.03) & (moments(look)[0] > 0.03)
        assert seen.float().mean() > 0.2
        for found, wanted in zip(
            moments(stylized(networks, one, other)), moments(look), strict=True
        ):
            torch.testing.assert_close(found[seen], wanted[seen], rtol=1e-2, atol=1e-3)
        torch.testing.assert_close(stylized(networks, one, one), own, rtol=1e-3, atol=1e-3)


def test_the_encoder_is_the_recipes_perceptual_network_and_never_changes():
    system = made(AdaIN, SETTINGS)
    torch.manual_seed(7)
    known = tiny.lively(DistilledVGG19Features())
    system.prepare(lambda: known, "cpu")
    before = copy.deepcopy(known.state_dict())
    phases = PlainPhases(system, rate=1e-3)
    for _ in range(2):
        system.step(phases, batch())
    for key, value in system.networks["encoder"].state_dict().items():
        assert torch.equal(value, before[key]), key
    assert system.frozen == ("encoder",)
    wrong = made(AdaIN, SETTINGS)
    with pytest.raises(ValueError, match="a MirroredDecoder: set networks.encoder.class"):
        wrong.prepare(lambda: wrong.networks["decoder"], "cpu")


def test_strength_goes_from_the_content_to_the_style(pipe: AdaINPipeline):
    content, style = photos(0), photos(1)
    f = pipe.encoder(content * 2 - 1, [DEEPEST])[DEEPEST]
    t = stylized(pipe.networks, content * 2 - 1, style * 2 - 1)
    for strength in (0.0, 0.25, 1.0):
        found = pipe(content, style, strength=strength, output_type="pt").images
        expected = pipe.decoder((1 - strength) * f + strength * t)
        torch.testing.assert_close(found, (expected / 2 + 0.5).clamp(0, 1))


def test_several_styles_are_mixed_by_numbers_or_by_where(pipe: AdaINPipeline):
    content, styles = photos(0), photos(1)
    both = [stylized(pipe.networks, content * 2 - 1, one[None] * 2 - 1) for one in styles]
    found = pipe(content, styles, weights=[1, 3], output_type="pt").images
    expected = pipe.decoder(both[0] / 4 + both[1] * 3 / 4)
    torch.testing.assert_close(found, (expected / 2 + 0.5).clamp(0, 1))
    left = torch.zeros(2, 32, 32)
    left[0, :, :16], left[1, :, 16:] = 1, 1
    found = pipe(content, styles, weights=left, output_type="pt").images
    joined = torch.cat([both[0][..., :2], both[1][..., 2:]], 3)
    torch.testing.assert_close(found, (pipe.decoder(joined) / 2 + 0.5).clamp(0, 1))


def test_kept_colours_are_those_of_the_content(pipe: AdaINPipeline):
    content, style = photos(0), photos(1)
    kept = pipe(content, style, keep_colors=True, output_type="pt").images
    # A style that differs in colours alone is then the same style.
    recoloured = style * torch.tensor([0.5, 0.7, 0.4]).view(3, 1, 1) + 0.2
    other = pipe(content, recoloured, keep_colors=True, output_type="pt").images
    plain = [pipe(content, one, output_type="pt").images for one in (style, recoloured)]
    assert (kept - other).abs().max() < (plain[0] - plain[1]).abs().max() / 3
    (spread, mean), (own_spread, own_mean) = moments(content), moments(style)
    by_hand = (style - own_mean[..., None, None]) / own_spread[..., None, None]
    by_hand = by_hand * spread[..., None, None] + mean[..., None, None]
    expected = pipe(content, by_hand.clamp(0, 1), output_type="pt").images
    torch.testing.assert_close(kept, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("weights", [[1.0], [-1.0, 2.0], [0.0, 0.0], torch.zeros(2, 4, 4, 1)])
def test_weights_that_cannot_be_are_refused(weights: list[float] | Tensor):
    with pytest.raises(ValueError, match=r"weights must be \(2,\) or \(2, H, W\)"):
        shares_of(weights, 2)


def test_a_strength_beyond_is_refused(pipe: AdaINPipeline):
    with pytest.raises(ValueError, match="strength must be in 0..1, got 2"):
        pipe(photos(), photos(), strength=2)


def distance(pipe: AdaINPipeline, strength: float) -> float:
    """Of the statistics of four layers, of pictures painted so strongly to their styles."""
    given = two_colour(999, 4, 32)
    style = (given.exemplar + 1) / 2
    images = pipe(given.condition, style, strength=strength, output_type="pt").images
    said, looks = pipe.encoder(images * 2 - 1, LAYERS), pipe.encoder(given.exemplar, LAYERS)
    pairs = [(moments(said[name]), moments(looks[name])) for name in LAYERS]
    return sum(F.mse_loss(x, y).item() for one, two in pairs for x, y in zip(one, two, strict=True))


@pytest.mark.slow
def test_pictures_come_near_to_the_style_because_of_its_term():
    found = []
    for weight in (10.0, 0.0):
        torch.manual_seed(0)
        system = seeing(AdaINLosses(style=weight))
        phases = PlainPhases(system, rate=3e-4)
        for step in range(120):
            system.step(phases, two_colour(step, side=32))
        found.append(distance(piped(system), strength=1.0))
    assert found[0] < found[1] / 2


# What its strength is for, on pictures of 4 x 4 and networks that see one position at a time ------

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def toned(seed: int, count: int = 16) -> Batch:
    """Contents in tones of blue and white, styles in a colour each."""
    generator = torch.Generator().manual_seed(seed)
    tones, other = torch.rand(2, count, 1, 4, 4, generator=generator)
    condition = torch.cat([tones, tones, 0.2 + 0.8 * tones], dim=1)
    colour = 0.2 + 0.8 * torch.rand(count, 3, 1, 1, generator=generator)
    style = (0.2 + 0.8 * other) * colour * 2 - 1
    return Batch(style, condition, style, None, torch.zeros(count))


class Tones(nn.Module):
    """An encoder of four layers that nothing taught, and that loses nothing."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 16, 16, 16)
        self.layers = nn.ModuleList(nn.Conv2d(*pair, 1) for pair in pairwise(widths))
        for layer in self.layers:
            nn.init.orthogonal_(layer.weight, 2**0.5)
            nn.init.normal_(layer.bias, 0, 0.3)

    def forward(self, x: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        found = {}
        for name, layer in zip(LAYERS, self.layers, strict=True):
            found[name] = x = F.leaky_relu(layer(x), 0.2)
        return {name: found[name] for name in layers}


@functools.cache
def small(steps: int = 200, *, of_styles: bool = True) -> Networks:
    """The networks after so many steps. of_styles: else each content is its own style."""
    torch.manual_seed(0)
    parts = [nn.Conv2d(16, 32, 1), nn.LeakyReLU(0.2), nn.Conv2d(32, 32, 1), nn.LeakyReLU(0.2)]
    networks = {"encoder": Tones(), "decoder": nn.Sequential(*parts, nn.Conv2d(32, 3, 1))}
    system = AdaIN(PictureCondition(), networks, AdaINLosses())
    phases = PlainPhases(system, rate=5e-3)
    for step in range(steps):
        given = toned(step)
        system.step(phases, given if of_styles else replace(given, exemplar=drawn(given.condition)))
    return networks


@torch.no_grad()
def in_strengths(nets: Networks) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Unseen contents and styles, and what they become, ever more strongly."""
    given = toned(99_999, 64)
    content, style = drawn(given.condition), given.exemplar
    features = nets["encoder"](content, [DEEPEST])[DEEPEST]
    wanted = stylized(nets, content, style)
    images = [nets["decoder"](torch.lerp(features, wanted, one)) for one in STRENGTHS]
    return content, style, images


@torch.no_grad()
def gram_distance(nets: Networks, pictures: Tensor, style: Tensor) -> float:
    """Of the Gram matrices of four layers, as a share of the style's own."""
    found = []
    for name in LAYERS:
        maps = [nets["encoder"](x, [name])[name] for x in (pictures, style)]
        one, other = (torch.einsum("bchw,bdhw->bcd", x, x) for x in maps)
        found.append(((one - other).norm(dim=(1, 2)) / other.norm(dim=(1, 2))).mean().item())
    return sum(found)


def test_the_stronger_the_nearer_to_the_style_because_the_decoder_was_taught():
    """Gram matrices come nearer with each step, to a quarter; of one that was not taught, not."""
    found = []
    for nets in (small(), small(steps=0)):
        _, style, images = in_strengths(nets)
        found.append([gram_distance(nets, one, style) for one in images])
    assert found[0] == sorted(found[0], reverse=True) and found[0][-1] < found[0][0] / 4, found
    assert found[1][-1] > 0.9 * found[1][0], found


def test_without_strength_the_content_comes_back_almost_as_from_an_autoencoder():
    """Which saw nothing but contents; at full strength, or by a decoder untaught, it does not."""
    content, _, images = in_strengths(small())
    others = [in_strengths(nets)[2] for nets in (small(of_styles=False), small(steps=0))]
    pictures = images[0], others[0][0], images[-1], others[1][0]
    kept, best, styled, untaught = (F.l1_loss(one, content).item() for one in pictures)
    assert kept < best + 0.15 and min(styled, untaught) > 2 * kept, (kept, best, styled, untaught)
