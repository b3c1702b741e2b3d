"""The contextual loss as a teacher: its terms, and that a target moves as the source does."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf import CascadedGenerator, DistilledVGG19Features, PictureCondition
from cocosnet_hf.losses import contextual_loss
from cocosnet_hf.models.content_style import init_he_
from cocosnet_hf.models.drawn import drawn
from cocosnet_hf.systems import Batch, Contextual, ContextualLosses, ContextualOptions
from tests.support import tiny
from tests.support.phases import PlainPhases
from tests.support.unpaired import batch, made

SIDE = 32
PLAIN = ((0.1, 0.1, 0.1), (0.9, 0.9, 0.9))
COLOURED = ((0.1, 0.2, 0.8), (0.9, 0.3, 0.1))


@pytest.fixture(scope="module")
def network() -> DistilledVGG19Features:
    """Of no known weights, but it passes on what it sees."""
    torch.manual_seed(0)
    seeing = DistilledVGG19Features()
    init_he_(seeing)
    return seeing.eval().requires_grad_(False)


def squares(seed: int, count: int, ground: tuple, colour: tuple) -> Tensor:
    """Squares somewhere on a ground, (count, 3, SIDE, SIDE) in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(2, SIDE // 2 - 2, (count, 2), generator=generator)
    pictures = torch.tensor(ground)[None, :, None, None].expand(count, 3, SIDE, SIDE).clone()
    for picture, (y, x) in zip(pictures, corners.tolist(), strict=True):
        picture[:, y : y + SIDE // 2, x : x + SIDE // 2] = torch.tensor(colour)[:, None, None]
    return pictures


def test_the_terms_are_those_of_the_paper_computed_plainly(network: DistilledVGG19Features):
    losses = ContextualLosses(target=2, source=0.5)
    system, given = made(Contextual, tiny.CONTEXTUAL_SETTINGS, losses, bandwidth=0.3), batch()
    system.perceptual = network
    phases = PlainPhases(system)
    system.step(phases, given)
    source, target = drawn(given.condition), given.exemplar

    def unlike(one: Tensor, other: Tensor, layer: str) -> Tensor:
        x, y = (network(picture, [layer])[layer] for picture in (one, other))
        settings = {"form": "original", "centering": "channel", "epsilon": 1e-5}
        return contextual_loss(x, y, bandwidth=0.3, **settings)

    with torch.no_grad():
        painted = system.networks["generator"](source)
        wanted = {
            "target": 2 * sum(unlike(painted, target, one) for one in ("relu3_2", "relu4_2")),
            "source": 0.5 * unlike(painted, source, "relu4_2"),
        }
    torch.testing.assert_close(phases.terms, {"generator": wanted})
    assert phases.gradients == {"generator": {"generator"}}


def test_what_cannot_be_is_refused():
    system = made(Contextual, tiny.CONTEXTUAL_SETTINGS)
    with pytest.raises(ValueError, match="needs a perceptual network"):
        system.step(PlainPhases(system), batch())
    with pytest.raises(ValueError, match="bandwidth must be above 0, got 0"):
        ContextualOptions(bandwidth=0)
    assert ContextualOptions().bandwidth == 0.5  # as is decided for generators
    with pytest.raises(ValueError, match=r"multiples of 4 from 8 on, got 30 x 32"):
        CascadedGenerator((8, 8, 4))(torch.zeros(1, 3, 30, 32))


def test_a_picture_is_made_from_the_source_at_each_size():
    generator, picture = tiny.lively(CascadedGenerator((8, 8, 4))), torch.randn(1, 3, 16, 24)
    seen: list[Tensor] = []
    for layers in generator.sizes:
        layers.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    assert generator(picture).shape == (1, 3, 16, 24)
    for given, shrunk, channels in zip(seen, (4, 2, 1), (3, 11, 11), strict=True):
        assert given.shape[1] == channels
        torch.testing.assert_close(given[:, :3], F.avg_pool2d(picture, shrunk))


def animated(network: DistilledVGG19Features, **weights: float) -> tuple[Tensor, Tensor, Tensor]:
    """What is painted of unseen sources after 80 steps with one target; the sources, the target."""
    target = squares(5, 1, *COLOURED)
    torch.manual_seed(0)
    networks = Contextual.make_networks(
        PictureCondition(), {"generator": {"widths": [16, 16, 16, 8]}}
    )
    losses = ContextualLosses(**weights)
    system = Contextual(PictureCondition(), networks, losses, perceptual=network)
    phases = PlainPhases(system, 3e-3)
    for step in range(80):
        looks = target.expand(2, -1, -1, -1) * 2 - 1
        sources = squares(step, 2, *PLAIN)
        system.step(phases, Batch(looks, sources, looks, None, torch.zeros(2)))
    unseen = squares(999, 16, *PLAIN)
    with torch.no_grad():
        painted = system.networks["generator"](unseen * 2 - 1)
    return painted.clamp(-1, 1) / 2 + 0.5, unseen, target.expand_as(unseen)


def followed(painted: Tensor, source: Tensor) -> float:
    """Mean correlation of where the pictures are red, not blue, and where the sources are white."""
    pairs = zip(painted[:, 0] - painted[:, 2], source[:, 0], strict=True)
    maps = [torch.stack([one.flatten(), other.flatten()]) for one, other in pairs]
    return torch.stack([torch.corrcoef(pair)[0, 1] for pair in maps]).mean().item()


def apart(painted: Tensor, others: Tensor) -> float:
    """Of the histograms of each colour: mean difference of sorted values."""
    first, second = (one.flatten(2).sort(dim=2).values for one in (painted, others))
    return F.l1_loss(first, second).item()


@pytest.mark.slow
def test_one_target_moves_as_the_source_does_because_both_are_asked_for(
    network: DistilledVGG19Features,
):
    """Without the source's term it stands still, without the target's it looks like the source."""
    painted, source, target = animated(network)
    assert followed(painted, source) > 0.5
    assert apart(painted, target) < apart(painted, source)
    still, source, _ = animated(network, source=0)
    assert followed(still, source) < 0.3
    plain, source, target = animated(network, target=0)
    assert apart(plain, source) < apart(plain, target)
