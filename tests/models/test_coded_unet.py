"""BicycleGAN's networks: the code is read at every level, the encoder has no places."""

import pytest
import torch

from cocosnet_hf.models import CodedUNet, CodeEncoder
from tests.support import tiny


def unet(levels: int = 4) -> CodedUNet:
    return tiny.lively(CodedUNet(2, style_channels=3, base_channels=4, levels=levels))


@torch.no_grad()
def test_every_level_reads_the_code():
    network, condition = unet(), torch.rand(2, 2, 32, 16)
    codes = torch.randn(2, 3), torch.randn(2, 3)
    assert network(condition, codes[0]).shape == (2, 3, 32, 16)
    readers = [layer[0] for layer in network.down]
    weights = [reader.weight.clone() for reader in readers]
    for reader in readers:
        reader.weight[:, -3:] = 0
    torch.testing.assert_close(network(condition, codes[0]), network(condition, codes[1]))
    for reader, weight in zip(readers, weights, strict=True):
        reader.weight.copy_(weight)
        changed = network(condition, codes[0]) - network(condition, codes[1])
        # Behind a norm a code that is the same everywhere shows at the borders alone.
        assert changed.abs().max() > 1e-5
        reader.weight[:, -3:] = 0


def test_dropout_is_for_training_alone():
    network, given = unet(), (torch.rand(1, 2, 32, 32), torch.zeros(1, 3))
    torch.testing.assert_close(network(*given), network(*given))
    network.train()
    assert (network(*given) - network(*given)).abs().max() > 1e-4


def test_the_innermost_map_may_be_of_odd_sides():
    assert unet()(torch.rand(1, 2, 24, 40), torch.zeros(1, 3)).shape == (1, 3, 24, 40)
    with pytest.raises(ValueError, match="must be multiples of 8"):
        unet()(torch.rand(1, 2, 20, 32), torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"style must be \(1, 3\), got \(1, 4\)"):
        unet()(torch.rand(1, 2, 16, 16), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="levels must be 3 or more"):
        CodedUNet(2, levels=2)


def test_an_encoder_gives_a_mean_and_a_variance_for_pictures_of_any_size():
    encoder = tiny.lively(CodeEncoder(3, channels=(4, 8)))
    small = torch.rand(2, 3, 8, 8) * 2 - 1
    mean, log_variance = encoder(small)
    assert mean.shape == log_variance.shape == (2, 3)
    assert encoder(torch.rand(1, 3, 16, 24))[0].shape == (1, 3)
    assert (mean[0] - mean[1]).abs().max() > 1e-3
    with pytest.raises(ValueError, match="must be multiples of 4"):
        encoder(torch.rand(1, 3, 10, 16))
