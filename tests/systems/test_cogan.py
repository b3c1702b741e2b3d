"""CoGAN: its terms, its pairs, partners of pictures, and that pairs agree by what is shared."""

import pytest
import torch
import torch.nn.functional as F

from cocosnet_hf import PictureCondition
from cocosnet_hf.models.drawn import drawn
from cocosnet_hf.systems import Batch, CoGAN, CoGANPipeline
from cocosnet_hf.systems.cogan import matched
from tests.support import tiny
from tests.support.phases import PlainPhases
from tests.support.unpaired import batch, made, quiet

SETTINGS = tiny.COGAN_SETTINGS


@pytest.fixture(scope="module")
def pipe() -> CoGANPipeline:
    return quiet(made(CoGAN, SETTINGS))


@pytest.mark.parametrize("shares", [True, False])
def test_the_terms_are_those_of_the_paper_computed_plainly(shares: bool):
    settings = {name: own | {"shares": shares} for name, own in SETTINGS.items()}
    system, given = made(CoGAN, settings, lively=True), batch(count=3)
    phases = PlainPhases(system)
    torch.manual_seed(5)
    system.step(phases, given)
    torch.manual_seed(5)
    style = torch.rand(3, 6) * 2 - 1
    g, c = system.networks["generator"], system.networks["critic"]
    with torch.no_grad():
        trunks = [g.trunks[0], g.trunks[0 if shares else 1]]
        x_a, x_b = (
            own(trunk(style[..., None, None])) for own, trunk in zip(g.own, trunks, strict=True)
        )
        uppers = [c.upper[0], c.upper[0 if shares else 1]]
        d_a, d_b = (lambda x, at=at: uppers[at](c.own[at](x)) for at in (0, 1))
        expected = {
            "fake": F.softplus(d_a(x_a)).mean() + F.softplus(d_b(x_b)).mean(),
            "real": F.softplus(-d_a(drawn(given.condition))).mean()
            + F.softplus(-d_b(given.exemplar)).mean(),
        }
        painted = F.softplus(-d_a(x_a)).mean() + F.softplus(-d_b(x_b)).mean()
    torch.testing.assert_close(phases.terms["critic"], expected)
    torch.testing.assert_close(phases.terms["generator"], {"adversarial": painted})
    assert phases.gradients == {"critic": {"critic"}, "generator": {"generator"}}


def test_what_is_shared_is_the_same_tensors_and_saved_once():
    networks = made(CoGAN, SETTINGS).networks
    for network in networks.values():
        kept = {value.data_ptr() for value in network.state_dict().values() if value.ndim}
        assert len(kept) == sum(value.ndim > 0 for value in network.state_dict().values())
    apart = made(CoGAN, {name: own | {"shares": False} for name, own in SETTINGS.items()}).networks
    for name, network in networks.items():
        few, many = (sum(p.numel() for p in one.parameters()) for one in (network, apart[name]))
        assert few < many < 2 * few


def test_of_the_generator_two_layers_are_a_domains_own_and_of_the_critic_the_first():
    """As is decided: the last doubling and the picture's layer; what a picture is seen by."""
    networks = made(CoGAN, SETTINGS).networks
    layers = {
        name: [
            [type(part).__name__ for part in own.modules() if "Conv" in type(part).__name__]
            for own in network.own
        ]
        for name, network in networks.items()
    }
    assert layers == {
        "generator": [["ConvTranspose2d", "Conv2d"]] * 2,
        "critic": [["Conv2d"]] * 2,
    }
    assert len(networks["generator"].trunks) == len(networks["critic"].upper) == 1


@torch.no_grad()
def test_a_critic_sees_the_pictures_of_each_domain_by_their_own_statistics():
    critic = tiny.lively(made(CoGAN, SETTINGS).networks["critic"]).train()
    first, second, third = torch.rand(3, 4, 3, 32, 32) * 2 - 1
    assert torch.equal(critic(first, second)[0], critic(first, third)[0])
    changed = torch.cat([first[:2], third[:2]])
    assert not torch.equal(critic(first, second)[0][:2], critic(changed, second)[0][:2])


@torch.no_grad()
def test_pairs_are_made_in_use_as_in_batches_of_training():
    """By the statistics that training has gathered, so that a pair may be made alone."""
    generator = tiny.lively(made(CoGAN, SETTINGS).networks["generator"])
    styles = torch.rand(32, 6) * 2 - 1
    before = generator(styles)[1]
    generator.train()
    for _ in range(40):
        generator(torch.rand(32, 6) * 2 - 1)
    wanted, after = generator(styles)[1], generator.eval()(styles)[1]
    assert (after - wanted).abs().mean() < 0.5 * (before - wanted).abs().mean()
    torch.testing.assert_close(generator(styles[:1])[1], after[:1], rtol=1e-4, atol=1e-4)


def test_pairs_are_drawn_by_chance_and_the_same_of_one_generator(pipe: CoGANPipeline):
    one, two = (
        pipe.sample(3, torch.Generator().manual_seed(1), output_type="pt") for _ in range(2)
    )
    assert torch.equal(one.images, two.images) and torch.equal(one.partners, two.partners)
    assert one.images.shape == one.partners.shape == (3, 3, 32, 32)
    partner, photo = pipe.generator(one.styles)
    torch.testing.assert_close(one.images, (photo / 2 + 0.5).clamp(0, 1))
    torch.testing.assert_close(one.partners, (partner / 2 + 0.5).clamp(0, 1))
    other = pipe.sample(3, torch.Generator().manual_seed(2), output_type="pt")
    assert (one.images - other.images).abs().max() > 0.01


def test_a_picture_of_one_domain_gets_the_partner_of_the_nearest(pipe: CoGANPipeline):
    with torch.no_grad():
        picture, photo = pipe.generator(torch.rand(2, 6) * 2 - 1)
    pipe.condition = PictureCondition()
    found = pipe(picture / 2 + 0.5, output_type="pt").images * 2 - 1
    start = pipe.generator(torch.zeros(2, 6))[1]
    assert F.l1_loss(found, photo) < F.l1_loss(start, photo) / 2
    with pytest.raises(ValueError, match="must be 32 x 32 pixels.*pass height=32 and width=32"):
        matched(pipe.generator, torch.zeros(1, 3, 16, 16))


def test_a_critic_is_of_its_generators_size():
    critic = made(CoGAN, SETTINGS).networks["critic"]
    with pytest.raises(ValueError, match=r"must be \(32, 32\) pixels"):
        critic(torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 16, 16))
    with pytest.raises(ValueError, match=r"networks\.critic\.size must be"):
        made(CoGAN, SETTINGS | {"critic": SETTINGS["critic"] | {"size": [64, 64]}})


def halves(seed: int) -> Batch:
    """Left or right half bright: in blue and white, and of other draws in black and red."""
    torch.manual_seed(seed)
    left = torch.rand(2, 16, 1, 1, 1) < 0.5
    bright = ((torch.arange(8) < 4) == left).expand(2, 16, 1, 8, 8).float()
    condition = torch.cat([bright[0], bright[0], torch.ones(16, 1, 8, 8)], 1)
    photo = F.pad(bright[1], (0, 0, 0, 0, 0, 2)) * 2 - 1
    return Batch(photo, condition, photo, None, torch.zeros(16))


def agreement(shares: bool) -> float:
    """How far the bright halves of pairs are the same ones: 0 by chance, 1 always."""
    widths = {"channels": [16, 16, 8], "start": [2, 2], "style_channels": 4}
    critic = {"channels": [8, 16], "hidden": 16}
    settings = {
        name: own | {"shares": shares}
        for name, own in {"generator": widths, "critic": critic}.items()
    }
    system = made(CoGAN, settings)
    phases = PlainPhases(system, 5e-3)
    for step in range(60):
        system.step(phases, halves(step))
    generator = system.networks["generator"]
    with torch.no_grad():
        pairs = generator(torch.rand(64, 4) * 2 - 1)
    sides = [(x[:, 0, :, :4] - x[:, 0, :, 4:]).mean((1, 2)) for x in pairs]
    return F.cosine_similarity(*sides, dim=0).item()


@pytest.mark.slow
def test_pairs_agree_because_layers_are_shared():
    assert agreement(True) > 0.7
    assert abs(agreement(False)) < 0.5
