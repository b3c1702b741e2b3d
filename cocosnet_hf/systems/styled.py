"""The pipeline of systems whose pictures have a style: of an exemplar, given, or by chance."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ..call_inputs import as_batch, opened, side_of
from ..image_translation import (
    ImageTranslationOutput,
    ImageTranslationPipeline,
    require_finite,
    require_output_type,
)


@dataclass
class StyledOutput(ImageTranslationOutput):
    """What such a pipeline returns. styles (B, S): in which each of the images was painted."""

    styles: Tensor | None = None


class StyledPipeline(ImageTranslationPipeline):
    """Paints a condition in a style, a code of a few numbers that is N(0, 1) by chance.

    A subclass says `style_channels`, `encode_exemplar` and `paint`.
    """

    @property
    @abstractmethod
    def style_channels(self) -> int:
        """S, the numbers of a style."""

    @abstractmethod
    def encode_exemplar(self, exemplar: Tensor) -> Tensor:
        """The styles (B, S) of photos (B, 3, H, W) in [-1, 1]."""

    @abstractmethod
    def paint(self, condition: Tensor, style: Tensor) -> Tensor:
        """condition (B, K, H, W) in styles (B, S) -> (B, 3, H, W) in [-1, 1]."""

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
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "pil",
    ) -> StyledOutput:
        """Paint `condition` in the style of `exemplar`, in `style`, or in styles drawn by chance.

        condition, exemplar: one of each or lists; one serves many of the other. style (S,) or
        (B, S): such as of `encode`, `sample` and `interpolate`. count: of pictures for each
        condition, where neither is given; they follow each other. generator: which draws their
        styles. exemplar_condition: of no use here. height, width: of the picture. output_type:
        "pil", "np" or "pt". Raises ValueError for input that cannot be used, and for weights that
        paint NaN.
        """
        del exemplar_condition
        require_output_type(output_type)
        is_given = exemplar is not None or style is not None
        if exemplar is not None and style is not None:
            raise ValueError("a picture has one style: pass an exemplar or a style, not both.")
        if count < 1 or (is_given and count > 1):
            raise ValueError(
                f"count must be at least 1, and 1 where the exemplar or the style says how the "
                f"picture is to look, got {count}; leave it out, or leave those out."
            )
        height, width = side_of("height", height, self.stride), side_of("width", width, self.stride)
        items = as_batch(condition, "condition")
        conditions = [self._reader.encode(item, height, width) for item in items]
        sizes = {tuple(item.shape[-2:]) for item in conditions}
        if len(sizes) > 1:
            raise ValueError(
                f"the conditions of a batch must have one size, got {sorted(sizes)}; pass height= "
                f"and width=."
            )
        guide = torch.stack(conditions).to(self._execution_device, self.dtype)
        if exemplar is not None:
            styles = self.encode(exemplar)
        elif style is not None:
            styles = self._checked(style)
        else:
            guide = guide.repeat_interleave(count, 0)
            styles = self.sample(len(guide), generator)
        batch = max(len(guide), len(styles))
        if {len(guide), len(styles)} - {1, batch}:
            raise ValueError(
                f"the conditions and the exemplars or styles of a batch must be as many, or one, "
                f"got {len(guide)} and {len(styles)}."
            )
        guide, styles = guide.expand(batch, -1, -1, -1), styles.expand(batch, -1)
        images = self.paint(guide, styles)
        self.maybe_free_model_hooks()
        require_finite(images)
        pictures = self.image_processor.postprocess(images.float(), output_type)
        return StyledOutput(pictures, styles=styles)

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
        self, count: int, generator: torch.Generator | list[torch.Generator] | None = None
    ) -> Tensor:
        """Styles (count, S) by chance."""
        return randn_tensor(
            (count, self.style_channels), generator, self._execution_device, self.dtype
        )

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
