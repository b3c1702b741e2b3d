"""What all systems share whose pictures a discriminator judges beside true ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..gan_losses import HINGE, GanLoss
from .augment import diff_augment
from .base import LossWeights, Networks, Phase, System, Terms
from .batch import Batch, Generated


@dataclass(frozen=True)
class JudgedLosses(LossWeights):
    """adversarial: what the discriminator says. feature_matching: differences of its maps."""

    adversarial: float = 1.0
    feature_matching: float = 10.0

    def __post_init__(self) -> None:
        if self.feature_matching and not self.adversarial:
            raise ValueError(
                "losses.feature_matching needs a discriminator that learns: set losses.adversarial "
                "above 0, or both to 0."
            )
        super().__post_init__()


class JudgedSystem(System):
    """A system with `losses.adversarial`, whose usual step is one phase, then the discriminator's.

    A subclass with another step than that says which of its networks judge what.
    """

    losses: Any
    gan: ClassVar[GanLoss] = HINGE
    critic_weight: ClassVar[float] = 1.0
    """Of both halves of a discriminator's loss, beside the weight of the adversarial term."""
    judges_together: ClassVar[bool] = True
    """Whether a discriminator sees true and painted pictures as one batch, or as two."""

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """The networks that paint, then the discriminator on the very picture of the step."""
        with phase(*self.averaged, name="generator") as (nets, terms):
            generated, own = self.learned(nets, batch)
            terms |= self.generator_terms(nets, batch, generated) | self.losses.applied(own)
        self.discriminator_step(phase, batch, generated)
        return generated

    def learned(
        self, nets: Networks, batch: Batch
    ) -> tuple[Generated, dict[str, Callable[[], Tensor]]]:
        """What is painted to learn from, and what computes terms of its own."""
        return self.generate(nets, batch), {}

    def discriminator_step(self, phase: Phase, batch: Batch, generated: Generated) -> None:
        """Teach the discriminator, if anything looks at what it says."""
        if self.losses.adversarial:
            with phase("discriminator") as (nets, terms):
                terms |= self.discriminator_terms(nets, batch, generated)

    def generator_terms(self, nets: Networks, batch: Batch, generated: Generated) -> Terms:
        """Each term of the picture times its weight."""
        return self.losses.applied(self.picture_terms(nets, batch, generated))

    def picture_terms(
        self, nets: Networks, batch: Batch, generated: Generated
    ) -> dict[str, Callable[[], Tensor]]:
        """What computes each unweighted term that looks at the picture."""
        raise NotImplementedError(f"{type(self).__name__} has no terms of a picture.")

    def discriminator_terms(self, nets: Networks, batch: Batch, generated: Generated) -> Terms:
        """Both halves of the discriminator's loss, on the output that it is to tell apart."""
        window = generated.batch or batch
        pictures = generated.image, window.image
        return self.critic_terms(nets["discriminator"], self.seen(window), *pictures)

    def seen(self, batch: Batch) -> Tensor:
        """What the discriminator sees beside a picture, (B, K, H, W)."""
        return batch.condition

    def critic_terms(
        self, critic: nn.Module, condition: Tensor, fake: Tensor, real: Tensor
    ) -> Terms:
        """Both halves of a critic's loss; fake passes no gradient on."""
        fakes, reals = self.gan.for_critic(*self.judge(critic, condition, fake.detach(), real))
        weight = self.critic_weight * self.losses.adversarial
        return {"fake": weight * fakes, "real": weight * reals}

    def judge(
        self, critic: nn.Module, condition: Tensor, *pictures: Tensor
    ) -> list[list[list[Tensor]]]:
        """What a critic says of each of several pictures (B, 3, H, W) of one condition.

        condition (B, K, H, W), K = 0 for a critic of pictures alone. Augmented, they are all
        changed alike.
        """
        if self.settings.diff_augment:
            condition, *pictures = diff_augment(condition, *pictures)  # type: ignore[assignment]
        if not self.judges_together:
            return [critic(condition, picture) for picture in pictures]
        count = len(pictures)
        outputs = critic(torch.cat([condition] * count), torch.cat(pictures))
        parts = [[layer.chunk(count) for layer in scale] for scale in outputs]
        return [[[layer[kind] for layer in scale] for scale in parts] for kind in range(count)]

    def critics_step(
        self, phase: Phase, real: Mapping[str, Tensor], fakes: Mapping[str, Tensor]
    ) -> None:
        """Teach critics of pictures alone, each by its name less "_critic", to tell theirs apart.

        Without effect where the adversarial term has no weight.
        """
        if not self.losses.adversarial:
            return
        with phase(*(f"{name}_critic" for name in fakes), name="critics") as (nets, terms):
            for name, fake in fakes.items():
                pictures = real[name][:, :0], fake, real[name]
                found = self.critic_terms(nets[f"{name}_critic"], *pictures)
                terms |= {f"{name}_{part}": term for part, term in found.items()}

    def fooled(self, nets: Networks, fakes: Mapping[str, Tensor]) -> Tensor:
        """The unweighted adversarial term of such critics: they are to take fakes for true."""
        return summed(
            self.gan.for_painter(*self.judge(nets[f"{name}_critic"], fake[:, :0], fake))
            for name, fake in fakes.items()
        )


def summed(terms: Iterable[Tensor]) -> Tensor:
    """The sum of scalars."""
    return torch.stack(list(terms)).sum()
