"""A condition as a user would write it: one file, without any other changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cocosnet_hf.conditions import Condition, Picture, open_photo


@dataclass(frozen=True)
class Brightness(Condition):
    """How bright each place is, in a few levels: all that this package is told of it."""

    type: ClassVar[str] = "brightness"
    needs_only_photo: ClassVar[bool] = True
    drawn: ClassVar[str] = "edge"  # drawn scenes, which it is made from as edges are

    levels: int = 4

    @property
    def channels(self) -> int:
        return 1

    def encode(self, source: Any, height: int, width: int) -> Tensor:
        picture = self.open(source).value.convert("L").resize((width, height))
        steps = np.asarray(picture, np.float32) / 256 * self.levels
        return torch.from_numpy(np.floor(steps) / (self.levels - 1))[None]

    def preview(self, encoded: Tensor) -> Image.Image:
        pixels = (self.one_encoded(encoded)[0] * 255).round().byte()
        return Image.fromarray(pixels.numpy()).convert("RGB")

    def from_photo(self, photo: Picture) -> Image.Image:
        return open_photo(photo).convert("L")
