"""The encoder of BicycleGAN's codes has no places."""

import pytest
import torch

from cocosnet_hf.models import CodeEncoder
from tests.support import tiny


def test_an_encoder_gives_a_mean_and_a_variance_for_pictures_of_any_size():
    encoder = tiny.lively(CodeEncoder(3, channels=(4, 8)))
    small = torch.rand(2, 3, 8, 8) * 2 - 1
    mean, log_variance = encoder(small)
    assert mean.shape == log_variance.shape == (2, 3)
    assert encoder(torch.rand(1, 3, 16, 24))[0].shape == (1, 3)
    assert (mean[0] - mean[1]).abs().max() > 1e-3
    with pytest.raises(ValueError, match="must be multiples of 4"):
        encoder(torch.rand(1, 3, 10, 16))
