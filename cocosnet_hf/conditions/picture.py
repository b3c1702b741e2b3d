"""A picture as its own condition: of one domain, to be painted as one of another."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor

from ..pairing import fits
from ..pictures import Picture, open_photo, open_stored, to_image, to_pixels
from .base import BICUBIC, Condition, ConditionCard, Geometry, Source
from .descriptors import gradient_descriptor


@dataclass(frozen=True)
class PictureCondition(Condition):
    """Any picture, as red, green and blue.

    Source of `encode`: what `cocosnet_hf.conditions.open_photo` takes.
    """

    type: ClassVar[str] = "picture"
    needs_only_photo: ClassVar[bool] = True
    drawn: ClassVar[str | None] = "mask"

    @property
    def channels(self) -> int:
        """Of a picture."""
        return 3

    def opened(self, source: Any) -> Source:
        """The picture as RGB. Raises ValueError for what is none."""
        photo = open_photo(source, f"{self.type} condition")
        return Source(photo, (photo.height, photo.width))

    def encode(self, source: Any, height: int, width: int) -> Tensor:
        """(3, height, width) float32 in [0, 1]. Raises ValueError as `open` does."""
        return to_pixels(self.open(source).value.resize((width, height), BICUBIC)).float() / 255

    def preview(self, encoded: Tensor) -> Image.Image:
        """The picture."""
        return to_image(self.one_encoded(encoded), low=0)

    def from_photo(self, photo: Picture) -> Picture:
        """The photo itself."""
        return photo

    def from_row(self, value: Any, photo: Image.Image, name: str) -> Source:
        """The picture; of another shape than the photo, which it need not lie on, its middle."""
        what = f"condition of {name}"
        source = self.open(open_stored(value, what))
        if fits(source.value.size, photo.size):
            return source
        sides = np.array(photo.size) * min(np.array(source.value.size) / photo.size)
        width, height = (max(1, round(side)) for side in sides)
        return dataclasses.replace(
            source, value=ImageOps.fit(source.value, (width, height)), size=(height, width)
        )

    def moved(self, source: Source, geometry: Geometry, photo: Image.Image) -> Source:
        """The picture through the geometry of its photo."""
        return self.open(geometry.picture(source.value, BICUBIC))

    def descriptor(self, source: Any) -> np.ndarray:
        """Slopes of the picture, see `gradient_descriptor`."""
        return gradient_descriptor(self.open(source).value)

    def card(self) -> ConditionCard:
        """That it is a picture."""
        return ConditionCard(
            summary="another picture",
            source='"layout.jpg"',
            exemplar_source='"exemplar.jpg"',
            text="A picture of any kind that the networks have learned to translate.",
            header=["channel", "content"],
            rows=[[str(number), name] for number, name in enumerate(("red", "green", "blue"))],
        )
