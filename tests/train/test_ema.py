"""Averages of weights."""

import copy

import pytest
import torch
from torch import nn

from tests.support import tiny
from train.ema import averaged_copy


def test_the_average_converges_to_a_network_that_stands_still():
    network = nn.Linear(2, 2)
    average = averaged_copy(copy.deepcopy(network), decay=0.5)
    with torch.no_grad():
        network.weight.add_(1)
    for _ in range(60):
        average.update_parameters(network)
    torch.testing.assert_close(average.module.weight, network.weight)


def test_the_first_average_step_is_short():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = averaged_copy(network, decay=0.999)
    nn.init.ones_(network.weight)
    average.update_parameters(network)
    assert average.module.weight.item() == pytest.approx(1 - 2 / 11)


def test_the_average_takes_over_the_spectral_norms_vectors():
    network = tiny.discriminator()
    average = averaged_copy(network, decay=0.9)
    network.train()(torch.rand(1, 2, 48, 48), torch.rand(1, 3, 48, 48))
    average.update_parameters(network)
    for ours, theirs in zip(average.module.buffers(), network.buffers(), strict=True):
        assert torch.equal(ours, theirs)
