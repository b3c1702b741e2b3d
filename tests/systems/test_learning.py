"""What every system promises alike: it learns, and paints in use what it painted in training."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from cocosnet_hf import DistilledVGG19Features
from cocosnet_hf.models.content_style import init_he_
from cocosnet_hf.systems import SYSTEMS, Batch, System, SystemSettings
from tests.support import asked, paired, tiny, unpaired
from tests.support.phases import PlainPhases


def of_two_domains(name: str, settings: dict[str, Any]) -> System:
    options = {"early_steps": 0} if name == "discogan" else {}
    return unpaired.made(SYSTEMS[name], settings, **options)


def seeing(name: str, settings: dict[str, Any]) -> System:
    """Whose perceptual network, of no known weights, passes on what it sees."""
    system = of_two_domains(name, settings)
    network = DistilledVGG19Features()
    for one in (network, system.networks.get("encoder", network)):
        init_he_(one)
    system.perceptual = network.eval().requires_grad_(False)
    return system


def of_many(name: str, settings: dict[str, Any]) -> System:
    """Of domains or attributes."""
    torch.manual_seed(0)
    kind, condition = SYSTEMS[name], {"fader": asked.ATTRIBUTES}.get(name, asked.DOMAINS)
    networks = kind.make_networks(condition, settings)
    for network in networks.values():
        network.train()
    options = {"rising_steps": 0} if name == "fader" else {}
    return kind(
        condition,
        networks,
        kind.Losses(),
        SystemSettings(image_size=32),
        options=kind.Options(**options),
    )


LEARNING: dict[str, tuple[Callable[..., System], dict[str, Any], str, tuple[str, ...]]] = {
    "adain": (seeing, tiny.ADAIN_SETTINGS, "decoder", ("content", "style")),
    "contextual": (seeing, tiny.CONTEXTUAL_SETTINGS, "generator", ("source", "target")),
    "cyclegan": (of_two_domains, unpaired.GENERATORS, "generators", ("cycle", "identity")),
    "discogan": (of_two_domains, tiny.DISCOGAN_SETTINGS, "generators", ("reconstruction",)),
    "fader": (of_many, tiny.FADER_SETTINGS, "autoencoder", ("reconstruction",)),
    "gcgan": (of_two_domains, tiny.GCGAN_SETTINGS, "generator", ("identity",)),
    "stargan-v2": (of_many, tiny.STARGANV2_SETTINGS, "generator_latent", ("cycle", "style")),
    "unit": (of_two_domains, tiny.UNIT_SETTINGS, "generators", ("image", "cycle")),
}
"""How each is made, and terms of a phase that are no game; other systems have a test of their own.

CoGAN has no such term.
"""


@pytest.mark.parametrize("name", LEARNING)
def test_a_few_steps_on_one_batch_lower_what_is_no_game(name: str):
    make, settings, phase, terms = LEARNING[name]
    system = make(name, settings)
    rate = 3e-4 if name == "adain" else 2e-3
    phases, sums = PlainPhases(system, rate), []
    phases.step = 1  # of DiscoGAN's the first that teaches generators
    given = {"fader": asked.attributed, "stargan-v2": asked.batch}.get(name, unpaired.batch)(0)
    for _ in range(6):
        torch.manual_seed(0)
        system.step(phases, given)
        sums.append(sum(phases.terms[phase][term].item() for term in terms))
    assert sums[-1] < 0.98 * sums[0] and all(map(math.isfinite, sums))


def gathered(name: str) -> tuple[System, Callable[[int], Batch]]:
    """A system with batch norms, each of its networks in training mode, and its batches."""
    if name == "spade":
        kind = SYSTEMS[name]
        return paired.made(kind, name, kind.Losses(perceptual=0)), lambda n: paired.batch(8, n)
    if name == "fader":
        return of_many(name, tiny.FADER_SETTINGS), lambda n: asked.attributed(n, 8, 32)
    return of_two_domains(name, tiny.DISCOGAN_SETTINGS), lambda n: unpaired.batch(n, 8)


@pytest.mark.parametrize("name", ["discogan", "fader", "spade"])
@torch.no_grad()
def test_pictures_alone_are_painted_as_in_batches_of_training(name: str):
    """By the statistics that training has gathered: nothing depends on what is painted beside."""
    system, batches = gathered(name)
    nets, unseen = system.networks, batches(999)
    for network in nets.values():
        tiny.lively(network).train()

    def painted(training: bool) -> torch.Tensor:
        for network in nets.values():
            network.train(training)
        return system.generate(nets, unseen).image

    before = painted(training=False)
    for number in range(40):
        for network in nets.values():
            network.train()
        system.generate(nets, batches(number))
    after, wanted = painted(training=False), painted(training=True)
    assert (after - wanted).abs().mean() < 0.5 * (before - wanted).abs().mean()
    fields = {
        key: value[:1] if isinstance(value, torch.Tensor) else value
        for key, value in vars(unseen).items()
    }
    for network in nets.values():
        network.eval()
    again = system.generate(nets, unseen).image
    torch.testing.assert_close(
        system.generate(nets, Batch(**fields)).image, again[:1], rtol=1e-4, atol=1e-4
    )
