"""AdaIN: its terms, statistics that move, strength, several styles, and an encoder that stays."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf import DistilledVGG19Features, PictureCondition
from cocosnet_hf.models.content_style import init_he_
from cocosnet_hf.models.drawn import drawn
from cocosnet_hf.models.norms import moments
from cocosnet_hf.systems import AdaIN, AdaINLosses, AdaINPipeline
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
