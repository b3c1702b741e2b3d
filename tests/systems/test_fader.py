"""Fader: its terms, who learns when, its sliders, and an encoder that forgets because it must."""

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from cocosnet_hf import (
    AttributeDecoder,
    AttributesCondition,
    EdgeCondition,
    ForgetfulEncoder,
    LatentCritic,
)
from cocosnet_hf.cards import model_card
from cocosnet_hf.conditions.asked import planes
from cocosnet_hf.systems import (
    Batch,
    Fader,
    FaderLosses,
    FaderOptions,
    FaderPipeline,
    Networks,
    SystemSettings,
)
from tests.support import tiny
from tests.support.asked import ATTRIBUTES, attributed
from tests.support.phases import PlainPhases
from tests.support.unpaired import quiet

SETTINGS = tiny.FADER_SETTINGS


def made(
    losses: FaderLosses | None = None,
    *,
    lively: bool = False,
    rising_steps: int = 0,
    **changed: dict,
) -> Fader:
    torch.manual_seed(0)
    networks = Fader.make_networks(ATTRIBUTES, SETTINGS | changed)
    for network in networks.values():
        if lively:
            tiny.lively(network)
        network.train()
    settings = SystemSettings(image_size=32)
    options = FaderOptions(rising_steps)
    return Fader(ATTRIBUTES, networks, losses or FaderLosses(), settings, options=options)


@pytest.fixture(scope="module")
def pipe() -> FaderPipeline:
    return quiet(made())


def photo(width: int = 32) -> Image.Image:
    return Image.fromarray((torch.rand(32, width, 3) * 255).byte().numpy())


def entropy(logits: Tensor, values: Tensor) -> Tensor:
    """Of all attributes of each item, added up; the mean over items."""
    true, false = F.logsigmoid(logits), F.logsigmoid(-logits)
    return -(values * true + (1 - values) * false).sum(1).mean()


def test_the_terms_are_those_of_the_paper_computed_plainly():
    losses, still = FaderLosses(latent=0.5), {"dropout": 0.0}
    given, n = attributed(), made(losses, lively=True, critic=still).networks
    given.condition[:, 3] *= 0.3  # an attribute that is there in part counts in part
    x, y = given.condition[:, :3] * 2 - 1, given.condition[:, 3:].mean((2, 3))
    with torch.no_grad():
        n["encoder"].eval()
        wanted = {"critic": {"attributes": entropy(n["critic"](n["encoder"](x)), y)}}
        n["encoder"].train()
        n["critic"].eval()
        z = n["encoder"](x)
        wanted["autoencoder"] = {
            "reconstruction": (n["decoder"](z, y) - x).square().mean(),
            "latent": 0.5 * entropy(n["critic"](z), 1 - y),
        }
    system = made(losses, lively=True, critic=still)
    phases = PlainPhases(system)
    system.step(phases, given)
    torch.testing.assert_close(phases.terms, wanted)


def test_each_phase_teaches_its_own_and_without_the_term_there_is_no_critic():
    system = made(FaderLosses(latent=0.5))
    phases = PlainPhases(system)
    system.step(phases, attributed())
    assert phases.gradients == {"critic": {"critic"}, "autoencoder": {"encoder", "decoder"}}
    assert all(network.training for network in system.networks.values())
    system = made(FaderLosses(latent=0))
    phases = PlainPhases(system)
    system.step(phases, attributed())
    assert phases.terms.keys() == {"autoencoder"}


def test_a_phase_leaves_the_statistics_of_the_others_norms_alone():
    system = made(FaderLosses(latent=0.5))
    counts = {}
    for steps in (1, 2):
        system.step(PlainPhases(system), attributed())
        for name, network in system.networks.items():
            seen = [int(v) for k, v in network.state_dict().items() if "num_batches" in k]
            counts[name] = set(seen)
        assert counts == {name: {steps} for name in system.networks}


def test_the_critic_counts_for_more_and_more_until_its_weight_is_reached():
    found = []
    for step in (0, 5, 10, 99):
        system = made(FaderLosses(latent=0.5), lively=True, rising_steps=10)
        phases = PlainPhases(system)
        phases.step = step
        torch.manual_seed(0)
        system.step(phases, attributed())
        found.append(phases.terms["autoencoder"]["latent"].item())
    assert found[0] == 0 and found[2] > 0
    assert found[1:] == pytest.approx([found[2] / 2, found[2], found[2]])
    assert made().share(0) == 1
    with pytest.raises(ValueError, match="rising_steps must be at least 0, got -1"):
        FaderOptions(-1)


def test_a_photo_is_painted_with_what_is_asked_and_beyond(pipe: FaderPipeline):
    picture = photo()
    pixels = pipe.condition.encode(picture, 32, 32)[None, :3] * 2 - 1

    def expected(*values: float) -> Tensor:
        with torch.no_grad():
            painted = pipe.decoder(pipe.encoder(pixels), torch.tensor([values]))
        return (painted / 2 + 0.5).clamp(0, 1)

    one = pipe(picture, attributes={"framed": 0.25, "red": 1}, output_type="pt")
    torch.testing.assert_close(one.images, expected(1, 0.25))
    torch.testing.assert_close(one.styles, torch.tensor([[1, 0.25]]))
    sliders = [{"red": value, "framed": 0} for value in (-1, 0, 3)]
    many = pipe(picture, attributes=sliders, output_type="pt").images
    for image, value in zip(many, (-1, 0, 3), strict=True):
        torch.testing.assert_close(image, expected(value, 0)[0], atol=1e-5, rtol=1e-4)
    own = {"picture": picture, "asked": {"red": 1, "framed": -1}}
    torch.testing.assert_close(pipe(own, output_type="pt").images, expected(1, 0))
    assert pipe(photo(64), attributes=sliders).images[2].size == (64, 32)


def test_what_cannot_be_is_refused_with_what_would_do(pipe: FaderPipeline):
    with pytest.raises(ValueError, match="a number to each of red, framed, got .*'red'"):
        pipe(photo(), attributes={"red": 1})
    with pytest.raises(ValueError, match="must be as many, or one, got 2 and 3"):
        pipe([photo(), photo()], attributes=[{"red": 1, "framed": 0}] * 3)
    with pytest.raises(ValueError, match="condition of the type attributes"):
        Fader.make_networks(EdgeCondition(), SETTINGS)
    with pytest.raises(ValueError, match="networks.decoder.halvings must be 3"):
        made(decoder={"halvings": 2})
    with pytest.raises(ValueError, match=r"attributes must be \(2, 2\).*got \(2, 1\)"):
        pipe.decoder(torch.zeros(2, 8, 4, 4), torch.zeros(2, 1))
    with pytest.raises(ValueError, match="4 positions high and wide or more"):
        LatentCritic(channels=8)(torch.zeros(1, 8, 2, 4))


def test_maps_of_any_shape_are_judged_and_decoded():
    encoder, decoder = ForgetfulEncoder(4, 8, 3), AttributeDecoder(2, 4, 8, 3)
    latent = encoder(torch.zeros(2, 3, 32, 64))
    assert latent.shape == (2, 8, 4, 8)
    assert LatentCritic(2, 8).eval()(latent).shape == (2, 2)
    assert decoder(latent, torch.ones(2, 2)).shape == (2, 3, 32, 64)


def test_its_card_names_the_method_and_its_attributes(pipe: FaderPipeline):
    text = str(model_card(pipe))
    assert "[Fader Networks](https://arxiv.org/abs/1706.00409)" in text
    assert '"asked": {"red": 1, "framed": 1}' in text and "| framed |" in text


# What it is for ----------------------------------------------------------------------------------


def redness(pictures: Tensor) -> Tensor:
    """How much redder than blue their middles are."""
    return (pictures[:, 0] - pictures[:, 2])[:, 4:-4, 4:-4].mean((1, 2))


def framed(pictures: Tensor) -> Tensor:
    """How bright their upper borders are in green, which no block has."""
    return pictures[:, 1, 0].mean(1)


def taught(latent: float) -> Networks:
    shape = {"base_channels": 8, "widest": 32, "halvings": 2}
    losses = FaderLosses(latent=latent)
    system = made(losses, rising_steps=40, encoder=shape, critic={"hidden": 16})
    phases = PlainPhases(system, 4e-3)
    for step in range(120):
        torch.manual_seed(step)
        phases.step = step
        system.step(phases, attributed(step, 16, 16))
    return {name: network.eval() for name, network in system.networks.items()}


def test_an_attribute_goes_over_because_the_encoder_was_made_to_forget_it():
    """With the term all swap, the other attribute stays; without, most photos stay as they are."""
    given, swapped = attributed(999, 64, 16), []
    x, y = given.condition[:, :3] * 2 - 1, given.condition[:, 3:, 0, 0]
    other = torch.stack([1 - y[:, 0], y[:, 1]], 1)
    for latent in (0.1, 0.0):
        nets = taught(latent)
        with torch.no_grad():
            z = nets["encoder"](x)
            made_other, own = nets["decoder"](z, other), nets["decoder"](z, y)
            sliders = [
                redness(nets["decoder"](z, torch.stack([torch.full((64,), value), y[:, 1]], 1)))
                for value in (0.0, 0.25, 0.5, 0.75, 1.0)
            ]
        swapped.append(((redness(made_other) > 0) == (other[:, 0] == 1)).float().mean().item())
        if latent:
            assert ((framed(made_other) > 0) == (y[:, 1] == 1)).all()
            steps = torch.stack(sliders).diff(dim=0)
            assert (steps.mean(1) > 0.1).all() and (steps > 0).float().mean() > 0.9
            assert F.mse_loss(own, x) < 0.1 * x.var()
    assert swapped[0] > 0.95 and swapped[1] < 0.75


def tones(seed: int, count: int = 64) -> Batch:
    """Photos of 4 x 4 tones, bright or dark ones, in red or in blue."""
    generator = torch.Generator().manual_seed(seed)
    gains = 0.4 + 0.6 * torch.rand(count, 1, 1, generator=generator)
    red = torch.randint(2, (count, 1), generator=generator)
    photo = torch.zeros(count, 3, 4, 4)
    photo[torch.arange(count), 2 - 2 * red[:, 0]] = gains * torch.rand(
        count, 4, 4, generator=generator
    )
    condition = torch.cat([photo, planes(red.float(), photo)], dim=1)
    return Batch(photo * 2 - 1, condition, photo * 2 - 1, None, torch.zeros(count))


class OneColour(nn.Module):
    """A decoder of maps of one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, 16, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 3, 1), nn.Tanh()
        )

    def forward(self, latent: Tensor, values: Tensor) -> Tensor:
        return self.layers(torch.cat([latent, planes(values, latent)], dim=1))


def probed(latent: float) -> float:
    """How often a linear probe is right about red, by the map of an encoder that told it once.

    The map has one channel, so that nothing can be hidden in what one channel says of another.
    """
    torch.manual_seed(0)
    encoder = nn.Conv2d(3, 1, 1)
    with torch.no_grad():
        encoder.weight.copy_(torch.tensor([1, 0, -0.3]).view(1, 3, 1, 1))
    critic = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    networks = {"encoder": encoder, "decoder": OneColour(), "critic": critic}
    losses = FaderLosses(latent=latent)
    system = Fader(AttributesCondition(("red",)), networks, losses, options=FaderOptions(50))
    phases = PlainPhases(system, 5e-3)
    phases.optimizers["critic"].param_groups[0]["lr"] = 2e-2
    for step in range(300):
        phases.step = step
        system.step(phases, tones(step))
    with torch.no_grad():
        known, unseen = (
            (
                F.pad(encoder(given.image).flatten(1), (0, 1), value=1.0),
                given.condition[:, 3:, 0, 0] * 2 - 1,
            )
            for given in (tones(7001, 1024), tones(7002, 1024))
        )
        probe = torch.linalg.lstsq(*known).solution
        assert F.mse_loss(system.generate(networks, tones(7003)).image, tones(7003).image) < 0.1
    return ((unseen[0] @ probe > 0) == (unseen[1] > 0)).float().mean().item()


def test_a_probe_cannot_tell_the_attribute_from_the_map_because_the_critic_was_fooled():
    assert probed(0.3) < 0.55 and probed(0.0) > 0.95  # one in two is chance
