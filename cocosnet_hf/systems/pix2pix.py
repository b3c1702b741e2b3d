"""pix2pix: a U-Net and a conditional patch critic (Isola et al. 2017).

The recipe pix2pix.yaml trains it at a small size, the layer of that name at its paper's.

Its only noise is dropout, in training and in use: a call draws it from its `generator`, and without
one paints with nothing dropped. The critic learns before the painter, on a picture of the same
noise. The critic's batch norm is an instance norm here, which is the same at a batch of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from ..gan_losses import CROSS_ENTROPY
from ..models import PatchGAN, UNet
from ..models.network import size_of
from .base import Networks, Phase
from .batch import Batch, Generated
from .paired import Given, PairedLosses, PairedSystem, PlainPipeline


class Pix2PixPipeline(PlainPipeline):
    """Paints what a condition shows; by chance only its dropout."""

    method = "[pix2pix](https://arxiv.org/abs/1611.07004)"
    generator: UNet

    def painted(self, given: Given) -> Tensor:
        """The pictures (B, 3, H, W), of which each is its own dropout."""
        shapes = self.generator.noise_shapes(*size_of(given.condition))
        drawn = [given.noise(shape) for shape in shapes]
        noise = [each for each in drawn if each is not None]
        return self.generator(given.condition, noise=noise or None)


@dataclass(frozen=True)
class Pix2PixLosses(PairedLosses):
    """The critic's word and the pixels (Isola et al. 2017, equation 4)."""

    feature_matching: float = 0.0
    perceptual: float = 0.0
    pixel: float = 100.0


class Pix2Pix(PairedSystem):
    """One step teaches the critic, then the painter."""

    network_classes = {"generator": (UNet,), "discriminator": (PatchGAN,)}
    averaged = ("generator",)
    Losses = Pix2PixLosses
    pipeline_class = Pix2PixPipeline
    gan = CROSS_ENTROPY
    critic_weight = 0.5
    judges_together = False  # a batch norm would tell true from painted by the other half

    def generate(self, nets: Networks, batch: Batch) -> Generated:
        """As the pipeline does without a generator: nothing is dropped."""
        return Generated(nets["generator"](batch.condition))

    def noise(self, condition: Tensor) -> list[Tensor]:
        """Of a step's picture, from torch's global generator."""
        painter = cast(UNet, self.networks["generator"])
        shapes = painter.noise_shapes(*size_of(condition))
        return [condition.new_empty(len(condition), *shape).normal_() for shape in shapes]

    def step(self, phase: Phase, batch: Batch) -> Generated:
        """The critic, on what the painter makes now; then the painter, with the same noise."""
        noise = self.noise(batch.condition)
        with torch.no_grad():
            made = Generated(self.networks["generator"](batch.condition, noise=noise))
        self.discriminator_step(phase, batch, made)
        with phase("generator") as (nets, terms):
            made = Generated(nets["generator"](batch.condition, noise=noise))
            terms |= self.generator_terms(nets, batch, made)
        return made
