"""BicycleGAN: its terms, what the encoder learns from, and that codes are seen."""

import pytest
import torch
import torch.nn.functional as F

from cocosnet_hf import EdgeCondition
from cocosnet_hf.systems import Batch, BicycleGAN, BicycleGANLosses, Networks
from tests.support import tiny
from tests.support.phases import PlainPhases

STEPS = 200


def made(losses: BicycleGANLosses | None = None) -> BicycleGAN:
    torch.manual_seed(0)
    networks = BicycleGAN.make_networks(EdgeCondition(), tiny.BICYCLEGAN_SETTINGS)
    for network in networks.values():
        tiny.lively(network)
    return BicycleGAN(EdgeCondition(), networks, losses or BicycleGANLosses())


def batch(seed: int = 0, count: int = 4, side: int = 32) -> Batch:
    """Photos of one colour each, with the condition's lines in black."""
    generator = torch.Generator().manual_seed(seed)
    condition = (torch.rand(count, 2, 4, 4, generator=generator) < 0.3).float()
    condition = F.interpolate(condition, size=(side, side))
    colour = torch.rand(count, 3, 1, 1, generator=generator) * 1.6 - 0.8
    image = torch.where(condition[:, :1] > 0, -1.0, colour.expand(-1, -1, side, side))
    return Batch(image, condition, image.roll(1, 0), None, torch.zeros(count))


def test_the_terms_are_those_of_the_paper_computed_plainly():
    system = made()
    phases, given = PlainPhases(system), batch()
    torch.manual_seed(5)
    system.step(phases, given)
    torch.manual_seed(5)
    n, (y1, y2), x1 = system.networks, given.image.split(2), given.condition[:2]
    with torch.no_grad():
        mean, log_variance = n["encoder"](y1)
        spread = log_variance.exp().sqrt()
        code, random = mean + spread * torch.randn(2, 4), torch.randn(2, 4)
        encoded, painted = n["generator"](x1, code), n["generator"](x1, random)

        def square(name: str, picture: torch.Tensor, wanted: float) -> torch.Tensor:
            scales = n[name](picture[:, :0], picture)
            return sum((scale[-1] - wanted).pow(2).mean() for scale in scales)

        normal = torch.distributions.Normal(0.0, 1.0)
        posterior = torch.distributions.Normal(mean, spread)
        expected = {
            "adversarial": square("encoded_critic", encoded, 1)
            + square("random_critic", painted, 1),
            "pixel": 10 * (encoded - y1).abs().mean(),
            "kl": 0.01 * torch.distributions.kl_divergence(posterior, normal).sum(),
            "style": 0.5 * (n["encoder"](painted)[0] - random).abs().mean(),
        }
        critics = {
            "encoded_fake": square("encoded_critic", encoded, 0),
            "encoded_real": square("encoded_critic", y1, 1),
            "random_fake": square("random_critic", painted, 0),
            "random_real": square("random_critic", y2, 1),
        }
    torch.testing.assert_close(phases.terms["generator"], expected)
    torch.testing.assert_close(phases.terms["critics"], critics)


def test_the_encoder_learns_nothing_from_codes_by_chance_and_the_generator_does():
    everything = {"adversarial": 0, "pixel": 0, "kl": 0, "style": 0}
    for term, learning in {
        "style": {"generator"},
        "pixel": {"generator", "encoder"},
        "kl": {"encoder"},
    }.items():
        system = made(BicycleGANLosses(**everything | {term: 1}))
        phases = PlainPhases(system)
        system.step(phases, batch())
        assert phases.gradients == {"generator": learning}, term
    phases = PlainPhases(made())
    phases.system.step(phases, batch())
    assert phases.gradients["critics"] == {"encoded_critic", "random_critic"}


def test_what_the_trainer_is_shown_is_the_encoded_half():
    system, given = made(), batch()
    made_of_it = system.step(PlainPhases(system), given)
    assert made_of_it.image.shape == (2, 3, 32, 32)
    torch.testing.assert_close(made_of_it.batch.image, given.image[:2])
    with pytest.raises(ValueError, match="got 3 examples: set data.batch_size to an even number"):
        system.step(PlainPhases(system), batch(count=3))


def test_a_few_steps_on_one_batch_lower_what_is_no_game():
    system = made(BicycleGANLosses(adversarial=0.1))
    phases, given = PlainPhases(system, rate=2e-3), batch()
    sums = []
    for step in range(6):
        torch.manual_seed(step % 2)
        system.step(phases, given)
        sums.append(sum(v for k, v in phases.terms["generator"].items() if k != "adversarial"))
    assert sums[4] < sums[0] and sums[5] < sums[1]


def test_codes_of_two_lengths_are_refused():
    options = tiny.BICYCLEGAN_SETTINGS | {"encoder": {"channels": [4, 8]}}
    with pytest.raises(ValueError, match="generator.style_channels must be 8, .* got 4: leave it"):
        BicycleGAN.make_networks(EdgeCondition(), options)


def test_an_exemplar_is_its_mean_code_and_chance_needs_none():
    system, given = made(), batch()
    pipe = system.pipeline(system.networks)
    pipe.set_progress_bar_config(disable=True)
    photos = (given.exemplar + 1) / 2
    found = pipe(given.condition, photos, output_type="pt")
    with torch.no_grad():
        mean, _ = system.networks["encoder"](given.exemplar)
    torch.testing.assert_close(found.styles, mean, rtol=0, atol=1e-5)
    seeds = [torch.Generator().manual_seed(seed) for seed in (0, 0, 1)]
    drawn = [pipe(given.condition[0], count=2, generator=seed).styles for seed in seeds]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


@pytest.fixture(scope="module")
def learned() -> Networks:
    """The networks after a short training on photos whose colour the condition does not say."""
    system = made(BicycleGANLosses(adversarial=0.05, style=5))
    phases = PlainPhases(system, rate=4e-3)
    for step in range(STEPS):
        torch.manual_seed(step)
        system.step(phases, batch(seed=step, count=8, side=16))
    return {name: network.eval() for name, network in system.networks.items()}


def of_chance(nets: Networks, codes: torch.Tensor) -> torch.Tensor:
    """One condition painted in each of these codes."""
    condition = batch(seed=999, side=16).condition[:1].expand(len(codes), -1, -1, -1)
    with torch.no_grad():
        return nets["generator"](condition, codes)


@pytest.mark.slow
def test_codes_make_pictures_differ_because_they_are_encoded_and_recoded(learned: Networks):
    """Five times as far as of pix2pix that is fed a code and ignores it (Zhu et al. 2017).

    The control learns as long, of the critic and of pixels, of pictures in codes by chance alone.
    """
    system = made(BicycleGANLosses(adversarial=0.05))
    phases = PlainPhases(system, rate=4e-3)
    for step in range(STEPS):
        torch.manual_seed(step)
        given = batch(seed=step, count=8, side=16)
        with phases("generator") as (nets, terms):
            fake = nets["generator"](given.condition, torch.randn(8, 4))
            terms["adversarial"] = 0.05 * system.fooled(nets, {"random": fake})
            terms["pixel"] = 10 * F.l1_loss(fake, given.image)
        system.critics_step(phases, {"random": given.image}, {"random": fake})
    codes = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    spread, ignored = (of_chance(nets, codes).std(0).mean() for nets in (learned, system.networks))
    assert spread > 5 * ignored, (spread, ignored)


@pytest.mark.slow
def test_a_code_comes_back_from_the_picture_painted_in_it(learned: Networks):
    codes = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, _ = learned["encoder"](of_chance(learned, codes))
    together = [
        torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(codes.T, found.T, strict=True)
    ]
    assert sum(r > 0.5 for r in together) >= 2
    photos = batch(seed=998, count=16, side=16)
    with torch.no_grad():
        own, _ = learned["encoder"](photos.image)
        errors = [
            F.l1_loss(learned["generator"](photos.condition, code), photos.image)
            for code in (own, codes[:16])
        ]
    assert errors[0] < 0.8 * errors[1]
