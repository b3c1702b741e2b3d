"""The pipeline of systems whose pictures have a style: of an exemplar, given, or by chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ..call_inputs import as_batch, opened
from ..image_translation import require_output_type
from .paired import PairedOutput, PairedPipeline, generators_for


class StyledPipeline(PairedPipeline):
    """Paints a condition in a style, a code of a few numbers that is N(0, 1) by chance.

    With the networks `encoder`, whose means are the styles of photos, and `generator`. A subclass
    without those says `style_channels`, `encode_exemplar` and `paint`.
    """

    encoder: Any
    generator: Any

    @property
    def style_channels(self) -> int:
        """S, the numbers of a style."""
        return self.generator.config.style_channels

    def encode_exemplar(self, exemplar: Tensor) -> Tensor:
        """The styles (B, S) of photos (B, 3, H, W) in [-1, 1]."""
        mean, _ = self.encoder(exemplar)
        return mean

    def paint(self, condition: Tensor, style: Tensor) -> Tensor:
        """condition (B, K, H, W) in styles (B, S) -> (B, 3, H, W) in [-1, 1]."""
        return self.generator(condition, style)

    def generate(self, condition: Tensor, exemplar: Tensor) -> Tensor:
        """condition (B, K, H, W) in the style of exemplar (B, 3, H', W') -> (B, 3, H, W)."""
        return self.paint(condition, self.encode_exemplar(exemplar))

    @torch.no_grad()
    def __call__(
        self,
        condition: Any,
        exemplar: Any = None,
        exemplar_condition: Any = None,
        *,
        style: Tensor | None = None,
        count: int = 1,
        height: int | None = None,
        width: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: str = "pil",
    ) -> PairedOutput:
        """Paint `condition` in the style of `exemplar`, in `style`, or in styles drawn by chance.

        condition, exemplar: one of each or lists; one serves many of the other. style (S,) or
        (B, S): such as of `encode`, `sample`, `interpolate` and the `styles` of an output. count:
        of pictures for each condition, where neither is given; they follow each other. generator:
        which draws their styles, one, one for each condition or one for each picture; without, the
        style is 0, the mean of all. exemplar_condition: of no use here. height, width: of the
        picture. output_type: "pil", "np" or "pt". Raises ValueError for input that cannot be used,
        and for weights that paint NaN.
        """
        del exemplar_condition
        require_output_type(output_type)
        require_one_style(exemplar, style, count)
        given = self._given(condition, count=count, height=height, width=width, generator=generator)
        guide = given.condition
        if exemplar is not None:
            styles = self.encode(exemplar)
        elif style is not None:
            styles = self._checked(style)
        elif given.generators:
            styles = self.sample(len(guide), given.generators)
        else:
            styles = guide.new_zeros(1, self.style_channels)
        guide, styles = together(guide, styles)
        return self._output(self.paint(guide, styles), output_type, styles)

    @torch.no_grad()
    def encode(self, exemplar: Any) -> Tensor:
        """The style of each exemplar, (B, S); they are one or a list, of any sizes.

        Raises ValueError for an exemplar that cannot be read.
        """
        photos = [
            self._reader.photo(opened(item), 1.0)[None] for item in as_batch(exemplar, "exemplar")
        ]
        return torch.cat(
            [self.encode_exemplar(p.to(self._execution_device, self.dtype)) for p in photos]
        )

    def sample(
        self, count: int, generator: torch.Generator | Sequence[torch.Generator] | None = None
    ) -> Tensor:
        """Styles (count, S) by chance, of one generator, of one each, or of torch's own."""
        drawn = generators_for(generator, count, 1)
        shape = count, self.style_channels
        return randn_tensor(shape, drawn, self._execution_device, self.dtype)

    def interpolate(self, first: Tensor, second: Tensor, steps: int) -> Tensor:
        """Styles (steps, S) on the straight line from one style (S,) to another, both included."""
        share = torch.linspace(0, 1, steps).to(self._checked(first))[:, None]
        return torch.lerp(self._checked(first), self._checked(second), share)

    def _checked(self, style: Tensor) -> Tensor:
        """A style or styles as (B, S). Raises ValueError for other numbers of them."""
        given = style[None] if style.ndim == 1 else style
        if given.ndim != 2 or given.shape[1] != self.style_channels:
            raise ValueError(
                f"style must be ({self.style_channels},) or (B, {self.style_channels}), got "
                f"{tuple(style.shape)}; pipe.sample and pipe.encode make such codes."
            )
        return given.to(self._execution_device, self.dtype)


def require_one_style(exemplar: Any, style: Any, count: int) -> None:
    """Raise ValueError for two things that say the style, and for several pictures in one."""
    if exemplar is not None and style is not None:
        raise ValueError("a picture has one style: pass an exemplar or a style, not both.")
    if count != 1 and (exemplar is not None or style is not None):
        raise ValueError(
            f"count must be 1 where the exemplar or the style says how the picture is to look, "
            f"got {count}; leave it out, or leave those out."
        )


def together(guide: Tensor, looks: Tensor) -> tuple[Tensor, Tensor]:
    """Conditions and their exemplars or styles, of which one serves many.

    Raises ValueError for numbers of them that do not go together.
    """
    batch = max(len(guide), len(looks))
    if {len(guide), len(looks)} - {1, batch}:
        raise ValueError(
            f"the conditions and the exemplars or styles of a batch must be as many, or one, got "
            f"{len(guide)} and {len(looks)}."
        )
    first, second = (one.expand(batch, *one.shape[1:]) for one in (guide, looks))
    return first, second
