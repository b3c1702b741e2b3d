"""EGSC-IT: its terms, what is frozen in which stage, and that the exemplar guides."""

import copy
import functools
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cocosnet_hf import DistilledVGG19Features, MaskCondition, PictureCondition
from cocosnet_hf.models.drawn import drawn
from cocosnet_hf.models.shared_latent import guided
from cocosnet_hf.systems import EGSCIT, Batch, EGSCITLosses, EGSCITOptions, Networks
from cocosnet_hf.systems.egsc_it import painted
from tests.support import tiny
from tests.support.phases import PlainPhases

CONDITION = MaskCondition.from_names(["sky", "hill", "field", "wall"])
FIRST = EGSCITOptions(stage="autoencoders")
PLAIN = EGSCITLosses(content=0, style=0)


def made(losses: EGSCITLosses = PLAIN, options: EGSCITOptions | None = None) -> EGSCIT:
    torch.manual_seed(0)
    networks = EGSCIT.make_networks(CONDITION, tiny.EGSCIT_SETTINGS)
    for network in networks.values():
        tiny.lively(network)
    return EGSCIT(CONDITION, networks, losses, options=options)


def batch(seed: int = 0, side: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (2, 4, 4), generator=generator).repeat_interleave(side // 4, 1)
    labels = labels.repeat_interleave(side // 4, 2)
    condition = F.one_hot(labels, 4).movedim(-1, 1).float()
    exemplar = torch.rand(2, 3, side, side, generator=generator) * 2 - 1
    image = torch.rand(2, 3, side, side, generator=generator)
    return Batch(image, condition, exemplar, None, torch.zeros(2))


def critic(n: Networks, domain: str, picture: Tensor) -> Tensor:
    return n[f"{domain}_critic"](picture[:, :0], picture)[0][-1]


def plain_critics(n: Networks, real: dict[str, Tensor], fakes: dict[str, Tensor]) -> dict:
    """Least squares of both critics, ten times."""
    return {
        f"{name}_{part}": 10 * (critic(n, name, pictures[name]) - wanted).square().mean()
        for name in real
        for part, pictures, wanted in (("fake", fakes, 0), ("real", real, 1))
    }


def plain_terms(n: Networks, perceptual: DistilledVGG19Features, a: Tensor, b: Tensor) -> dict:
    """The second stage's terms, written out for both domains."""

    def code(domain: str, x: Tensor) -> tuple[Tensor, Tensor]:
        return n["shared"](n[f"{domain}_encoder"](x))

    def decode(domain: str, shared: Tensor, content: Tensor, look: Tensor) -> Tensor:
        return n[f"{domain}_decoder"](shared, content, look)

    look_a = n["condition_autoencoder"].features
    look_b = n["photo_autoencoder"].features
    (h_a, m_a), (h_b, m_b) = code("condition", a), code("photo", b)
    ab = decode("photo", h_a, look_a(a), look_b(b))
    ba = decode("condition", h_b, look_b(b), look_a(a))
    (h_ab, m_ab), (h_ba, m_ba) = code("photo", ab), code("condition", ba)
    l1 = F.l1_loss
    layers = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
    content = style = torch.zeros(())
    for made, source, look in ((ab, a, b), (ba, b, a)):
        for level, layer in enumerate(layers, start=1):
            units = []
            for picture in (made, source, look):
                maps = perceptual(picture, [layer])[layer]  # behind the ReLU, as is decided
                length = maps.square().sum((2, 3), keepdim=True).sqrt().clamp_min(1e-12)
                units.append(maps / length)
            grams = [torch.einsum("bchw,bdhw->bcd", u, u) for u in units]
            content = content + level / 5 * l1(units[0], units[1])
            style = style + l1(grams[0], grams[2])
    fooled = [critic(n, "photo", ab), critic(n, "condition", ba)]
    return {
        "adversarial": 10 * sum((logits - 1).square().mean() for logits in fooled),
        "image": 100 * l1(decode("condition", h_a, look_a(a), look_a(a)), a)
        + 100 * l1(decode("photo", h_b, look_b(b), look_b(b)), b),
        "cycle": 100 * l1(decode("condition", h_ab, look_b(ab), look_a(a)), a)
        + 100 * l1(decode("photo", h_ba, look_a(ba), look_b(b)), b),
        "latent": 0.1 * sum(m.square().mean() for m in (m_a, m_b, m_ab, m_ba)),
        "content": 10 * content,
        "style": 5000 * style,
    }


def test_the_terms_of_the_second_stage_are_the_papers_computed_plainly():
    system = made(EGSCITLosses(), EGSCITOptions(generator_updates=1))
    system.perceptual = tiny.lively(DistilledVGG19Features()).requires_grad_(False)
    phases, given = PlainPhases(system), batch()
    system.step(phases, given)
    pictures = drawn(given.condition), given.exemplar
    with torch.no_grad():
        expected = plain_terms(system.networks, system.perceptual, *pictures)
        both = dict(zip(("condition", "photo"), pictures, strict=True))
        n = system.networks
        shared = {d: n["shared"](n[f"{d}_encoder"](both[d]))[0] for d in both}
        seen = {d: n[f"{d}_autoencoder"].features(both[d]) for d in both}
        fakes = {
            d: n[f"{d}_decoder"](shared[other], seen[other], seen[d])
            for d, other in (("condition", "photo"), ("photo", "condition"))
        }
        critics = plain_critics(n, both, fakes)
    torch.testing.assert_close(phases.terms["generators"], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(phases.terms["critics"], critics)


def test_the_terms_of_the_first_stage_are_those_of_two_autoencoders():
    system = made(options=FIRST)
    phases, given = PlainPhases(system), batch()
    system.step(phases, given)
    n, pictures = system.networks, {"condition": drawn(given.condition), "photo": given.exemplar}
    expected, fakes = {"adversarial": 0.0, "image": 0.0, "latent": 0.0}, {}
    with torch.no_grad():
        for name, picture in pictures.items():
            decoded, mean = n[f"{name}_autoencoder"](picture)
            fakes[name] = decoded
            logits = critic(n, name, decoded)
            expected["adversarial"] += 10 * (logits - 1).square().mean()
            expected["image"] += 100 * F.l1_loss(decoded, picture)
            expected["latent"] += 0.1 * mean.square().mean()
        critics = plain_critics(n, pictures, fakes)
    torch.testing.assert_close(phases.terms["autoencoders"], expected)
    torch.testing.assert_close(phases.terms["critics"], critics)
    assert phases.gradients["autoencoders"] == {"condition_autoencoder", "photo_autoencoder"}


def test_the_second_stage_keeps_the_autoencoders_bit_by_bit_and_teaches_all_others():
    system = made(options=EGSCITOptions(generator_updates=2))
    before = copy.deepcopy(system.networks)
    phases = PlainPhases(system, rate=1e-3)
    system.step(phases, batch())
    assert phases.gradients["critics"] == {"condition_critic", "photo_critic"}
    taught = set(system.averaged) - {"condition_autoencoder", "photo_autoencoder"}
    assert phases.gradients["generators"] == taught
    for name, network in system.networks.items():
        pairs = zip(before[name].parameters(), network.parameters(), strict=True)
        same = all(torch.equal(old, new) for old, new in pairs)
        assert same == (name in system.frozen), name


def test_the_critics_are_taught_once_for_as_many_updates_of_the_others_as_are_said():
    opened = []

    class Counting(PlainPhases):
        def __call__(self, *names: str, name: str | None = None):
            opened.append(name)
            return super().__call__(*names, name=name)

    system, given, read = made(), batch(), []
    system.networks["photo_encoder"].register_forward_pre_hook(lambda _, x: read.append(x[0]))
    system.step(Counting(system), given)
    assert opened == ["critics", *["generators"] * 5]
    # Once for the critics' fakes; then each update reads the photos of the one batch again.
    assert sum(torch.equal(one, given.exemplar) for one in read) == 1 + 5
    with pytest.raises(ValueError, match="generator_updates must be at least 1"):
        EGSCITOptions(generator_updates=0)


def test_the_second_stage_without_the_first_is_an_error_and_after_it_is_none():
    system = made(options=FIRST)
    with pytest.raises(ValueError, match="run system_options.stage=autoencoders first, and name"):
        made().prepare(DistilledVGG19Features, "cpu")
    system.step(PlainPhases(system), batch())
    second = EGSCIT(CONDITION, system.networks, PLAIN)
    second.prepare(DistilledVGG19Features, "cpu")
    assert second.perceptual is None  # no term looks through it


def test_networks_that_guide_each_other_have_one_width():
    options = tiny.EGSCIT_SETTINGS | {"shared": {"base_channels": 8}}
    with pytest.raises(ValueError, match="they need one base_channels, got .*'shared': 8"):
        EGSCIT.make_networks(CONDITION, options)


def test_two_steps_lower_what_is_no_game():
    system = made(options=EGSCITOptions(generator_updates=1))
    phases, given = PlainPhases(system, rate=2e-3), batch()
    sums = []
    for _ in range(3):
        system.step(phases, given)
        sums.append(sum(v for k, v in phases.terms["generators"].items() if k != "adversarial"))
    assert sums[2] < sums[1] < sums[0]


@torch.no_grad()
def test_the_picture_has_the_layout_of_the_condition_and_the_look_of_the_exemplar():
    system, given = made(), batch()
    pipe = system.pipeline(system.networks)
    photos = (given.exemplar + 1) / 2
    looks = (photos, photos * 0.3, photos.flip(0))
    pictures = [pipe(given.condition, look, output_type="pt").images for look in looks]
    assert (pictures[1] - pictures[0]).abs().max() > 1e-2
    assert (pictures[2] - pictures[0]).abs().max() > 1e-3
    other = pipe(given.condition.flip(0), photos, output_type="pt").images
    assert (other - pictures[0]).abs().max() > 1e-2
    large = torch.rand(3, 64, 48)
    assert pipe(given.condition[0], large, output_type="pt").images.shape == (1, 3, 32, 32)


# Both stages, on pictures of 4 x 4 and networks that see one position at a time -------------------

WIDTH = 8


def coloured(seed: int, count: int = 16) -> Batch:
    """Conditions of a pattern in white on blue, photos of another in a colour each."""
    generator = torch.Generator().manual_seed(seed)
    pattern, other = torch.rand(2, count, 1, 4, 4, generator=generator)
    condition = torch.cat([pattern, pattern, torch.ones_like(pattern)], dim=1)
    colour = 0.1 + 0.9 * torch.rand(count, 3, 1, 1, generator=generator)
    photo = (0.15 + 0.85 * other) * colour * 2 - 1
    return Batch(photo, condition, photo, None, torch.zeros(count))


def layers(*widths: int) -> nn.Sequential:
    parts = (
        nn.Sequential(nn.Conv2d(*pair, 1), nn.LeakyReLU(0.2) if pair[1] > 3 else nn.Tanh())
        for pair in pairwise(widths)
    )
    return nn.Sequential(*parts)


class Noisy(nn.Module):
    """What both domains share."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.behind = nn.Conv2d(WIDTH, WIDTH, 1), nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.before(x)
        return self.behind(mean + torch.randn_like(mean) * self.training), mean


class Autoencoder(nn.Module):
    """Of one domain."""

    taught: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features, self.latent, self.decoder = layers(3, 16, WIDTH), Noisy(), layers(8, 16, 3)
        self.register_buffer("taught", torch.zeros((), dtype=torch.bool))

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        x, mean = self.latent(self.features(picture))
        return self.decoder(x), mean


class Guided(nn.Module):
    """A decoder. masked: whether the content's mask is looked at."""

    def __init__(self, masked: bool):
        super().__init__()
        self.layers, self.masked = layers(WIDTH, 16, 3), masked

    def forward(self, x: Tensor, content: Tensor, exemplar: Tensor) -> Tensor:
        mask = content if self.masked else torch.full_like(content, 50.0)
        return self.layers(guided(x, mask, exemplar))


@functools.cache
def small(masked: bool) -> Networks:
    """The networks after 60 and 100 steps without a game, whose codes are to say nothing."""
    torch.manual_seed(0)
    networks: dict[str, nn.Module] = {"shared": Noisy()}
    for domain in ("condition", "photo"):
        networks |= {
            f"{domain}_autoencoder": Autoencoder(),
            f"{domain}_encoder": layers(3, 16, WIDTH),
            f"{domain}_decoder": Guided(masked),
            f"{domain}_critic": nn.Linear(1, 1),
        }
    losses = EGSCITLosses(adversarial=0, content=0, style=0, latent=300)
    second = EGSCITOptions(generator_updates=1)
    for options, steps in ((FIRST, 60), (second, 100)):
        weights = replace(losses, latent=0.1) if options is FIRST else losses
        system = EGSCIT(PictureCondition(), networks, weights, options=options)
        phases = PlainPhases(system, rate=5e-3)
        for step in range(steps):
            torch.manual_seed(step)
            system.step(phases, coloured(step))
    return networks


def translation(nets: Networks) -> tuple[Batch, Tensor]:
    """Unseen pictures, and what they become with noise in their codes."""
    given = coloured(999, 64)
    torch.manual_seed(0)
    with torch.no_grad():
        return given, painted(nets, drawn(given.condition), given.exemplar)


def test_a_trained_translation_has_the_colour_of_its_exemplar_and_not_of_another():
    given, made_of_it = translation(small(masked=True))
    colours = [x.mean((2, 3)) for x in (made_of_it, given.exemplar, given.exemplar.roll(1, 0))]
    colours = [(x - x.mean(0)).flatten() for x in colours]
    own, other = (torch.corrcoef(torch.stack([colours[0], x]))[0, 1] for x in colours[1:])
    assert own > 0.4 and own > other + 0.4


def test_layouts_stay_because_masks_say_what_codes_do_not():
    """Patterns of pictures and of their translations, which may turn from bright to dark."""
    kept = []
    for masked in (True, False):
        given, made_of_it = translation(small(masked))
        patterns = [x.mean(1).flatten(1) for x in (made_of_it, given.condition)]
        patterns = [x - x.mean(1, keepdim=True) for x in patterns]
        kept.append(F.cosine_similarity(*patterns, dim=1).abs().mean().item())
    assert kept[0] > 0.8 and kept[0] > kept[1] + 0.25, kept
