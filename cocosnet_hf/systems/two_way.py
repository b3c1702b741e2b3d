"""The pipelines of systems that translate between two domains of pictures, either way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..call_inputs import InputReader
from ..conditions import Condition, PictureCondition
from ..image_translation import Pictures, require_output_type
from ..models.drawn import drawn
from ..models.network import Network
from .base import Networks
from .paired import ConditionPipeline, PairedOutput
from .unpaired import DOMAINS, OTHER, Pair

DIRECTIONS = {"a2b": "photo", "b2a": "condition"}
"""The domain that each ends in."""


@dataclass
class TwoWayOutput(PairedOutput):
    """What such a pipeline returns: `PairedOutput`, and the pictures translated back, if asked."""

    reconstructions: Pictures | None = None


class TwoWayPipeline(ConditionPipeline):
    """Paints photos of conditions, or conditions, drawn as pictures, of photos.

    Nothing is random, and there are no styles. A subclass says `translated`.
    """

    def translated(self, picture: Tensor, domain: str) -> Tensor:
        """A picture (B, 3, H, W) in [-1, 1] of the other domain as one of this domain."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it translates.")

    def generate(self, condition: Tensor, exemplar: Tensor | None = None) -> Tensor:
        """condition (B, K, H, W) as a photo (B, 3, H, W)."""
        del exemplar
        return self.translated(drawn(condition), "photo")

    @torch.no_grad()
    def __call__(  # type: ignore[override]  # more settings, by name
        self,
        condition: Any,
        exemplar: Any = None,
        exemplar_condition: Any = None,
        *,
        direction: Literal["a2b", "b2a"] = "a2b",
        reconstruct: bool = False,
        height: int | None = None,
        width: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: str = "pil",
    ) -> TwoWayOutput:
        """Translate `condition`.

        condition: one or a list, as `CoCosPipeline` reads it; with direction="b2a" photos.
        exemplar, exemplar_condition, generator: of no use here; taken so that all can be called
        alike. reconstruct: whether the output also has the pictures translated back. height, width:
        of the picture. output_type: "pil", "np" or "pt". Raises ValueError for input that cannot be
        used.
        """
        del exemplar, exemplar_condition, generator
        require_output_type(output_type)
        if direction not in DIRECTIONS:
            raise ValueError(f'direction must be "a2b" or "b2a", got {direction!r}.')
        domain, read = DIRECTIONS[direction], self._reader
        if domain == "condition":
            read = InputReader(PictureCondition(), self.stride, self.learned_size)
        given = self._given(condition, height=height, width=width, read=read)
        images = self.translated(drawn(given.condition), domain)
        back = self.translated(images, OTHER[domain]) if reconstruct else None
        return TwoWayOutput(
            self._finished(images, output_type),
            reconstructions=None if back is None else self._finished(back, output_type),
        )


class GeneratorPairPipeline(TwoWayPipeline):
    """One network for each way: that called after a domain paints pictures of it."""

    def __init__(
        self,
        condition_generator: Network,
        photo_generator: Network,
        condition: dict | Condition | None = None,
        image_size: int = 256,
        image_width: int | None = None,
    ):
        networks = {"condition_generator": condition_generator, "photo_generator": photo_generator}
        super().__init__(networks, condition, image_size, image_width)

    def translated(self, picture: Tensor, domain: str) -> Tensor:
        """See `TwoWayPipeline`."""
        return self.networks[f"{domain}_generator"](picture)


def translated(nets: Networks, pictures: Pair) -> dict[str, Tensor]:
    """By domain what its generator makes of the other domain's picture."""
    return {name: nets[f"{name}_generator"](pictures[OTHER[name]]) for name in DOMAINS}
