"""BicycleGAN: pictures and codes go round both ways, so that codes are seen (Zhu et al. 2017).

A batch is two halves of pairs. Those of the first are encoded and painted again, and painted in
codes by chance; the photos of the second are what one critic compares the latter with. Written from
the paper; no code or weights of its authors are part of this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..conditions import Condition
from ..gan_losses import LEAST_SQUARES, kl_sum
from ..models import CodeEncoder, PatchGAN, UNet
from ..models.network import Network
from .base import LossWeights, Networks, Phase
from .batch import Batch, Generated
from .judged import JudgedSystem
from .styled import StyledPipeline


class BicycleGANPipeline(StyledPipeline):
    """Paints a condition in the style of an exemplar, of a code, or of chance."""

    method = "[BicycleGAN](https://arxiv.org/abs/1711.11586)"

    generator: UNet
    encoder: CodeEncoder

    def __init__(
        self,
        generator: UNet,
        encoder: CodeEncoder,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        networks = {"generator": generator, "encoder": encoder}
        super().__init__(networks, condition, image_size, image_width)


@dataclass(frozen=True)
class BicycleGANLosses(LossWeights):
    """Multiplier of each term; see Zhu et al. 2017, section 3.

    adversarial: least squares, of pictures in encoded and in random codes alike, and of both
    critics. pixel: that a picture comes back from its own code. kl: that codes are N(0, 1), summed
    over their entries. style: that a random code comes back from the picture painted in it, of
    which the generator alone learns: two that did would hide it from sight.
    """

    adversarial: float = 1.0
    pixel: float = 10.0
    kl: float = 0.01
    style: float = 0.5


class BicycleGAN(JudgedSystem):
    """Generator and encoder, and a critic for each way."""

    network_classes = {
        "generator": (UNet,),
        "encoder": (CodeEncoder,),
        "encoded_critic": (PatchGAN,),
        "random_critic": (PatchGAN,),
    }
    averaged = ("generator", "encoder")
    defaults = {
        "generator": {"dropout": 0},
        **dict.fromkeys(("encoded_critic", "random_critic"), {"scales": 2, "narrows": True}),
    }
    Losses = BicycleGANLosses
    losses: BicycleGANLosses
    pipeline_class = BicycleGANPipeline
    gan = LEAST_SQUARES

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks, of which the generator alone reads the condition."""
        encoder = cls.make("encoder", options)
        entries = encoder.config.style_channels
        return {
            "generator": cls.make("generator", options, condition.channels, style_channels=entries),
            "encoder": encoder,
            "encoded_critic": cls.make("encoded_critic", options),
            "random_critic": cls.make("random_critic", options),
        }

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """The condition in the style of the exemplar."""
        mean, _ = nets["encoder"](batch.exemplar)
        return Generated(nets["generator"](batch.condition, mean))

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """Generator and encoder, then the critics. Raises ValueError for a batch without halves."""
        if len(batch.image) % 2:
            raise ValueError(
                f"bicyclegan compares two halves of a batch, got {len(batch.image)} examples: set "
                f"data.batch_size to an even number."
            )
        first, second = batch.image.chunk(2)
        condition = batch.condition.chunk(2)[0]
        with phase(*self.averaged, name="generator") as (nets, terms):
            mean, log_variance = nets["encoder"](first)
            code = mean + (log_variance / 2).exp() * torch.randn_like(mean)
            random = torch.randn_like(mean)
            encoded = nets["generator"](condition, code)
            painted = nets["generator"](condition, random)
            fakes = {"encoded": encoded, "random": painted}
            terms |= self.losses.applied(
                {
                    "adversarial": lambda: self.fooled(nets, fakes),
                    "pixel": lambda: F.l1_loss(encoded, first),
                    "kl": lambda: kl_sum(mean, log_variance),
                    "style": lambda: F.l1_loss(self._recoded(painted), random),
                }
            )
        self.critics_step(phase, {"encoded": first, "random": second}, fakes)
        half = len(first)
        seen = Batch(first, condition, batch.exemplar[:half], None, batch.is_self_pair[:half])
        return Generated(encoded.detach(), batch=seen)

    def _recoded(self, pictures: Tensor) -> Tensor:
        """The mean codes of pictures, by an encoder that learns nothing from it."""
        encoder = self.networks["encoder"]
        still = {name: value.detach() for name, value in encoder.named_parameters()}
        mean, _ = torch.func.functional_call(encoder, still, (pictures,))
        return mean
