"""MUNIT: its terms, who learns from them, its pipeline, and that styles are seen."""

import functools
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cocosnet_hf import DistilledVGG19Features, PictureCondition
from cocosnet_hf.cards import model_card
from cocosnet_hf.models.drawn import drawn
from cocosnet_hf.models.norms import adaptive_norm, instance_norm
from cocosnet_hf.systems import MUNIT, Batch, MUNITLosses, MUNITPipeline, Networks
from tests.support import tiny
from tests.support.phases import PlainPhases
from tests.support.unpaired import CONDITION, batch

ALL = MUNITLosses(cycle=10, perceptual=2)


def made(losses: MUNITLosses | None = None, **changes: dict) -> MUNIT:
    torch.manual_seed(0)
    options = tiny.MUNIT_SETTINGS | changes
    return MUNIT(CONDITION, MUNIT.make_networks(CONDITION, options), losses or MUNITLosses())


@pytest.fixture(scope="module")
def pipe() -> MUNITPipeline:
    system = made()
    for network in system.networks.values():
        tiny.lively(network)
    pipe = system.pipeline(system.networks)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_the_terms_are_those_of_the_paper_computed_plainly():
    system = made(ALL)
    system.perceptual = DistilledVGG19Features().eval().requires_grad_(False)
    phases, given = PlainPhases(system), batch()
    torch.manual_seed(5)
    system.step(phases, given)
    torch.manual_seed(5)
    s_a, s_b = torch.randn(2, 4), torch.randn(2, 4)
    n, a, b = system.networks, drawn(given.condition), given.exemplar
    with torch.no_grad():
        c_a, c_b = n["condition_content"](a), n["photo_content"](b)
        own_a, own_b = n["condition_style"](a), n["photo_style"](b)
        ab, ba = n["photo_decoder"](c_a, s_b), n["condition_decoder"](c_b, s_a)
        back_a = n["condition_decoder"](n["photo_content"](ab), own_a)
        back_b = n["photo_decoder"](n["condition_content"](ba), own_b)
        vgg = [instance_norm(system.perceptual(x)["relu5_1"]) for x in (ab, a, ba, b)]
        d_a, d_b = (
            lambda x, critic=n[f"{name}_critic"]: critic(x[:, :0], x)[0][-1]
            for name in ("condition", "photo")
        )
        l1 = F.l1_loss
        expected = {
            "adversarial": (d_b(ab) - 1).pow(2).mean() + (d_a(ba) - 1).pow(2).mean(),
            "image": 10 * l1(n["condition_decoder"](c_a, own_a), a)
            + 10 * l1(n["photo_decoder"](c_b, own_b), b),
            "content": l1(n["photo_content"](ab), c_a) + l1(n["condition_content"](ba), c_b),
            "style": l1(n["photo_style"](ab), s_b) + l1(n["condition_style"](ba), s_a),
            "cycle": 10 * (l1(back_a, a) + l1(back_b, b)),
            "perceptual": 2 * (F.mse_loss(vgg[0], vgg[1]) + F.mse_loss(vgg[2], vgg[3])),
        }
        critics = {
            "condition_fake": d_a(ba).pow(2).mean(),
            "condition_real": (d_a(a) - 1).pow(2).mean(),
            "photo_fake": d_b(ab).pow(2).mean(),
            "photo_real": (d_b(b) - 1).pow(2).mean(),
        }
    torch.testing.assert_close(phases.terms["generators"], expected)
    torch.testing.assert_close(phases.terms["critics"], critics)


def test_critics_and_generators_learn_from_their_own_phase_alone():
    system = made()
    phases = PlainPhases(system)
    system.step(phases, batch())
    assert phases.gradients["critics"] == {"condition_critic", "photo_critic"}
    assert phases.gradients["generators"] == set(system.averaged)
    without = made(MUNITLosses(adversarial=0))
    phases = PlainPhases(without)
    without.step(phases, batch())
    assert phases.terms.keys() == {"generators"}


def test_the_photo_beside_a_condition_is_not_looked_at():
    system, given = made(), batch()
    found = []
    for image in (given.image, -given.image.flip(0)):
        phases = PlainPhases(system)
        torch.manual_seed(1)
        system.step(phases, replace(given, image=image))
        found.append(phases.terms)
    assert found[0] == found[1]
    torch.manual_seed(1)
    system.step(phases, replace(given, exemplar=given.exemplar / 2))
    assert phases.terms["generators"]["image"] != found[0]["generators"]["image"]


def test_changes_before_the_critics_reach_what_they_say_and_no_other_term():
    found = []
    for augment in (False, True):
        system = made()
        system.settings = replace(system.settings, diff_augment=augment)
        phases = PlainPhases(system)
        torch.manual_seed(1)
        system.step(phases, batch())
        found.append(phases.terms)
    plain, changed = found
    assert all(plain["critics"][name] != changed["critics"][name] for name in plain["critics"])
    differ = {n for n in plain["generators"] if plain["generators"][n] != changed["generators"][n]}
    assert differ == {"adversarial"}


def test_a_few_steps_on_one_batch_lower_what_is_no_game():
    system = made()
    phases, given = PlainPhases(system, rate=2e-3), batch()
    sums = []
    for step in range(6):
        torch.manual_seed(step % 2)
        system.step(phases, given)
        sums.append(sum(v for k, v in phases.terms["generators"].items() if k != "adversarial"))
    assert sums[4] < sums[0] and sums[5] < sums[1]


def test_a_call_takes_an_exemplar_a_style_or_chance(pipe: MUNITPipeline):
    given = batch()
    photos = (given.exemplar + 1) / 2
    by_exemplar = pipe(given.condition, photos, output_type="pt")
    assert by_exemplar.styles.shape == (2, 4)
    torch.testing.assert_close(by_exemplar.styles, pipe.encode(list(photos)))
    by_style = pipe(given.condition, style=by_exemplar.styles, output_type="pt")
    torch.testing.assert_close(by_style.images, by_exemplar.images)
    assert (
        by_exemplar.images - pipe(given.condition, photos.flip(0), output_type="pt").images
    ).any()

    def drawn_by_chance(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return pipe(given.condition, count=3, generator=generator, output_type="pt")

    first = drawn_by_chance(0)
    assert first.images.shape == (6, 3, 32, 32)
    torch.testing.assert_close(drawn_by_chance(0).images, first.images)
    assert (drawn_by_chance(1).images - first.images).abs().max() > 1e-3
    third = pipe(given.condition[1], style=first.styles[5], output_type="pt").images
    torch.testing.assert_close(third, first.images[5:])
    between = pipe.interpolate(first.styles[0], first.styles[1], 3)
    torch.testing.assert_close(between[0], first.styles[0])
    torch.testing.assert_close(between[1], first.styles[:2].mean(0))
    assert len(pipe(given.condition[0], style=between).images) == 3


def test_its_card_names_the_method_and_promises_no_matching(pipe: MUNITPipeline):
    text = str(model_card(pipe))
    assert "This is a [MUNIT](https://arxiv.org/abs/1804.04732)" in text
    assert "out.matching" not in text
    assert "from cocosnet_hf.systems.munit import MUNITPipeline" in text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"exemplar": torch.rand(3, 32, 32), "style": torch.zeros(4)}, "not both"),
        ({"exemplar": torch.rand(3, 32, 32), "count": 2}, "count must be 1 where the exemplar"),
        ({"count": 0}, "count must be a number of pictures from 1 on"),
        ({"style": torch.zeros(3)}, r"style must be \(4,\) or \(B, 4\), got \(3,\)"),
        ({"style": torch.zeros(3, 4)}, "must be as many, or one, got 2 and 3"),
        ({"output_type": "jpg"}, "output_type must be"),
    ],
)
def test_calls_that_cannot_be_are_refused(pipe: MUNITPipeline, call: dict, message: str):
    with pytest.raises(ValueError, match=message):
        pipe(batch().condition, **call)


STEPS = 160


def taught(losses: MUNITLosses) -> Networks:
    """The networks after a short training on photos of many colours."""
    system = made(losses)
    phases = PlainPhases(system, rate=2e-3)
    for step in range(STEPS):
        torch.manual_seed(step)
        system.step(phases, batch(step, 4, 16))
    return {name: network.eval() for name, network in system.networks.items()}


@pytest.fixture(scope="module")
def learned() -> Networks:
    return taught(MUNITLosses(adversarial=0.1, image=5, style=5))


def coming_back(nets: Networks) -> float:
    """How well the best entry of a style by chance is told from the picture painted in it."""
    styles = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        content = nets["condition_content"](drawn(batch(999, 1, 16).condition))
        pictures = nets["photo_decoder"](content.expand(32, -1, -1, -1), styles)
        pairs = zip(styles.T, nets["photo_style"](pictures).T, strict=True)
    assert pictures.std(0).mean() > 0.05
    return max(torch.corrcoef(torch.stack(pair))[0, 1].item() for pair in pairs)


@pytest.mark.slow
def test_a_style_comes_back_from_the_picture_because_it_is_asked_for(learned: Networks):
    without = taught(MUNITLosses(adversarial=0.1, image=5, style=0))
    assert coming_back(learned) > max(0.7, coming_back(without) + 0.2)


@pytest.mark.slow
def test_pictures_take_the_colour_of_the_exemplar(learned: Networks):
    photos = batch(998, 16, 16)
    with torch.no_grad():
        contents = learned["condition_content"](drawn(photos.condition))
        painted = learned["photo_decoder"](contents, learned["photo_style"](photos.exemplar))
    means = [
        x.mean((2, 3)).flatten() for x in (painted, photos.exemplar, photos.exemplar.roll(1, 0))
    ]
    own, other = (torch.corrcoef(torch.stack([means[0], one]))[0, 1] for one in means[1:])
    assert own > 0.3 and own > other + 0.2


# What its terms are for, on pictures of 4 x 4 and networks that see one position at a time --------


def coloured(seed: int, count: int = 16) -> Batch:
    """Conditions of two patterns, in red and green; photos of one, each in a colour."""
    generator = torch.Generator().manual_seed(seed)
    first, second, other = torch.rand(3, count, 1, 4, 4, generator=generator)
    condition = torch.cat([first, second, torch.ones_like(first)], dim=1)
    colour = 0.2 + 0.8 * torch.rand(count, 3, 1, 1, generator=generator)
    photo = (0.2 + 0.8 * other) * colour * 2 - 1
    return Batch(photo, condition, photo, None, torch.zeros(count))


class Pattern(nn.Module):
    """A content encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 2, 1))

    def forward(self, picture: Tensor) -> Tensor:
        return instance_norm(self.layers(picture))


class Colour(nn.Module):
    """A style encoder."""

    config = SimpleNamespace(style_channels=2)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 1), nn.LeakyReLU(0.2))
        self.last = nn.Linear(16, 2)

    def forward(self, picture: Tensor) -> Tensor:
        return self.last(self.layers(picture).mean((2, 3)))


class Painter(nn.Module):
    """A decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 1)
        self.modulation = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16))
        self.last = nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(8, 3, 1), nn.Tanh())

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        return self.last(adaptive_norm(self.first(content), *self.modulation(style).chunk(2, 1)))


@functools.cache
def small(content: float = 3.0, style: float = 3.0) -> Networks:
    """The networks after 100 steps without a game, with these weights of what is to come back."""
    torch.manual_seed(0)
    kinds = {"content": Pattern, "style": Colour, "decoder": Painter}
    domains = ("condition", "photo")
    networks = {f"{domain}_{part}": kind() for part, kind in kinds.items() for domain in domains}
    networks |= {f"{domain}_critic": nn.Linear(1, 1) for domain in domains}
    losses = MUNITLosses(adversarial=0, image=5, content=content, style=style)
    system = MUNIT(PictureCondition(), networks, losses)
    phases = PlainPhases(system, rate=5e-3)
    for step in range(100):
        torch.manual_seed(step)
        system.step(phases, coloured(step))
    return networks


@torch.no_grad()
def in_eight_styles(nets: Networks) -> tuple[Tensor, Tensor, Tensor]:
    """Conditions, their contents, and their pictures (8, B, 3, 4, 4) in styles by chance."""
    picture = drawn(coloured(999).condition)
    content = nets["condition_content"](picture)
    styles = torch.randn(8, 1, 2, generator=torch.Generator().manual_seed(1))
    painted = [nets["photo_decoder"](content, one.expand(16, -1)) for one in styles]
    return picture, content, torch.stack(painted)


def test_eight_styles_differ_more_because_styles_are_to_come_back():
    spreads = [in_eight_styles(small(style=weight))[2].std(0).mean() for weight in (3.0, 0.0)]
    assert spreads[0] > 1.2 * spreads[1]


def test_content_comes_back_in_every_style_and_its_labels_with_it_because_it_is_asked_for():
    """Of a control without the term half of what is not in photos anyway is gone.

    Labels: which of both patterns are bright, told by the nearest content of other conditions.
    """
    found = []
    known = drawn(coloured(998, 64).condition)
    for weight in (3.0, 0.0):
        nets = small(content=weight)
        picture, content, painted = in_eight_styles(nets)
        with torch.no_grad():
            back = torch.stack([nets["photo_content"](one) for one in painted])
            reference = nets["condition_content"](known).movedim(1, 3).reshape(-1, 2)
        likeness = F.cosine_similarity(back.flatten(2), content.flatten(1), dim=2).mean(1)
        bright = [(x[:, :2] > 0).movedim(1, 3).reshape(-1, 2) for x in (known, picture)]
        kept = []
        for one in back:
            nearest = torch.cdist(one.movedim(1, 3).reshape(-1, 2), reference).argmin(1)
            kept.append((bright[0][nearest] == bright[1]).float().mean().item())
        found.append((likeness.min().item(), min(kept)))
    assert found[0][0] > 0.9 > found[1][0] + 0.3
    assert found[0][1] > found[1][1] + 0.1
