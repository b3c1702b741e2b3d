"""What the paired baselines share: pipelines that need no exemplar, and the terms of a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import losses
from ..call_inputs import InputReader, as_batch, opened, side_of
from ..conditions import Condition
from ..image_translation import (
    ImageTranslationOutput,
    ImageTranslationPipeline,
    require_output_type,
)
from ..models.network import Network, size_of
from ..models.perceptual import PerceptualNetwork
from .augment import random_shift
from .base import Networks
from .batch import Batch, Generated, needed
from .judged import JudgedLosses, JudgedSystem

PERCEPTUAL_LAYERS = {
    "relu1_1": 1 / 32,
    "relu2_1": 1 / 16,
    "relu3_1": 1 / 8,
    "relu4_1": 1 / 4,
    "relu5_1": 1.0,
}
"""Layers of the perceptual network that pixels are compared at, and their weights."""


@dataclass
class PairedOutput(ImageTranslationOutput):
    """What a pipeline of this family returns: `ImageTranslationOutput`, and what the looks were.

    styles: what would paint the same pictures again, as the call's `style` takes it; None of a
    pipeline that reads no style.
    """

    styles: Any = None


@dataclass(frozen=True)
class Given:
    """What a call was given, as B items of the networks' device and precision.

    condition (B, K, H, W); exemplar (B, 3, h, w) in [-1, 1] and its own condition (B, K, h, w),
    where there are any. generators: one for each item, None if nothing is to be random.
    """

    condition: Tensor
    exemplar: Tensor | None
    exemplar_condition: Tensor | None
    generators: list[torch.Generator] | None

    def noise(self, shape: Sequence[int]) -> Tensor | None:
        """N(0, 1) of this shape for each item, from its own generator; None without."""
        if self.generators is None:
            return None
        drawn = [torch.randn(*shape, generator=one, device=one.device) for one in self.generators]
        device = self.condition.device
        return torch.stack([each.to(device) for each in drawn]).to(self.condition.dtype)


class PairedPipeline(ImageTranslationPipeline):
    """Paints a condition, with or without an exemplar.

    Without a generator nothing is random: two equal calls paint the same.
    """

    def _given(
        self,
        condition: Any,
        exemplar: Any = None,
        exemplar_condition: Any = None,
        *,
        count: int = 1,
        height: int | None = None,
        width: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        read: InputReader | None = None,
    ) -> Given:
        """Read a call. Items are in the order condition, sample. read: what reads conditions.

        Raises ValueError for input that cannot be used, and for several samples of which nothing
        is random.
        """
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"count must be a number of pictures from 1 on, got {count!r}.")
        if count > 1 and generator is None:
            raise ValueError(
                f"{count} pictures would be the same: pass generator=torch.Generator()"
                f".manual_seed(0), or count=1."
            )
        height, width = side_of("height", height, self.stride), side_of("width", width, self.stride)
        read = read or self._reader
        given = {
            "conditions": [
                read.encode(item, height, width) for item in as_batch(condition, "condition")
            ]
        }
        if exemplar is not None:
            photos = [read.photo(opened(item), 1.0) for item in as_batch(exemplar, "exemplar")]
            given["exemplars"] = photos
            if exemplar_condition is not None:
                own = as_batch(exemplar_condition, "exemplar_condition")
                if len(own) != len(photos):
                    raise ValueError(
                        f"there must be one exemplar_condition for each of the {len(photos)} "
                        f"exemplars, got {len(own)}."
                    )
                given["exemplar conditions"] = [
                    read.encode(item, *size_of(photo))
                    for item, photo in zip(own, photos, strict=True)
                ]
        painted, *seen = [each.repeat_interleave(count, 0) for each in self._stacked(given)]
        photo, own_condition = [*seen, None, None][:2]
        generators = generators_for(generator, len(painted), count)
        return Given(painted, photo, own_condition, generators)

    def _output(self, images: Tensor, output_type: str, styles: Any = None) -> PairedOutput:
        return PairedOutput(self._finished(images, output_type), styles=styles)


class ConditionPipeline(PairedPipeline):
    """Paints what a condition shows; there is no exemplar. A subclass says `generate`."""

    uses_exemplar = False

    def painted(self, given: Given) -> Tensor:
        """The pictures (B, 3, H, W) of what a call was given."""
        return self.generate(given.condition, given.condition)

    @torch.no_grad()
    def __call__(
        self,
        condition: Any,
        exemplar: Any = None,
        exemplar_condition: Any = None,
        *,
        count: int = 1,
        height: int | None = None,
        width: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: str = "pil",
    ) -> PairedOutput:
        """Paint `condition`.

        condition: one or a list, as `CoCosPipeline` reads it. exemplar, exemplar_condition: of no
        use here; taken so that all can be called alike. count: pictures of each condition, which
        differ by what the method has of chance. generator: of that chance, one, one for each
        condition or one for each picture; without, nothing is random. height, width: of the
        picture. output_type: "pil", "np" or "pt". Raises ValueError for input that cannot be used.
        """
        del exemplar, exemplar_condition
        require_output_type(output_type)
        given = self._given(condition, count=count, height=height, width=width, generator=generator)
        return self._output(self.painted(given), output_type)


class PlainPipeline(ConditionPipeline):
    """Paints what a condition shows with one network."""

    generator: Any

    def __init__(
        self,
        generator: Network,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        super().__init__({"generator": generator}, condition, image_size, image_width)

    def generate(self, condition: Tensor, exemplar: Tensor | None = None) -> Tensor:
        """The picture (B, 3, H, W) of a condition (B, K, H, W), with nothing random."""
        del exemplar
        return self.generator(condition)


def generators_for(
    generator: torch.Generator | Sequence[torch.Generator] | None, items: int, count: int
) -> list[torch.Generator] | None:
    """One for each of the items, of which every `count` are samples of one condition.

    One generator draws for all in turn, one for each condition for its samples. Raises ValueError
    for another number of them.
    """
    if generator is None:
        return None
    if isinstance(generator, torch.Generator):
        return [generator] * items
    if len(generator) * count == items:
        return [one for one in generator for _ in range(count)]
    if len(generator) == items:
        return list(generator)
    raise ValueError(
        f"generator must be one, one for each condition or one for each of the {items} pictures, "
        f"got a list of {len(generator)}."
    )


@dataclass(frozen=True)
class PairedLosses(JudgedLosses):
    """Multiplier of each term that looks at the picture; one of weight 0 is not computed.

    perceptual: mean absolute differences at five layers of the perceptual network, see
    `PERCEPTUAL_LAYERS`. pixel: of the pixels.
    """

    perceptual: float = 10.0
    pixel: float = 0.0


class PairedSystem(JudgedSystem):
    """A system whose painted picture is compared with the true photo, and judged beside it."""

    losses: PairedLosses
    Losses = PairedLosses

    def picture_terms(
        self, nets: Networks, batch: Batch, generated: Generated
    ) -> dict[str, Callable[[], Tensor]]:
        """What computes each unweighted term of `PairedLosses`."""
        fake, real = generated.image, batch.image
        if self.losses.adversarial:
            judged = self.judge(nets["discriminator"], self.seen(batch), fake, real)

        def perceptual() -> Tensor:
            network = needed(self.perceptual, "a perceptual network")
            pictures = [fake, real]
            if most := self.settings.perceptual_shift:
                pictures = random_shift(*pictures, most=most)
            return perceptual_l1(network, *pictures)

        return {
            "adversarial": lambda: self.gan.for_painter(judged[0]),
            # Of a critic with n halvings 4 / (n + 1), which is 1 in the papers.
            "feature_matching": lambda: (
                4 / (len(judged[0][0]) - 1) * losses.discriminator_feature_matching_loss(*judged)
            ),
            "perceptual": perceptual,
            "pixel": lambda: F.l1_loss(fake.float(), real.float()),
        }


def perceptual_l1(network: PerceptualNetwork, output: Tensor, target: Tensor) -> Tensor:
    """sum_l w_l mean |F_l(output) - F_l(target)| at `PERCEPTUAL_LAYERS`, in the network's units.

    Source: Wang et al. 2018 (pix2pixHD), section 4. Both (B, 3, H, W) in [-1, 1].
    """
    found = network(output, PERCEPTUAL_LAYERS)
    with torch.no_grad():
        wanted = network(target, PERCEPTUAL_LAYERS)
    terms = [
        weight * F.l1_loss(found[name].float(), wanted[name].float())
        for name, weight in PERCEPTUAL_LAYERS.items()
    ]
    return torch.stack(terms).sum()
