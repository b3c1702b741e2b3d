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
from ..gan_losses import kl_sum
from ..models import CodedUNet, CodeEncoder, PictureCritic
from ..models.network import Network
from .augment import diff_augment
from .base import LossWeights, Networks, Phase, System, make_network
from .batch import Batch, Generated
from .styled import StyledPipeline
from .unpaired import halves, least_squares, reader_of_pictures, summed

CRITIC: dict[str, Any] = {
    "widths": [64, 128, 256],
    "norm": "instance",
    "scales": 2,
    "last_width": 512,
    "narrows": True,
}
"""Of both critics, where a recipe says nothing else."""


class BicycleGANPipeline(StyledPipeline):
    """Paints a condition in the style of an exemplar, of a code, or of chance."""

    method = "[BicycleGAN](https://arxiv.org/abs/1711.11586)"

    generator: CodedUNet
    encoder: CodeEncoder

    def __init__(
        self,
        generator: CodedUNet,
        encoder: CodeEncoder,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        networks = {"generator": generator, "encoder": encoder}
        super().__init__(networks, condition, image_size, image_width)

    @property
    def style_channels(self) -> int:
        """Numbers of a style."""
        return self.generator.config.style_channels

    def encode_exemplar(self, exemplar: Tensor) -> Tensor:
        """The styles (B, S) of photos (B, 3, H, W) in [-1, 1]: the means of their codes."""
        mean, _ = self.encoder(exemplar)
        return mean

    def paint(self, condition: Tensor, style: Tensor) -> Tensor:
        """condition (B, K, H, W) in styles (B, S) -> (B, 3, H, W) in [-1, 1]."""
        return self.generator(condition, style)


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


class BicycleGAN(System):
    """Generator and encoder, and a critic for each way."""

    network_classes = {
        "generator": (CodedUNet,),
        "encoder": (CodeEncoder,),
        "encoded_critic": (PictureCritic,),
        "random_critic": (PictureCritic,),
    }
    averaged = ("generator", "encoder")
    Losses = BicycleGANLosses
    losses: BicycleGANLosses
    pipeline_class = BicycleGANPipeline

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks. Raises ValueError for codes of two lengths."""
        networks: dict[str, Network] = {}
        for name, classes in cls.network_classes.items():
            own = options.get(name, {})
            if name == "generator":
                networks[name] = make_network(own, classes, condition.channels)
            else:
                plain = {} if name == "encoder" else CRITIC
                networks[name] = reader_of_pictures({**plain, **own}, classes)
        lengths = {name: networks[name].config.style_channels for name in cls.averaged}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                f"the generator reads the codes that the encoder makes: both need one "
                f"style_channels, got {lengths}."
            )
        return networks

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
            fakes = {"encoded_critic": encoded, "random_critic": painted}
            terms |= self.losses.applied(
                {
                    "adversarial": lambda: summed(
                        least_squares(self._judged(nets, name, fake), 1)
                        for name, fake in fakes.items()
                    ),
                    "pixel": lambda: F.l1_loss(encoded, first),
                    "kl": lambda: kl_sum(mean, log_variance),
                    "style": lambda: F.l1_loss(self._recoded(painted), random),
                }
            )
        if self.losses.adversarial:
            with phase(*fakes, name="critics") as (nets, terms):
                for (name, fake), real in zip(fakes.items(), (first, second), strict=True):
                    made, true = halves(self._judged(nets, name, torch.cat([fake.detach(), real])))
                    terms[f"{name}_fake"] = self.losses.adversarial * least_squares(made, 0)
                    terms[f"{name}_real"] = self.losses.adversarial * least_squares(true, 1)
        half = len(first)
        seen = Batch(first, condition, batch.exemplar[:half], None, batch.is_self_pair[:half])
        return Generated(encoded.detach(), batch=seen)

    def _judged(self, nets: Networks, name: str, pictures: Tensor) -> list[Tensor]:
        if self.settings.diff_augment:
            _, pictures = diff_augment(pictures[:, :0], pictures)
        return nets[name](pictures)

    def _recoded(self, pictures: Tensor) -> Tensor:
        """The mean codes of pictures, by an encoder that learns nothing from it."""
        encoder = self.networks["encoder"]
        still = {name: value.detach() for name, value in encoder.named_parameters()}
        mean, _ = torch.func.functional_call(encoder, still, (pictures,))
        return mean
