"""UNIT: its terms, where noise is, and that codes of one layout meet because layers are shared."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cocosnet_hf.models import SharedLatent
from cocosnet_hf.models.drawn import drawn
from cocosnet_hf.systems import UNIT, Networks, UNITLosses
from cocosnet_hf.systems.egsc_it import encoded
from tests.support import tiny
from tests.support.phases import PlainPhases
from tests.support.unpaired import batch, critic, made, quiet, trained, two_colour

SETTINGS = tiny.UNIT_SETTINGS
WIDER = SETTINGS | {
    name: {"base_channels": 8, **({} if name == "shared" else {"residual_blocks": 1})}
    for name in SETTINGS
    if not name.endswith("_critic")
}


def test_the_terms_are_those_of_the_paper_computed_plainly():
    system, given = made(UNIT, SETTINGS, lively=True), batch()
    phases = PlainPhases(system)
    torch.manual_seed(5)
    system.step(phases, given)
    n, a, b = system.networks, drawn(given.condition), given.exemplar

    def code(domain: str, picture: Tensor) -> tuple[Tensor, Tensor]:
        mean = n["shared"].before(n[f"{domain}_encoder"](picture))
        return n["shared"].behind(mean + torch.randn_like(mean)), mean

    torch.manual_seed(5)
    with torch.no_grad():
        to_a, to_b = n["condition_decoder"], n["photo_decoder"]
        (h_a, _), (h_b, _) = code("condition", a), code("photo", b)
        fake_b, fake_a = to_b(h_a), to_a(h_b)
        critics = {
            "condition_fake": 10 * F.softplus(critic(n, "condition", fake_a)).mean(),
            "condition_real": 10 * F.softplus(-critic(n, "condition", a)).mean(),
            "photo_fake": 10 * F.softplus(critic(n, "photo", fake_b)).mean(),
            "photo_real": 10 * F.softplus(-critic(n, "photo", b)).mean(),
        }
        (h_a, m_a), (h_b, m_b) = code("condition", a), code("photo", b)
        fake_b, fake_a = to_b(h_a), to_a(h_b)
        (h_ba, m_ba), (h_ab, m_ab) = code("condition", fake_a), code("photo", fake_b)
        l1 = F.l1_loss
        expected = {
            "adversarial": 10 * F.softplus(-critic(n, "photo", fake_b)).mean()
            + 10 * F.softplus(-critic(n, "condition", fake_a)).mean(),
            "image": 100 * (l1(to_a(h_a), a) + l1(to_b(h_b), b)),
            "cycle": 100 * (l1(to_a(h_ab), a) + l1(to_b(h_ba), b)),
            "latent": 0.1 * sum(mean.pow(2).mean() for mean in (m_a, m_b, m_ab, m_ba)),
        }
    torch.testing.assert_close(phases.terms["critics"], critics)
    torch.testing.assert_close(phases.terms["generators"], expected)


def test_critics_and_generators_learn_from_their_own_phase_alone():
    system = made(UNIT, SETTINGS)
    phases = PlainPhases(system)
    system.step(phases, batch())
    assert phases.gradients["critics"] == {"condition_critic", "photo_critic"}
    assert phases.gradients["generators"] == set(system.averaged)
    one, other = (
        {weight.data_ptr() for weight in system.networks[f"{name}_critic"].parameters()}
        for name in ("condition", "photo")
    )
    assert not one & other  # critics share no layers


def test_noise_is_drawn_in_training_and_never_by_the_pipeline():
    system, given = made(UNIT, SETTINGS, lively=True), batch()
    once, again = (encoded(system.networks, {"photo": given.exemplar})[0] for _ in range(2))
    assert (once["photo"] - again["photo"]).abs().max() > 0.1
    pipe = quiet(system)
    first, second = (pipe(given.condition, output_type="pt").images for _ in range(2))
    assert torch.equal(first, second)
    assert not hasattr(pipe, "sample")  # a map that nothing can be drawn from


def test_pictures_go_either_way_and_back():
    pipe, given = quiet(made(UNIT, SETTINGS)), batch()
    out = pipe(given.condition, reconstruct=True, output_type="pt")
    picture = drawn(given.condition)

    def by_hand(picture: Tensor, source: str, target: str) -> Tensor:
        n = pipe.networks
        mean = n["shared"].before(n[f"{source}_encoder"](picture))
        return n[f"{target}_decoder"](n["shared"].behind(mean))

    fake = by_hand(picture, "condition", "photo")
    torch.testing.assert_close(out.images, (fake / 2 + 0.5).clamp(0, 1))
    back = by_hand(fake, "photo", "condition")
    torch.testing.assert_close(out.reconstructions, (back / 2 + 0.5).clamp(0, 1))
    other = pipe((given.exemplar + 1) / 2, direction="b2a", output_type="pt").images
    expected = by_hand(given.exemplar, "photo", "condition") / 2 + 0.5
    torch.testing.assert_close(other, expected.clamp(0, 1))


class Unshared(nn.Module):
    """What is shared, made twice: for conditions and for photos, which follow each other."""

    def __init__(self) -> None:
        super().__init__()
        self.of = nn.ModuleList(SharedLatent(8, "instance") for _ in range(2))
        self.calls = 0

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        return self.of[1 - self.calls % 2](x)


def codes(nets: Networks) -> tuple[Tensor, Tensor]:
    """Of eight layouts the codes of their pictures and of their true photos."""
    layouts = two_colour(999, 8).condition
    photos = F.pad(layouts[:, :1], (0, 0, 0, 0, 0, 2)) * 2 - 1
    with torch.no_grad():
        _, means = encoded(nets, {"condition": drawn(layouts), "photo": photos})
    return means["condition"].flatten(1), means["photo"].flatten(1)


@pytest.mark.slow
def test_codes_of_one_layout_meet_because_layers_are_shared():
    found = []
    for shared in (True, False):
        system = made(UNIT, WIDER, UNITLosses())
        if not shared:
            system.networks["shared"] = Unshared()
        one, other = codes(trained(system, 40))
        likeness = F.cosine_similarity(one[:, None], other[None], dim=2)
        own = likeness.diagonal().mean()
        found.append((own - (likeness.sum() - likeness.trace()) / 56).item())
    assert found[0] > 0.2 and found[1] < found[0] / 2


@pytest.mark.slow
def test_pictures_come_back_from_their_own_codes_because_it_is_asked_for():
    """On a scale of -1..1 to a tenth of an unseen picture, of each domain, without noise."""
    held_out, found = two_colour(999, 16), []
    pictures = {"condition": drawn(held_out.condition), "photo": held_out.exemplar}
    for weight in (100.0, 0.0):
        nets = trained(made(UNIT, WIDER, UNITLosses(image=weight)), 120, 1e-2)
        with torch.no_grad():
            shared, _ = encoded(nets, pictures)
            own = {name: nets[f"{name}_decoder"](shared[name]) for name in pictures}
        found.append([F.l1_loss(own[name], pictures[name]).item() for name in pictures])
    assert max(found[0]) < 0.1 and min(found[1]) > 0.2, found
