"""EGSC-IT's networks: what guides a decoder, and where noise is drawn."""

import torch

from cocosnet_hf.models import DomainAutoencoder, DomainEncoder, GuidedDecoder, SharedLatent
from cocosnet_hf.models.shared_latent import guided
from tests.support import tiny

WIDTHS = {"base_channels": 4, "residual_blocks": 1}


def maps(seed: int, side: int = 4) -> torch.Tensor:
    return torch.randn(2, 16, side, side + 2, generator=torch.Generator().manual_seed(seed))


def test_a_guided_map_has_the_exemplars_statistics_and_not_its_places():
    exemplar = 2 * maps(1, side=6) + 0.5
    made = guided(maps(0), maps(2), exemplar)
    torch.testing.assert_close(made.mean((2, 3)), exemplar.mean((2, 3)), rtol=0, atol=1e-4)
    spread = made.std((2, 3), correction=0), exemplar.std((2, 3), correction=0)
    torch.testing.assert_close(*spread, rtol=0, atol=1e-3)
    moved = exemplar.flatten(2)[..., torch.randperm(48)].unflatten(2, (6, 8))
    torch.testing.assert_close(guided(maps(0), maps(2), moved), made, rtol=0, atol=1e-5)


def test_a_mask_takes_up_to_half_of_what_the_content_says():
    x, exemplar = maps(0), maps(1)
    plain = guided(x, torch.full_like(x, 50.0), exemplar)
    halved = x.clone()
    halved[..., :3] /= 2
    content = torch.full_like(x, 50.0)
    content[..., :3] = -50.0
    expected = guided(halved, torch.full_like(x, 50.0), exemplar)
    torch.testing.assert_close(guided(x, content, exemplar), expected)
    assert (expected - plain).abs().max() > 0.1


def test_noise_is_drawn_in_training_and_off_in_use():
    picture = torch.rand(2, 3, 16, 24) * 2 - 1
    autoencoder = tiny.lively(DomainAutoencoder(**WIDTHS))
    shared = tiny.lively(SharedLatent(base_channels=4))
    latent = tiny.lively(DomainEncoder(**WIDTHS))(picture)
    assert latent.shape == (2, 16, 4, 6)
    for network, given in ((autoencoder, picture), (shared, latent)):
        one, mean = network(given)
        torch.testing.assert_close(network(given)[0], one)
        network.train()
        assert (network(given)[0] - one).abs().max() > 1e-3
        torch.testing.assert_close(network(given)[1], mean)
    decoder = tiny.lively(GuidedDecoder(**WIDTHS))
    painted = decoder(latent, latent, maps(3))
    assert painted.shape == picture.shape and painted.abs().max() <= 1


def test_masks_bring_back_a_layout_that_the_code_has_lost():
    """A code that is the same everywhere, and whose layout its masks say (Ma et al. 2019)."""
    content = maps(1)
    found = guided(torch.ones_like(content), content, maps(2))
    pairs = (x.flatten(2) - x.mean((2, 3))[..., None] for x in (found, content))
    assert (torch.cosine_similarity(*pairs, dim=2) > 0.9).all()
