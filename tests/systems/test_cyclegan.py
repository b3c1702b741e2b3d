"""CycleGAN: its terms, its pools, both of its ways, and that the cycle holds pictures together."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from cocosnet_hf import PictureCondition
from cocosnet_hf.cards import model_card
from cocosnet_hf.models.drawn import drawn
from cocosnet_hf.systems import CycleGAN, CycleGANLosses, CycleGANPipeline
from cocosnet_hf.systems.unpaired import PicturePool
from tests.support.phases import PlainPhases
from tests.support.unpaired import GENERATORS, batch, critic, made, quiet, trained, two_colour


@pytest.fixture(scope="module")
def pipe() -> CycleGANPipeline:
    return quiet(made(CycleGAN, GENERATORS))


def test_the_terms_are_those_of_the_paper_computed_plainly():
    system, given = made(CycleGAN, GENERATORS, lively=True), batch()
    phases = PlainPhases(system)
    system.step(phases, given)
    n, a, b = system.networks, drawn(given.condition), given.exemplar
    with torch.no_grad():
        to_b, to_a = n["photo_generator"], n["condition_generator"]
        fake_b, fake_a = to_b(a), to_a(b)
        l1 = F.l1_loss
        expected = {
            "adversarial": (critic(n, "photo", fake_b) - 1).pow(2).mean()
            + (critic(n, "condition", fake_a) - 1).pow(2).mean(),
            "cycle": 10 * (l1(to_a(fake_b), a) + l1(to_b(fake_a), b)),
            "identity": 5 * (l1(to_b(b), b) + l1(to_a(a), a)),
        }
        critics = {
            "condition_fake": critic(n, "condition", fake_a).pow(2).mean() / 2,
            "condition_real": (critic(n, "condition", a) - 1).pow(2).mean() / 2,
            "photo_fake": critic(n, "photo", fake_b).pow(2).mean() / 2,
            "photo_real": (critic(n, "photo", b) - 1).pow(2).mean() / 2,
        }
    torch.testing.assert_close(phases.terms["generators"], expected)
    torch.testing.assert_close(phases.terms["critics"], critics)


def test_generators_and_critics_learn_from_their_own_phase_alone():
    system = made(CycleGAN, GENERATORS)
    phases = PlainPhases(system)
    system.step(phases, batch())
    assert phases.gradients["generators"] == {"condition_generator", "photo_generator"}
    assert phases.gradients["critics"] == {"condition_critic", "photo_critic"}


def test_both_ways_are_alike_exchanged_data_make_the_same_run_exchanged():
    """Networks and pictures of both domains exchanged, every term is that of the other domain."""
    other = {"condition": "photo", "photo": "condition"}
    given = batch()
    condition = (given.exemplar + 1) / 2
    given = replace(given, condition=condition, exemplar=drawn(given.condition[:, :3]))
    turned = replace(given, condition=given.exemplar / 2 + 0.5, exemplar=condition * 2 - 1)
    one, two = (made(CycleGAN, GENERATORS) for _ in range(2))
    for name, network in one.networks.items():
        domain, _, part = name.partition("_")
        two.networks[f"{other[domain]}_{part}"].load_state_dict(network.state_dict())
    runs = [PlainPhases(one, rate=1e-3), PlainPhases(two, rate=1e-3)]
    for _ in range(3):
        one.step(runs[0], given)
        two.step(runs[1], turned)
    assert {term: value.item() for term, value in runs[0].terms["generators"].items()} == (
        pytest.approx({t: v.item() for t, v in runs[1].terms["generators"].items()}, rel=1e-3)
    )
    for term, value in runs[0].terms["critics"].items():
        domain, _, part = term.partition("_")
        exchanged = runs[1].terms["critics"][f"{other[domain]}_{part}"]
        assert value.item() == pytest.approx(exchanged.item(), rel=1e-3)
        assert value.item() != pytest.approx(runs[1].terms["critics"][term].item(), rel=1e-3)


def test_a_pool_shows_past_pictures_half_of_the_time_once_it_is_full():
    pool = PicturePool(3)
    torch.manual_seed(0)
    first = torch.arange(3.0).view(3, 1, 1, 1)
    assert torch.equal(pool.exchanged(first), first)
    later = torch.arange(3.0, 203.0).view(200, 1, 1, 1)
    shown = pool.exchanged(later).flatten()
    new = shown == later.flatten()
    assert 70 < new.sum() < 130
    assert (shown[~new] < later.flatten()[~new]).all()
    assert len(pool.pictures) == 3
    kept = {float(one) for one in pool.pictures} | set(shown.tolist())
    assert kept == set(range(203))  # nothing is lost or shown twice


def test_a_pool_of_none_shows_what_it_is_given():
    pool = PicturePool(0)
    for picture in torch.rand(8, 1, 3, 2, 2):
        assert torch.equal(pool.exchanged(picture), picture)


@pytest.mark.parametrize("with_pool", [True, False])
def test_a_run_goes_on_exactly_with_its_pools_and_not_without(with_pool: bool):
    """Four steps at once, or two and two more of another system that took over what is saved."""

    def run(system: CycleGAN, phases: PlainPhases, steps: range) -> None:
        for step in steps:
            torch.manual_seed(step)
            system.step(phases, batch(step))

    whole = made(CycleGAN, GENERATORS, pool=2)
    run(whole, PlainPhases(whole, 1e-3), range(4))
    begun = made(CycleGAN, GENERATORS, pool=2)
    phases = PlainPhases(begun, 1e-3)
    run(begun, phases, range(2))
    rest = made(CycleGAN, GENERATORS, pool=2)
    after = PlainPhases(rest, 1e-3)
    for name, network in begun.networks.items():
        rest.networks[name].load_state_dict(network.state_dict())
        after.optimizers[name].load_state_dict(phases.optimizers[name].state_dict())
    if with_pool:
        rest.load_state_dict(begun.state_dict())
    run(rest, after, range(2, 4))
    same = [
        torch.equal(value, rest.networks[name].state_dict()[key])
        for name, network in whole.networks.items()
        for key, value in network.state_dict().items()
    ]
    assert all(same) == with_pool


def test_pictures_go_either_way_and_back(pipe: CycleGANPipeline):
    given = batch()
    photos = (given.exemplar + 1) / 2
    out = pipe(given.condition, reconstruct=True, output_type="pt")
    fake = pipe.photo_generator(drawn(given.condition))
    torch.testing.assert_close(out.images, (fake / 2 + 0.5).clamp(0, 1))
    back = pipe.condition_generator(fake) / 2 + 0.5
    torch.testing.assert_close(out.reconstructions, back.clamp(0, 1))
    other = pipe(photos, direction="b2a", output_type="pt")
    expected = pipe.condition_generator(given.exemplar) / 2 + 0.5
    torch.testing.assert_close(other.images, expected.clamp(0, 1))
    assert other.reconstructions is None
    with pytest.raises(ValueError, match='"a2b" or "b2a", got \'a2a\''):
        pipe(photos, direction="a2a")


def test_a_picture_of_any_kind_is_translated_by_a_pipeline_of_pictures():
    system = made(CycleGAN, GENERATORS)
    system.condition, pipe = PictureCondition(), None
    pipe = quiet(system)
    picture = batch().exemplar[0] / 2 + 0.5
    (one,) = pipe(picture.clamp(0, 1), output_type="pt").images
    expected = pipe.photo_generator(picture.clamp(0, 1)[None] * 2 - 1)[0]
    torch.testing.assert_close(one, (expected / 2 + 0.5).clamp(0, 1))


def test_its_card_names_the_method_and_asks_for_no_exemplar(pipe: CycleGANPipeline):
    text = str(model_card(pipe))
    assert "[CycleGAN](https://arxiv.org/abs/1703.10593)" in text
    assert "exemplar=" not in text


@pytest.mark.slow
def test_pictures_come_back_because_of_the_cycle():
    """At half the distance of a control without the term, and what is bright can be told.

    Which of two colours a place had is told of nine in ten, by the game alone a little above
    chance. Colours may turn over.
    """
    body = {"base_channels": 8, "halvings": 1, "blocks": 1}
    settings = GENERATORS | {"condition_generator": body, "photo_generator": body}
    held_out, distances, kept = two_colour(999, 16), [], []
    for weight in (10.0, 0.0):
        losses = CycleGANLosses(cycle=weight, identity=0)
        nets = trained(made(CycleGAN, settings, losses), 40)
        picture = drawn(held_out.condition)
        with torch.no_grad():
            fake = nets["photo_generator"](picture)
            back = nets["condition_generator"](fake)
        distances.append(F.l1_loss(back, picture).item())
        bright = held_out.condition[:, 0] > 0.5
        kept.append(abs(((fake[:, 0] > 0) == bright).float().mean().item() - 0.5))
    assert distances[0] < distances[1] / 2
    assert kept[0] > 0.3 and kept[0] > kept[1] + 0.15, kept
