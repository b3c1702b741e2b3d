"""SPADE, with and without its image encoder, as a system and a pipeline."""

import pytest
import torch
from torch import Tensor

from cocosnet_hf.systems import Spade, SpadePipeline, SpadePlain, SpadePlainPipeline
from cocosnet_hf.systems.paired import PairedLosses
from cocosnet_hf.systems.spade import SpadeLosses
from tests.support.paired import CLASSES, NETWORKS, SIDE, Phases, batch, layouts, made
from tests.support.tiny import lively

PIXELS = {"adversarial": 0, "feature_matching": 0, "perceptual": 0, "pixel": 1}


def system(**weights: float) -> Spade:
    return made(Spade, "spade", SpadeLosses(**{"perceptual": 0, **weights}))


@pytest.fixture
def pipe() -> SpadePipeline:
    networks = Spade.make_networks(CLASSES, NETWORKS["spade"])
    pair = {name: lively(networks[name]) for name in ("encoder", "generator")}
    return SpadePipeline(**pair, condition=CLASSES, image_size=SIDE)


def test_a_step_is_the_published_losses_computed_plainly(monkeypatch: pytest.MonkeyPatch):
    """Hinge, features of one batch of true and painted pictures, and the summed KL."""
    chosen, seen = system(), batch()
    nets = chosen.networks
    for network in nets.values():  # so that each computation sees the same singular vectors
        network.eval()
    monkeypatch.setattr(torch, "randn_like", lambda x: torch.full_like(x, 0.5))
    mean, log_variance = nets["encoder"](seen.image)
    fake = nets["generator"](seen.condition, mean + 0.5 * log_variance.exp().sqrt()).detach()
    (false,), (true,) = (
        nets["discriminator"](seen.condition, image) for image in (fake, seen.image)
    )
    variance = log_variance.exp()
    matching = sum((a - b).abs().mean() for a, b in zip(false[:-1], true[:-1], strict=True))
    expected = {
        "generator/adversarial": -false[-1].mean(),
        "generator/feature_matching": 10 * 4 / 2 * matching,
        "generator/kl": 0.05 * 0.5 * (mean**2 + variance - 1 - log_variance).sum(),
        "discriminator/fake": (1 + false[-1]).clamp(min=0).mean(),
        "discriminator/real": (1 - true[-1]).clamp(min=0).mean(),
    }
    phases = Phases(chosen, rate=0)
    chosen.step(phases, seen)
    assert phases.order == ["generator", "discriminator"]
    found = {
        key: pytest.approx(value.item(), rel=1e-3, abs=1e-6) for key, value in expected.items()
    }
    assert phases.seen == found


@pytest.mark.parametrize("kind", [Spade, SpadePlain])
def test_two_steps_lower_the_loss(kind: type):
    losses = SpadeLosses(kl=0, **PIXELS) if kind is Spade else PairedLosses(**PIXELS)
    chosen = made(kind, "spade", losses)
    phases, values = Phases(chosen, rate=1e-3), []
    for _ in range(3):
        chosen.step(phases, batch())
        values.append(phases.seen["generator/pixel"])
    assert values[2] < values[0]


def test_the_encoder_sees_the_true_photo_in_training_and_the_exemplar_in_use():
    chosen, seen = system(), batch()
    looked: list[Tensor] = []
    chosen.networks["encoder"].register_forward_pre_hook(lambda _, given: looked.append(given[0]))
    chosen.step(Phases(chosen, rate=0), seen)
    chosen.generate(chosen.networks, seen)
    assert torch.equal(looked[0], seen.image) and torch.equal(looked[1], seen.exemplar)


@torch.no_grad()
def test_styles_are_drawn_given_or_seen_in_an_exemplar(pipe: SpadePipeline):
    def painted(**how):
        return pipe(layouts(1), output_type="pt", **how)

    drawn = painted(count=8, generator=torch.Generator().manual_seed(0))
    assert drawn.images.shape == (8, 3, SIDE, SIDE)
    distances = torch.cdist(drawn.images.flatten(1), drawn.images.flatten(1))
    assert (distances + torch.eye(8) > 1e-2).all()
    again = painted(count=8, generator=torch.Generator().manual_seed(0)).images
    assert torch.equal(again, drawn.images)
    by_style = painted(style=drawn.styles[3]).images
    torch.testing.assert_close(by_style, drawn.images[3:4], atol=1e-5, rtol=1e-5)
    both = pipe(layouts(2), style=drawn.styles[2:4], output_type="pt")
    assert torch.equal(both.styles, drawn.styles[2:4])
    zero = painted(style=torch.zeros(3)).images
    torch.testing.assert_close(painted().images, zero)
    photo = torch.rand(3, 24, 40)
    seen = painted(exemplar=photo)
    expected = pipe.encoder(photo[None] * 2 - 1)[0]
    torch.testing.assert_close(seen.styles, expected)
    with pytest.raises(ValueError, match="a picture has one style: pass an exemplar or"):
        painted(exemplar=photo, style=torch.zeros(3))
    with pytest.raises(ValueError, match=r"style must be \(3,\) or \(B, 3\), got \(4,\)"):
        painted(style=torch.zeros(4))


@pytest.mark.slow
def test_the_pictures_colour_follows_the_exemplar():
    """A short training on pictures of one colour each; the next picture's it does not follow."""
    chosen = made(Spade, "spade", SpadeLosses(kl=1e-3, **PIXELS))
    phases = Phases(chosen, rate=1e-2)
    generator = torch.Generator().manual_seed(0)

    def pictures(count: int):
        levels = torch.rand(count, 1, 1, 1, generator=generator) * 1.6 - 0.8
        shown = batch(count)
        image = 0.2 * shown.image + levels
        return type(shown)(image, shown.condition, image, None, torch.ones(count)), levels

    for _ in range(60):
        chosen.step(phases, pictures(4)[0])
    seen, levels = pictures(12)
    for network in chosen.networks.values():
        network.eval()
    with torch.no_grad():
        made_of = chosen.generate(chosen.networks, seen).image.mean(dim=(1, 2, 3))
    order = [torch.argsort(torch.argsort(x)).float() for x in (made_of, levels.flatten())]
    own, other = (torch.corrcoef(torch.stack([order[0], order[1].roll(by)]))[0, 1] for by in (0, 1))
    assert own > 0.5 and own > other + 0.4, (own, other)


@torch.no_grad()
def test_without_the_encoder_two_seeds_give_one_picture(tmp_path):
    networks = SpadePlain.make_networks(CLASSES, {"generator": NETWORKS["spade"]["generator"]})
    pipe = SpadePlainPipeline(lively(networks["generator"]), CLASSES, SIDE)
    pictures = [
        pipe(
            layouts(1),
            torch.rand(3, SIDE, SIDE),
            generator=torch.Generator().manual_seed(seed),
            output_type="pt",
        ).images
        for seed in (0, 1)
    ]
    assert torch.equal(*pictures)
    with pytest.raises(TypeError, match="style"):
        pipe(layouts(1), style=torch.zeros(3))
    pipe.save_pretrained(tmp_path)
    loaded = SpadePlainPipeline.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(layouts(1), output_type="pt").images, pictures[0])
