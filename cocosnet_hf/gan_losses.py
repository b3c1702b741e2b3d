"""Which adversarial game a system plays, and what pulls a Gaussian code to its prior.

As pure functions of logits, without their weights; systems differ in the kind, in whether scales
are added up or averaged, and in what they multiply by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .losses import DiscriminatorOutputs


@dataclass(frozen=True)
class GanLoss:
    """One kind of adversarial game, each part a function of one map of logits to a scalar.

    real, fake: what the critic minimises on true and on painted pictures. painted: what the
    painter does. adds_scales: whether the losses of several scales are summed, else averaged.
    """

    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]
    painted: Callable[[Tensor], Tensor]
    adds_scales: bool = False

    def for_critic(
        self, fake: DiscriminatorOutputs, real: DiscriminatorOutputs
    ) -> tuple[Tensor, Tensor]:
        """Both halves of the critic's loss: on painted pictures, which were detached, and true."""
        return self._over(self.fake, fake), self._over(self.real, real)

    def for_painter(self, fake: DiscriminatorOutputs) -> Tensor:
        """What the painter minimises."""
        return self._over(self.painted, fake)

    def _over(self, part: Callable[[Tensor], Tensor], judged: DiscriminatorOutputs) -> Tensor:
        if not judged:
            raise ValueError("expected the outputs of at least one discriminator, got none.")
        scales = torch.stack([part(outputs[-1].float()) for outputs in judged])
        return scales.sum() if self.adds_scales else scales.mean()


CROSS_ENTROPY = GanLoss(
    real=lambda logits: F.softplus(-logits).mean(),
    fake=lambda logits: F.softplus(logits).mean(),
    painted=lambda logits: F.softplus(-logits).mean(),
)
"""Goodfellow et al. 2014, non-saturating: pix2pix."""

LEAST_SQUARES = GanLoss(
    real=lambda logits: (logits - 1).square().mean(),
    fake=lambda logits: logits.square().mean(),
    painted=lambda logits: (logits - 1).square().mean(),
    adds_scales=True,
)
"""Mao et al. 2017, added up over the scales: pix2pixHD, MUNIT, EGSC-IT and BicycleGAN."""

HINGE = GanLoss(
    real=lambda logits: F.relu(1 - logits).mean(),
    fake=lambda logits: F.relu(1 + logits).mean(),
    painted=lambda logits: -logits.mean(),
)
"""Lim and Ye 2017, averaged over the scales: SPADE, and CoCosNet.

Source: Zhang et al. 2020, section 3.3, "adversarial loss"; official networks, 10.2.
"""


def r1_penalty(logits: Tensor, pictures: Tensor) -> Tensor:
    """1/2 mean over items of the sum of squares of d logits / d pictures.

    How steeply a critic judges true pictures. Source: Mescheder et al. 2018, equation 9. logits
    (B,) of pictures (B, 3, H, W) that require gradients; returns a scalar that can be learned from.
    """
    (slope,) = torch.autograd.grad(logits.float().sum(), pictures, create_graph=True)
    return 0.5 * slope.float().square().sum(dim=(1, 2, 3)).mean()


def kl_sum(mean: Tensor, log_variance: Tensor) -> Tensor:
    """-1/2 sum(1 + log var - mean^2 - var): how far codes are from N(0, 1), over items and entries.

    The sum, not the mean: weights of the two differ by orders of magnitude. Both of one shape;
    returns a scalar. Source: Kingma and Welling 2014, appendix B.
    """
    mean, log_variance = mean.float(), log_variance.float()
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
