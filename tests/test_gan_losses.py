"""The adversarial games and the Gaussian term equal plain second computations."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from cocosnet_hf.gan_losses import CROSS_ENTROPY, HINGE, LEAST_SQUARES, GanLoss, kl_sum
from tests.support.tensors import normal


def judged(seed: int) -> list[list[Tensor]]:
    """Two scales of different sizes: a feature map, which does not count, and the logits."""
    return [[normal(2, 3, 4, 4), normal(2, 1, side, side, seed=seed + side)] for side in (4, 2)]


def mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


PLAIN = {
    "cross entropy": (
        CROSS_ENTROPY,
        lambda d: -math.log(1 / (1 + math.exp(-d))),
        lambda d: -math.log(1 - 1 / (1 + math.exp(-d))),
        lambda d: -math.log(1 / (1 + math.exp(-d))),
        mean,
    ),
    "least squares": (
        LEAST_SQUARES,
        lambda d: (d - 1) ** 2,
        lambda d: d**2,
        lambda d: (d - 1) ** 2,
        sum,
    ),
    "hinge": (HINGE, lambda d: max(0, 1 - d), lambda d: max(0, 1 + d), lambda d: -d, mean),
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_game_is_its_formula_over_logits_and_scales(name: str):
    game, *parts, over_scales = PLAIN[name]
    fake, real = judged(0), judged(10)

    def plain(part, scales: list[list[Tensor]]) -> float:
        return over_scales([mean([part(d) for d in s[-1].flatten().tolist()]) for s in scales])

    found = (*game.for_critic(fake, real), game.for_painter(fake))
    expected = (plain(parts[1], fake), plain(parts[0], real), plain(parts[2], fake))
    assert [value.item() for value in found] == pytest.approx(list(expected), rel=1e-5)


@pytest.mark.parametrize("game", [CROSS_ENTROPY, LEAST_SQUARES, HINGE])
def test_a_critic_and_a_painter_want_opposite_things(game: GanLoss):
    logits = torch.zeros(1, 1, 2, 2, requires_grad=True)
    fake, real = game.for_critic([[logits]], [[logits]])
    signs = [
        torch.autograd.grad(loss, logits, retain_graph=True)[0].sum().sign().item()
        for loss in (fake + 1e-3 * logits.square().sum() + 0 * real, real)
    ]
    painted = torch.autograd.grad(game.for_painter([[logits]]), logits)[0].sum().sign().item()
    assert painted == signs[1] == -1
    assert signs[0] in (0, 1)  # least squares is flat at the answer that it wants


def test_no_judgement_is_an_error():
    with pytest.raises(ValueError, match="at least one discriminator, got none"):
        HINGE.for_painter([])


def test_the_gaussian_term_is_summed_over_entries_and_items():
    center, log_variance = normal(3, 5), normal(3, 5, seed=1)
    styles = Normal(center, (log_variance / 2).exp())
    expected = kl_divergence(styles, Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(kl_sum(center, log_variance), expected)
    assert kl_sum(torch.zeros(2, 4), torch.zeros(2, 4)) == 0
