"""StarGAN v2: its terms, who learns in which phase, its calls, and what its styles are for."""

import functools
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from cocosnet_hf import EdgeCondition
from cocosnet_hf.cards import model_card
from cocosnet_hf.conditions.asked import planes
from cocosnet_hf.models.norms import adaptive_norm
from cocosnet_hf.systems import (
    Batch,
    Networks,
    StarGANv2,
    StarGANv2Losses,
    StarGANv2Pipeline,
    SystemSettings,
)
from tests.support import tiny
from tests.support.asked import DOMAINS, batch
from tests.support.paths import CONFIGS
from tests.support.phases import PlainPhases
from tests.support.unpaired import quiet
from train.config import load_config
from train.machine import make_optimizer
from train.networks import build_system

SETTINGS = tiny.STARGANV2_SETTINGS


def made(losses: StarGANv2Losses | None = None, *, lively: bool = False, **changed: dict):
    torch.manual_seed(0)
    networks = StarGANv2.make_networks(DOMAINS, SETTINGS | changed)
    for network in networks.values():
        if lively:
            tiny.lively(network)
        network.train()
    settings = SystemSettings(image_size=32)
    return StarGANv2(DOMAINS, networks, losses or StarGANv2Losses(), settings)


@pytest.fixture(scope="module")
def pipe() -> StarGANv2Pipeline:
    return quiet(made())


def noise(width: int = 32) -> Image.Image:
    return Image.fromarray((torch.rand(32, width, 3) * 255).byte().numpy())


def test_the_terms_are_those_of_the_paper_computed_plainly():
    system, given = made(StarGANv2Losses(diversity=2), lively=True), batch(3)
    phases = PlainPhases(system)
    phases.share = 0.25
    torch.manual_seed(5)
    system.step(phases, given)
    torch.manual_seed(5)
    n, l1 = system.networks, F.l1_loss
    latents = torch.randn(2, 2, 4)
    x, y = given.condition[:, :3] * 2 - 1, given.condition[:, 3:].mean((2, 3)).argmax(1)
    paint, critic = n["generator"], n["critic"]
    mapping, encoder = n["mapping"], n["style_encoder"]
    with torch.no_grad():
        styles = {
            "latent": [mapping(z, y) for z in latents],
            "reference": [encoder(given.exemplar, y), encoder(given.image, y)],
        }
    for way, (first, second) in styles.items():
        true = x.clone().requires_grad_(True)
        slope = torch.autograd.grad(critic(true, given.source_domain).sum(), true)[0]
        with torch.no_grad():
            fake = paint(x, first)
            critics = {
                "fake": F.softplus(critic(fake, y)).mean(),
                "real": F.softplus(-critic(x, given.source_domain)).mean(),
                "r1": slope.pow(2).sum() / 2 / 2,
            }
            expected = {
                "adversarial": F.softplus(-critic(fake, y)).mean(),
                "style": l1(encoder(fake, y), first),
                "diversity": -2 * 0.75 * l1(fake, paint(x, second)),
                "cycle": l1(paint(fake, encoder(x, given.source_domain)), x),
            }
        torch.testing.assert_close(phases.terms[f"critic_{way}"], critics)
        torch.testing.assert_close(phases.terms[f"generator_{way}"], expected)


def test_each_phase_teaches_its_own_networks_and_photos_teach_no_style_encoder():
    system = made()
    phases = PlainPhases(system)
    system.step(phases, batch())
    assert phases.gradients == {
        "critic_latent": {"critic"},
        "critic_reference": {"critic"},
        "generator_latent": {"generator", "mapping", "style_encoder"},
        "generator_reference": {"generator"},
    }
    without = made(StarGANv2Losses(adversarial=0, r1=0))
    phases = PlainPhases(without)
    without.step(phases, batch())
    assert phases.terms.keys() == {"generator_latent", "generator_reference"}


def test_diversity_counts_less_towards_the_end_and_nothing_there():
    system, found = made(lively=True), []
    for share in (0.0, 0.5, 1.0):
        phases = PlainPhases(system)
        phases.share = share
        torch.manual_seed(0)
        system.step(phases, batch())
        found.append(phases.terms["generator_latent"]["diversity"].item())
    assert found[0] < 0 and found[1] == pytest.approx(found[0] / 2) and found[2] == 0


def test_the_mapping_network_learns_at_a_hundredth_of_the_rate():
    config = load_config(CONFIGS / "stargan-v2.yaml")
    system = build_system(config)
    wanted = {"generator": 2e-3, "mapping": 2e-5, "style_encoder": 2e-3, "critic": 2e-3}
    rates = {name: make_optimizer(config, system, name)[1] for name in wanted}
    assert rates == pytest.approx(wanted)


def test_a_style_is_of_an_exemplar_given_or_by_chance(pipe: StarGANv2Pipeline):
    picture, photo = noise(), torch.rand(3, 32, 32)
    of_photo = pipe(picture, photo, domain="blue", output_type="pt")
    domain = torch.tensor([2])
    style = pipe.style_encoder(photo[None] * 2 - 1, domain)
    torch.testing.assert_close(of_photo.styles, style)
    torch.testing.assert_close(pipe.encode(photo, "blue"), style)
    pixels = pipe.condition.encode(picture, 32, 32)[None, :3]
    expected = pipe.generator(pixels * 2 - 1, style) / 2 + 0.5
    torch.testing.assert_close(of_photo.images, expected.clamp(0, 1))
    assert (pipe.encode(photo, "red") - style).abs().max() > 1e-3

    def by_chance(seed: int, **call: object) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return pipe(picture, domain="red", generator=generator, **call, output_type="pt")

    three = by_chance(0, count=3)
    latents = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(three.styles, pipe.mapping(latents, torch.zeros(3).long()))
    torch.testing.assert_close(by_chance(0, count=3).images, three.images)
    again = pipe(picture, style=three.styles[2], output_type="pt").images
    torch.testing.assert_close(again, three.images[2:])
    drawn = pipe.sample(2, "red", torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn, three.styles[:2])
    between = pipe.interpolate(drawn[0], drawn[1], 3)
    torch.testing.assert_close(between[1], drawn.mean(0))
    mean = pipe(picture, domain="red", output_type="pt").styles
    torch.testing.assert_close(mean, pipe.mapping(torch.zeros(1, 4), torch.zeros(1).long()))


def test_a_condition_may_say_its_domain_itself(pipe: StarGANv2Pipeline):
    picture = noise(48)
    asked = pipe([{"picture": picture, "asked": "green"}, {"picture": picture, "asked": "red"}])
    assert asked.images[0].size == (48, 32)
    for name, image in zip(("green", "red"), asked.images, strict=True):
        assert pipe(picture, domain=name).images[0].tobytes() == image.tobytes()
    shaped = Image.new("RGB", (64, 32), "white")  # resized to the encoder's square
    assert pipe(picture, shaped, domain="red").images[0].size == (48, 32)


def test_what_leaves_the_range_is_cut_at_the_edge(pipe: StarGANv2Pipeline):
    with torch.no_grad():
        for weights in [*pipe.generator.parameters()][-2:]:
            weights.mul_(50)
    given = batch()
    with torch.no_grad():
        raw = pipe.generate(given.condition, given.exemplar)
    found = pipe(noise(), torch.rand(3, 32, 32), domain="red", output_type="pt").images
    assert raw.abs().max() > 1 and found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({}, "one of red, green, blue: pass domain="),
        ({"domain": "pink"}, "domain must be one of red, green, blue, got 'pink'"),
        ({"exemplar": torch.rand(3, 32, 32), "style": torch.zeros(4)}, "not both"),
        ({"domain": "red", "exemplar": torch.rand(3, 32, 32), "count": 2}, "count must be 1"),
        ({"style": torch.zeros(3)}, r"style must be \(4,\) or \(B, 4\)"),
        ({"domain": "red", "count": 2}, "pass generator="),
    ],
)
def test_calls_that_cannot_be_are_refused(pipe: StarGANv2Pipeline, call: dict, message: str):
    with pytest.raises(ValueError, match=message):
        pipe(noise(), **call)


def test_networks_that_cannot_be_are_refused_with_what_would_do():
    with pytest.raises(ValueError, match="condition of the type domain"):
        StarGANv2.make_networks(EdgeCondition(), SETTINGS)
    with pytest.raises(ValueError, match="such as 64, 128 or 256, got 48"):
        made(style_encoder={"size": 48})
    system, given = made(), batch(side=16)
    with pytest.raises(ValueError, match=r"must be 32 x 32 pixels.*got \(16, 16\)"):
        system.generate(system.networks, given)


def test_widths_do_not_follow_the_size_of_the_pictures():
    small, large = (made(style_encoder={"size": side}).networks for side in (32, 64))
    shapes = [
        {key: value.shape for key, value in nets["generator"].state_dict().items()}
        for nets in (small, large)
    ]
    assert shapes[0] == shapes[1]
    first = [next(nets["style_encoder"].parameters()).shape for nets in (small, large)]
    assert first[0] == first[1]


def test_its_card_names_the_method_and_its_domains(pipe: StarGANv2Pipeline):
    text = str(model_card(pipe))
    assert "[StarGAN v2](https://arxiv.org/abs/1912.01865)" in text
    assert '{"picture": "layout.jpg", "asked": "blue"}' in text and "| green |" in text


@pytest.mark.slow
def test_pictures_in_two_styles_differ_because_diversity_is_asked_for():
    """More than those of a control without the term, and learn no less to come back."""
    apart, back = [], []
    for weight in (2.0, 0.0):
        system = made(StarGANv2Losses(adversarial=0, r1=0, diversity=weight))
        phases = PlainPhases(system, 2e-3)
        for step in range(30):
            torch.manual_seed(step)
            system.step(phases, batch(step, 4))
        torch.manual_seed(0)
        nets, given = system.networks, batch(999, 12)
        picture, domain = given.condition[:, :3] * 2 - 1, given.condition[:, 3:, 0, 0].argmax(1)
        with torch.no_grad():
            one, other = (
                nets["generator"](picture, nets["mapping"](torch.randn(12, 4), domain))
                for _ in range(2)
            )
        apart.append(F.l1_loss(one, other).item())
        back.append(phases.terms["generator_latent"]["cycle"].item())
    assert apart[0] > 1.5 * apart[1]
    assert back[0] < 1 and back[1] < 1


# Domains, on pictures of 4 x 4 and networks that see one position at a time -----------------------


def tones(seed: int, count: int = 12) -> Batch:
    """Patterns in red, green or blue, before as much of the next colour as each look has."""
    generator = torch.Generator().manual_seed(seed)
    source, domain = torch.randint(3, (2, count), generator=generator)
    every = torch.arange(count)

    def photo(numbers: Tensor) -> Tensor:
        look = 0.5 * torch.rand(count, 1, 1, generator=generator)
        picture = torch.zeros(count, 3, 4, 4)
        picture[every, numbers] = 0.3 + 0.6 * torch.rand(count, 4, 4, generator=generator)
        picture[every, (numbers + 1) % 3] = look.expand(-1, 4, 4)
        return picture * 2 - 1

    picture, image, exemplar = photo(source), photo(domain), photo(domain)
    asked = planes(F.one_hot(domain, 3).float(), picture)
    condition = torch.cat([picture / 2 + 0.5, asked], dim=1)
    return Batch(image, condition, exemplar, None, torch.zeros(count), source_domain=source)


class Restyler(nn.Module):
    """A generator."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 1)])
        self.read = nn.ModuleList([nn.Linear(4, 32), nn.Linear(4, 32)])
        self.last = nn.Conv2d(16, 3, 1)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        for layer, read in zip(self.layers, self.read, strict=True):
            scale, shift = read(style).chunk(2, dim=1)
            x = F.leaky_relu(adaptive_norm(layer(x), 1 + scale, shift), 0.2)
        return self.last(x)


class OfDomains(nn.Module):
    """What layers say of colours, or of noise, a head for each domain."""

    config = SimpleNamespace(latent_channels=4)

    def __init__(self, outputs: int, *, of_pictures: bool = True):
        super().__init__()
        self.first = nn.Conv2d(3 if of_pictures else 4, 32, 1)
        self.second = nn.Conv2d(32, 32, 1)
        self.last, self.outputs = nn.Linear(32, 3 * outputs), outputs

    def forward(self, x: Tensor, domain: Tensor) -> Tensor:
        maps = x if x.ndim == 4 else x[..., None, None]
        maps = F.leaky_relu(self.second(F.leaky_relu(self.first(maps), 0.2)), 0.2)
        said = self.last(maps.mean((2, 3))).view(len(x), 3, self.outputs)
        said = said[torch.arange(len(x)), domain]
        return said if self.outputs > 1 else said[:, 0]


@functools.cache
def small(adversarial: float) -> Networks:
    """The networks after 200 steps by the weights of the recipe, but for the critic's."""
    torch.manual_seed(0)
    networks = {
        "generator": Restyler(),
        "mapping": OfDomains(4, of_pictures=False),
        "style_encoder": OfDomains(4),
        "critic": OfDomains(1),
    }
    recipe = load_config(CONFIGS / "stargan-v2.yaml")
    losses = replace(recipe.losses, adversarial=adversarial)
    system = StarGANv2(DOMAINS, networks, losses, SystemSettings(image_size=4))
    phases = PlainPhases(system, 5e-3)
    for name, optimizer in phases.optimizers.items():
        optimizer.param_groups[0]["betas"] = tuple(recipe.optimizer.betas)
        optimizer.param_groups[0]["lr"] *= system.rates.get(name, 1.0)
    for step in range(200):
        phases.share = step / 200
        torch.manual_seed(step)
        system.step(phases, tones(step, recipe.data.batch_size))
    return networks


def classified(pictures: Tensor) -> Tensor:
    """The domains of pictures, told by their mean colours: a linear model of true ones."""
    true = tones(5001, 300)
    colours = [F.pad(x.mean((2, 3)), (0, 1), value=1.0) for x in (true.image, pictures)]
    wanted = F.one_hot(true.condition[:, 3:, 0, 0].argmax(1), 3).float()
    return (colours[1] @ torch.linalg.lstsq(colours[0], wanted).solution).argmax(1)


@torch.no_grad()
def repainted(nets: Networks, by_chance: bool) -> tuple[Batch, Tensor, Tensor]:
    """Unseen examples, what each is to become, and what it became."""
    given = tones(5002, 300)
    domain = given.condition[:, 3:, 0, 0].argmax(1)
    latent = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    if by_chance:
        style = nets["mapping"](latent, domain)
    else:
        style = nets["style_encoder"](given.exemplar, domain)
    picture = given.condition[:, :3] * 2 - 1
    return given, domain, nets["generator"](picture, style).clamp(-1, 1)


@pytest.mark.slow
def test_pictures_are_of_the_domain_that_is_asked_for_because_a_critic_of_each_says_so():
    """By the recipe's settings, in styles by chance and of photos; by chance not without it."""
    given = tones(5003, 300)
    true = given.condition[:, 3:, 0, 0].argmax(1)
    assert (classified(given.image) == true).float().mean() > 0.95
    found = {}
    for adversarial in (1.0, 0.0):
        for by_chance in (True, False):
            _, domain, made_of_it = repainted(small(adversarial), by_chance)
            right = (classified(made_of_it) == domain).float().mean().item()
            found[adversarial, by_chance] = right
    assert found[1, True] > 0.8 and found[1, False] > 0.8
    assert found[0, True] < 0.7


@pytest.mark.slow
def test_a_picture_has_the_colours_of_its_exemplar_and_keeps_its_pattern():
    """Nearer to its own than to another of the domain; patterns may turn from bright to dark."""
    given, domain, painted = repainted(small(1.0), by_chance=False)
    kinds = [(domain == number).nonzero()[:, 0] for number in range(3)]
    means = [x.mean((2, 3)) for x in (painted, given.exemplar)]
    own, other = (
        torch.cat([(means[0][k] - means[1][k.roll(by)]).norm(dim=1) for k in kinds]).mean()
        for by in (0, 1)
    )
    assert own < 0.68 * other
    every = torch.arange(len(domain))
    patterns = [
        x[every, number].flatten(1)
        for x, number in ((painted, domain), (given.condition, given.source_domain))
    ]
    patterns = [x - x.mean(1, keepdim=True) for x in patterns]
    kept, foreign = (
        F.cosine_similarity(patterns[0], patterns[1].roll(by, 0), dim=1).abs().mean()
        for by in (0, 1)
    )
    assert kept > 0.6 and kept > foreign + 0.25
