"""pix2pix as a system and a pipeline."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf import PatchGAN, UNet
from cocosnet_hf.systems import Pix2Pix, Pix2PixPipeline
from cocosnet_hf.systems.pix2pix import Pix2PixLosses
from tests.support.paired import CLASSES, Phases, batch, layouts, made
from tests.support.tiny import lively


def system(**weights: float) -> Pix2Pix:
    return made(Pix2Pix, "pix2pix", Pix2PixLosses(**weights))


@pytest.fixture
def pipe() -> Pix2PixPipeline:
    painter = lively(UNet(3, 4, levels=3))
    return Pix2PixPipeline(painter, CLASSES, 16)


def test_a_step_is_the_published_losses_computed_plainly():
    """The critic first, with half its loss; the painter against the critic that has learned."""
    chosen = system()
    drawn = chosen.noise(batch().condition)
    chosen.noise = lambda _: drawn
    critic: PatchGAN = chosen.networks["discriminator"]
    seen = batch()
    fake = chosen.networks["generator"](seen.condition, noise=drawn).detach()

    def word(image):
        return critic(seen.condition, image)[0][-1]

    expected = {
        "discriminator/fake": 0.5 * F.binary_cross_entropy(word(fake).sigmoid(), word(fake) * 0),
        "discriminator/real": 0.5
        * F.binary_cross_entropy(word(seen.image).sigmoid(), word(fake) * 0 + 1),
        "generator/pixel": 100 * (fake - seen.image).abs().mean(),
    }
    phases = Phases(chosen, rate=0)
    chosen.step(phases, seen)
    expected["generator/adversarial"] = -word(fake).sigmoid().log().mean()
    assert phases.order == ["discriminator", "generator"]
    assert phases.seen == pytest.approx({k: v.item() for k, v in expected.items()}, rel=1e-4)


@torch.no_grad()
def test_the_critic_judges_each_picture_by_itself_in_training():
    """Its norm is that of an instance, which the paper's batch norm is at a batch of one."""
    critic, seen = lively(system().networks["discriminator"]).train(), batch(3)
    together = critic(seen.condition, seen.image)[0][-1]
    alone = critic(seen.condition[:1], seen.image[:1])[0][-1]
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-4)


def test_two_steps_lower_the_loss_and_a_weight_of_0_leaves_the_critic_alone():
    chosen = system(adversarial=0)
    phases = Phases(chosen)
    losses = []
    for _ in range(3):
        chosen.step(phases, batch())
        losses.append(phases.seen["generator/pixel"])
    assert losses[2] < losses[0]
    assert set(phases.order) == {"generator"}


@torch.no_grad()
def test_samples_differ_by_dropout_alone_and_a_seed_gives_them_again(pipe: Pix2PixPipeline):
    condition = layouts(1)

    def painted(**how):
        return pipe(condition, output_type="pt", **how).images

    plain = painted()
    assert torch.equal(plain, painted())
    several = painted(count=3, generator=torch.Generator().manual_seed(0))
    assert several.shape == (3, 3, 16, 16)
    assert (several[0] - several[1]).abs().max() > 1e-3
    again = painted(count=3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(several, again)
    without = Pix2PixPipeline(UNet(3, 4, levels=3, dropout=0), CLASSES, 16)
    same = without(layouts(1), count=2, generator=torch.Generator(), output_type="pt").images
    torch.testing.assert_close(same[0], same[1])


@torch.no_grad()
def test_an_exemplar_changes_nothing_and_the_card_does_not_ask_for_one(pipe, tmp_path):
    assert not pipe.uses_exemplar
    first, second = (
        pipe(layouts(2), exemplar, output_type="pt").images
        for exemplar in (None, torch.rand(3, 16, 16))
    )
    assert torch.equal(first, second)
    pipe.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "[pix2pix](https://arxiv.org/abs/1611.07004)" in card
    assert "exemplar.jpg" not in card and "warped_exemplars" not in card
    loaded = Pix2PixPipeline.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(layouts(2), output_type="pt").images, first)


def test_several_pictures_without_a_generator_are_an_error(pipe: Pix2PixPipeline):
    with pytest.raises(ValueError, match="2 pictures would be the same: pass generator="):
        pipe(layouts(1), count=2)
    with pytest.raises(ValueError, match="count must be a number of pictures from 1 on, got 0"):
        pipe(layouts(1), count=0)
    with pytest.raises(ValueError, match="one for each of the 2 pictures, got a list of 3"):
        pipe(layouts(2), generator=[torch.Generator()] * 3)


@pytest.mark.slow
def test_the_critic_brings_fine_texture_that_pixels_alone_average_away():
    """The same photos with grain by chance, learned with and without the adversarial term."""
    grain = []
    for adversarial in (0.0, 1.0):
        chosen = system(pixel=10, adversarial=adversarial)
        phases = Phases(chosen, rate=4e-3)
        for step in range(80):
            torch.manual_seed(step)
            given = batch(4, seed=step)
            chosen.step(phases, replace(given, image=grained(given.image, step)))
        with torch.no_grad():
            image = chosen.generate(chosen.networks, batch(8, seed=99)).image
        grain.append((image[..., 1:] - image[..., :-1]).abs().mean().item())
    assert grain[1] > 1.3 * grain[0]


def grained(image: Tensor, seed: int) -> Tensor:
    """Photos with black and white dots by chance."""
    generator = torch.Generator().manual_seed(seed)
    dots = torch.rand(image.shape[0], 1, *image.shape[2:], generator=generator) < 0.5
    return torch.where(dots, image * 0.2 - 0.8, image * 0.2 + 0.8)
