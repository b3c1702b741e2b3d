"""DiscoGAN: its terms, its turns, and that colours go to others one to one."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cocosnet_hf import PictureCondition
from cocosnet_hf.models import PatchGAN
from cocosnet_hf.models.drawn import drawn
from cocosnet_hf.systems import Batch, DiscoGAN, DiscoGANLosses, DiscoGANOptions, Networks
from tests.support.phases import PlainPhases
from tests.support.unpaired import GENERATORS, batch, made, quiet

CRITIC = {"base_channels": 4, "halvings": 3, "logit_size": 4}
SETTINGS = GENERATORS | {
    "condition_generator": {"base_channels": 4, "levels": 3},
    "photo_generator": {"base_channels": 4, "levels": 3},
    "condition_critic": CRITIC,
    "photo_critic": CRITIC,
}


@pytest.mark.parametrize("step", [1, 10_001])
def test_the_terms_are_those_of_the_paper_computed_plainly(step: int):
    system, given = made(DiscoGAN, SETTINGS, lively=True), batch(count=4)
    phases = PlainPhases(system)
    phases.step = step
    system.step(phases, given)
    n, a, b = system.networks, drawn(given.condition), given.exemplar
    rate = 0.01 if step < 10_000 else 0.5
    with torch.no_grad():
        ab, ba = n["photo_generator"](a), n["condition_generator"](b)
        aba, bab = n["condition_generator"](ab), n["photo_generator"](ba)
        found = {
            "adversarial": torch.zeros(()),
            "features": torch.zeros(()),
            "reconstruction": rate * sum(F.mse_loss(x / 2, y / 2) for x, y in ((aba, a), (bab, b))),
        }
        for name, fake, real in (("photo", ab, b), ("condition", ba, a)):
            said, true = (n[f"{name}_critic"](x[:, :0], x)[0] for x in (fake, real))
            found["adversarial"] += (1 - rate) * 0.1 * -F.logsigmoid(said[-1]).mean()
            for one, other in zip(said[1:3], true[1:3], strict=True):
                gap = (one.mean(0) - other.mean(0)).square().mean() / 2
                found["features"] += (1 - rate) * 0.9 * gap
    torch.testing.assert_close(phases.terms["generators"], found)


def test_every_third_step_teaches_the_critics_with_half_of_their_loss():
    system, given, taught = made(DiscoGAN, SETTINGS), batch(count=4), []
    for step in range(6):
        phases = PlainPhases(system)
        phases.step = step
        system.step(phases, given)
        taught += phases.gradients.values()
    critics, generators = {"condition_critic", "photo_critic"}, set(system.averaged)
    assert taught == [critics, generators, generators] * 2
    phases.step = 0
    system.step(phases, given)
    n, pictures = system.networks, {"condition": drawn(given.condition), "photo": given.exemplar}
    fakes = {
        "condition": n["condition_generator"](pictures["photo"]),
        "photo": n["photo_generator"](pictures["condition"]),
    }

    def said(name: str, picture: Tensor) -> Tensor:
        return n[f"{name}_critic"](picture[:, :0], picture)[0][-1].sigmoid()

    expected = {f"{name}_fake": -(1 - said(name, fakes[name])).log().mean() / 2 for name in fakes}
    expected |= {f"{name}_real": -said(name, pictures[name]).log().mean() / 2 for name in fakes}
    torch.testing.assert_close(phases.terms["critics"], expected)


def test_a_critic_of_64_pixels_says_one_number():
    critic = PatchGAN(base_channels=4, halvings=4, norm="batch", joins=False, logit_size=4)
    assert critic(torch.zeros(2, 0, 64, 64), torch.zeros(2, 3, 64, 64))[0][-1].shape[2:] == (1, 1)
    assert critic.smallest == 64
    larger = critic(torch.zeros(2, 0, 96, 80), torch.zeros(2, 3, 96, 80))[0][-1]
    assert larger.shape[2:] == (3, 2)
    with pytest.raises(ValueError, match="at least 64 pixels"):
        critic(torch.zeros(2, 0, 48, 48), torch.zeros(2, 3, 48, 48))


def test_pictures_go_either_way():
    pipe, given = quiet(made(DiscoGAN, SETTINGS)), batch()
    images = pipe(given.condition, output_type="pt").images
    expected = pipe.photo_generator(drawn(given.condition)) / 2 + 0.5
    torch.testing.assert_close(images, expected.clamp(0, 1))
    assert len(pipe((given.exemplar + 1) / 2, direction="b2a").images) == 2


@pytest.mark.parametrize("wrong", [{"rate": 2.0}, {"early_rate": -0.1}, {"critics_every": 1}])
def test_options_that_cannot_be_are_refused(wrong: dict):
    with pytest.raises(ValueError, match="must be in 0..1 and .critics_every from 2 on"):
        DiscoGANOptions(**wrong)


class Colour(nn.Module):
    """A generator of pictures of one colour, of which it reads red and green alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*linear(2), nn.Conv2d(64, 2, 1))

    def forward(self, picture: Tensor) -> Tensor:
        return F.pad(self.layers(picture[:, :2]), (0, 0, 0, 0, 0, 1))


class ColourCritic(nn.Module):
    """What says whether a colour is one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(*linear(2)), nn.Conv2d(64, 1, 1)])

    def forward(self, _: Tensor, picture: Tensor) -> list[list[Tensor]]:
        first = self.layers[0](picture[:, :2])
        return [[first, first, self.layers[1](first)]]


def linear(channels: int) -> list[nn.Module]:
    widths = [channels, 64, 64]
    layers: list[nn.Module] = []
    for one, other in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Conv2d(one, other, 1), nn.ReLU()]
    return layers


def ring(modes: int, radius: float) -> Tensor:
    """Red and green of colours on a circle, (modes, 2)."""
    angle = torch.arange(modes) * 2 * torch.pi / modes
    return radius * torch.stack([angle.cos(), angle.sin()], 1)


def colours(points: Tensor) -> Tensor:
    """As pictures of one pixel, (count, 3, 1, 1)."""
    return F.pad(points, (0, 1))[:, :, None, None]


def taught(
    few: Callable[[], Tensor], many: Callable[[], Tensor], reconstruction: float
) -> Networks:
    """The networks after 300 steps on what draws the 64 colours of each domain, (64, 2)."""
    torch.manual_seed(0)
    networks = {
        f"{name}_{part}": kind()
        for part, kind in (("generator", Colour), ("critic", ColourCritic))
        for name in ("condition", "photo")
    }
    losses = DiscoGANLosses(adversarial=1, features=0, reconstruction=reconstruction)
    options = DiscoGANOptions(early_steps=0, critics_every=2)
    system = DiscoGAN(PictureCondition(), networks, losses, options=options)
    system.critic_weight = 1.0
    phases = PlainPhases(system, 5e-3)
    for step in range(300):
        phases.step = step
        one, other = (colours(drawn() + 0.03 * torch.randn(64, 2)) for drawn in (few, many))
        system.step(phases, Batch(one, one / 2 + 0.5, other, None, torch.zeros(64)))
    return networks


def targets(reconstruction: float) -> tuple[list[int], list[int]]:
    """Of each of five colours the nearest of ten that it becomes, and of five what comes back."""
    few, many = ring(5, 0.5), ring(10, 0.8)
    networks = taught(
        lambda: few[torch.randint(5, (64,))],
        lambda: many[torch.randint(10, (64,))],
        reconstruction,
    )
    with torch.no_grad():
        end = networks["photo_generator"](colours(few))
        back = networks["condition_generator"](end)
    near = [
        torch.cdist(x[:, :2, 0, 0], y).argmin(1).tolist() for x, y in ((end, many), (back, few))
    ]
    return near[0], near[1]


@pytest.mark.slow
def test_modes_go_one_to_one_and_come_back_because_of_the_reconstruction():
    """The paper's toy: five modes to ten, here as plain colours."""
    found, back = targets(10.0)
    assert len(set(found)) == 5 and back == [0, 1, 2, 3, 4]
    found, back = targets(0.0)
    assert back != [0, 1, 2, 3, 4]


def hues(radius: float) -> Callable[[], Tensor]:
    """What draws 64 colours of any hue."""

    def drawn() -> Tensor:
        angle = 2 * torch.pi * torch.rand(64)
        return radius * torch.stack([angle.cos(), angle.sin()], 1)

    return drawn


@pytest.mark.slow
def test_a_hue_says_the_hue_of_its_translation_because_of_the_reconstruction():
    """The factor that both domains have: its correlation, on a circle and in either sense of it.

    Of the game alone hues crowd, and much of a circle becomes the same.
    """
    found, start = [], ring(100, 0.5)
    for reconstruction in (10.0, 0.0):
        networks = taught(hues(0.5), hues(0.8), reconstruction)
        with torch.no_grad():
            end = networks["photo_generator"](colours(start))[:, :2, 0, 0]
        before, after = (torch.atan2(x[:, 1], x[:, 0]) for x in (start, end))
        senses = [torch.polar(torch.ones(100), after - sense * before) for sense in (1, -1)]
        found.append(max(one.mean().abs().item() for one in senses))
    assert found[0] > 0.9 and found[1] < 0.7, found
