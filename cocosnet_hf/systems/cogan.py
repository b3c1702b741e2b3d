"""CoGAN: pairs of pictures by chance, learned from two domains without pairs (Liu, Tuzel 2016).

One vector makes a picture of each domain through shared layers, so that what these decide, such as
where things lie, is the same in both. No pair is ever shown to a critic. Without pairs: see
`cocosnet_hf.systems.unpaired`. At the paper's size for faces, of 128 pixels, the generator has 12.9
million weights, the critic 14.9. Written from the paper; no code or weights of its authors are part
of this package.

A picture is no input of the networks. A pipeline that is called with one looks for the vector whose
picture is nearest to it, and returns the other domain's: `matched`.

Decided where the paper leaves it open: of the generator the last doubling and the picture's layer
are each domain's own, of the critic the first layer; its two classes are one logit, which is the
same; norms of the batch are used by their running statistics, in a critic those of each domain's
own pictures, true and painted apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..conditions import Condition
from ..gan_losses import CROSS_ENTROPY
from ..image_translation import Pictures, require_output_type
from ..models import CoupledCritic, CoupledGenerator
from ..models.drawn import drawn
from ..models.network import Network, size_of
from .base import LossWeights, Networks, Phase, System
from .batch import Batch, Generated
from .judged import summed
from .paired import PairedOutput, PlainPipeline
from .unpaired import domains

MATCHING_STEPS, MATCHING_RATE = 100, 0.1


@dataclass
class CoGANOutput(PairedOutput):
    """What `sample` returns: images are photos, partners the same in the condition's domain."""

    partners: Pictures | None = None


class CoGANPipeline(PlainPipeline):
    """Makes pairs of pictures by chance, and to a picture of one domain its partner in the
    other."""

    method = "[CoGAN](https://arxiv.org/abs/1606.07536)"
    generator: CoupledGenerator

    def generate(self, condition: Tensor, exemplar: Tensor | None = None) -> Tensor:
        """The photo (B, 3, H, W) that is the partner of what is nearest to condition (B, K, H, W).

        Raises ValueError for another size than the generator's.
        """
        del exemplar
        with torch.no_grad():
            return self.generator(matched(self.generator, drawn(condition)))[1]

    @torch.no_grad()
    def sample(
        self,
        count: int = 1,
        generator: torch.Generator | None = None,
        output_type: str = "pil",
    ) -> CoGANOutput:
        """Pairs by chance, of this generator or torch's own; output_type: as of a call.

        Their vectors are the output's `styles`, (count, style_channels).
        """
        require_output_type(output_type)
        shape = count, self.generator.config.style_channels
        style = 2 * torch.rand(shape, generator=generator) - 1
        partners, photos = self.generator(style.to(self._execution_device, self.dtype))
        return CoGANOutput(
            self._finished(photos, output_type),
            styles=style,
            partners=self._finished(partners, output_type),
        )


@dataclass(frozen=True)
class CoGANLosses(LossWeights):
    """adversarial: what the critics say of both domains, of the critics too."""

    adversarial: float = 1.0


class CoGAN(System):
    """One step teaches the critics of both domains, then the generator."""

    network_classes = {"generator": (CoupledGenerator,), "critic": (CoupledCritic,)}
    averaged = ("generator",)
    Losses = CoGANLosses
    losses: CoGANLosses
    pipeline_class = CoGANPipeline

    @classmethod
    def make_networks(
        cls, condition: Condition, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Network]:
        """New networks, the critic of the generator's size."""
        del condition
        generator: Any = cls.make("generator", options)
        critic = cls.make("critic", options, size=list(generator.size))
        return {"generator": generator, "critic": critic}

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """The partner of what is nearest to the condition."""
        generator = nets["generator"]
        with torch.no_grad():
            return Generated(generator(matched(generator, drawn(batch.condition)))[1])

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """The critic, then the generator, on the pictures of one draw."""
        real = domains(batch).values()
        channels = self.networks["generator"].config.style_channels
        style = 2 * torch.rand(len(batch.image), channels).to(batch.image) - 1
        with torch.no_grad():
            fakes = self.networks["generator"](style)
        with phase("critic") as (nets, terms):
            said = {"fake": nets["critic"](*fakes), "real": nets["critic"](*real)}
            for name, logits in said.items():
                told = summed(map(getattr(CROSS_ENTROPY, name), logits))
                terms[name] = self.losses.adversarial * told
        with phase("generator") as (nets, terms):
            fakes = nets["generator"](style)
            told = summed(map(CROSS_ENTROPY.painted, nets["critic"](*fakes)))
            terms["adversarial"] = self.losses.adversarial * told
        return Generated(fakes[1].detach())


def matched(generator: nn.Module, picture: Tensor) -> Tensor:
    """The vectors (B, S), from 0 on, whose pictures of the first domain are nearest to these.

    picture (B, 3, H, W) in [-1, 1]. By mean squares, in so many steps of Adam as `MATCHING_STEPS`;
    nothing is random. Raises ValueError for another size than the generator's.
    """
    size: Any = generator.size
    if size_of(picture) != size:
        raise ValueError(
            f"pictures must be {size[0]} x {size[1]} pixels, as this generator makes them, got "
            f"{tuple(picture.shape[-2:])}: pass height={size[0]} and width={size[1]}."
        )
    channels: Any = generator.config
    style = picture.new_zeros(len(picture), channels.style_channels, dtype=torch.float32)
    style.requires_grad_(True)
    optimizer = torch.optim.Adam([style], MATCHING_RATE)
    with torch.enable_grad():
        for _ in range(MATCHING_STEPS):
            made, _ = generator(style.to(picture))
            gap = (made.float() - picture.float()).square().mean(dim=(1, 2, 3)).sum()
            (style.grad,) = torch.autograd.grad(gap, style)
            optimizer.step()
            with torch.no_grad():
                style.clamp_(-1, 1)
    return style.detach().to(picture)
