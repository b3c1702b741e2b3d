"""What a pipeline is called with, read as tensors that fit its networks."""

from __future__ import annotations

from numbers import Integral
from typing import Any, TypeGuard

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .conditions import Condition
from .models.network import nearest_side, require_stride, size_of
from .pictures import open_photo, require_plain, to_tensor

MAX_ASPECT = 8
"""Longest side over shortest above which a picture is refused unless its size is given."""


MAX_SIDE = 1 << 14
"""Longest side of a picture that is painted, in pixels."""

MAX_PAINTED = 1 << 26
"""Pixels above which no picture is painted: more would end for want of memory, after minutes."""


class InputReader:
    """Reads conditions and exemplars for networks of one stride, which learned one size.

    condition: what conditions are. stride: of which the sides of pictures are multiples.
    learned_size: (height, width) of the pictures in training.
    """

    def __init__(self, condition: Condition, stride: int, learned_size: tuple[int, int]):
        self.condition = condition
        self.stride = stride
        self.learned_size = learned_size

    def size_for(
        self, natural: tuple[int, int], *, height: int | None = None, width: int | None = None
    ) -> tuple[int, int]:
        """(height, width) at which a condition of this natural size is painted.

        height, width: as in a call. Raises ValueError for a condition that is too long, for sides
        that do not fit the networks, and above `MAX_SIDE` and `MAX_PAINTED`.
        """
        stride = self.stride
        height, width = side_of("height", height, stride), side_of("width", width, stride)
        if height is not None and width is not None:
            return require_size(height, width)
        if not (isinstance(natural, (tuple, list)) and len(natural) == 2 and min(natural) > 0):
            raise ValueError(f"the natural size must be (height, width), got {natural!r}.")
        remedy = "crop it, or pass height= and width="
        return self.fitted(natural, remedy, height=height, width=width)

    def fitted(
        self,
        natural: tuple[int, int],
        remedy: str,
        enlarged: float = 1.0,
        height: int | None = None,
        width: int | None = None,
    ) -> tuple[int, int]:
        """What `size_for` says, times `enlarged` if no side is given.

        remedy: for a picture that is too long.
        """
        stride, short = self.stride, min(natural)
        if max(natural) > MAX_ASPECT * short:
            raise ValueError(
                f"a picture of {natural[0]} x {natural[1]} pixels is more than {MAX_ASPECT} times "
                f"as long as wide; {remedy}."
            )
        if height is not None:
            scale = height / natural[0]
        elif width is not None:
            scale = width / natural[1]
        else:
            sides = zip(self.learned_size, natural, strict=True)
            scale = enlarged * max(learned / side for learned, side in sides)
        fitted = [nearest_side(side * scale, stride) for side in natural]
        return require_size(height or fitted[0], width or fitted[1])

    def encode(self, source: Any, height: int | None, width: int | None) -> Tensor:
        """A condition (K, H, W) at this size, or at the one that fits it."""
        if self.is_encoded(source):
            self.condition.validate_encoded(source)
            size = size_of(source)
            if (height or size[0], width or size[1]) != size:
                raise ValueError(
                    f"height and width must be those of an encoded condition or be left out, got "
                    f"{height} and {width} for {size[0]} x {size[1]}."
                )
            require_stride("an encoded condition", source, self.stride)
            return in_range(source)
        source = self.condition.open(source)
        height, width = self.size_for(source.size, height=height, width=width)
        return self.condition.encode(source, height, width)

    def is_encoded(self, source: Any) -> TypeGuard[Tensor]:
        """Whether this is a condition as the networks read it, (K, H, W).

        Raises ValueError as `require_plain` does.
        """
        if isinstance(source, Tensor):
            require_plain(source, "condition")
        return (
            isinstance(source, Tensor)
            and source.ndim == 3
            and source.shape[0] == self.condition.channels
            and source.is_floating_point()
        )

    def photo(self, source: Image.Image | Tensor, enlarged: float) -> Tensor:
        """(3, H, W) in [-1, 1] of what `opened` returns; pictures are resized, tensors must fit."""
        if isinstance(source, Tensor):
            if source.ndim != 3 or source.shape[0] != 3:
                raise ValueError(
                    f"an exemplar tensor must be (3, H, W), got {tuple(source.shape)}."
                )
            require_stride("an exemplar tensor", source, self.stride)
            if not torch.isfinite(source).all():
                raise ValueError("the exemplar contains NaN or infinite values.")
            low, high = source.min().item(), source.max().item()
            if low < -1e-3 or high > 1 + 1e-3:
                raise ValueError(
                    f"an exemplar tensor must hold values in 0..1, got {low:.3g}..{high:.3g}; map "
                    f"-1..1 by (x + 1) / 2."
                )
            return source.float() * 2 - 1
        height, width = self.fitted((source.height, source.width), "crop it", enlarged)
        return to_tensor(source.resize((width, height), Image.Resampling.BICUBIC))


def in_range(encoded: Tensor) -> Tensor:
    """An encoded condition as float32. Raises ValueError for values outside 0..1."""
    low, high = encoded.min().item(), encoded.max().item()
    if low < -1e-3 or high > 1 + 1e-3:
        raise ValueError(
            f"an encoded condition must hold values in 0..1, got {low:.3g}..{high:.3g}; make it "
            f"with pipe.condition.encode(...), or scores of classes by softmax."
        )
    return encoded.float()


def side_of(name: str, side: Any, stride: int) -> int | None:
    """A wanted side, which must fit the stride."""
    if side is None:
        return None
    if not isinstance(side, Integral) or isinstance(side, bool):
        raise ValueError(f"{name} must be a whole number of pixels, got {side!r}.")
    side = int(side)
    require_side(name, side)
    if side != nearest_side(side, stride):
        raise ValueError(
            f"{name} must be a multiple of {stride} from {2 * stride} on, got {side}; "
            f"{nearest_side(side, stride)} would do."
        )
    return side


def require_side(name: str, side: int) -> None:
    """Raise ValueError for a side that is longer than any picture."""
    if side > MAX_SIDE:
        raise ValueError(f"{name} must be at most {MAX_SIDE} pixels, got {side}.")


def require_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of a picture to paint. Raises ValueError for more than memory would hold."""
    if max(height, width) > MAX_SIDE or height * width > MAX_PAINTED:
        raise ValueError(
            f"a picture has sides of at most {MAX_SIDE} pixels and {MAX_PAINTED:,} pixels in all, "
            f"got {height} x {width}; pass a smaller size."
        )
    return height, width


def opened(exemplar: Any) -> Image.Image | Tensor:
    """An exemplar's photo, opened once; a floating tensor, which the networks read, as it is."""
    if isinstance(exemplar, Tensor) and exemplar.is_floating_point():
        require_plain(exemplar, "exemplar")
        return exemplar
    return open_photo(exemplar, "exemplar")


def as_batch(source: Any, name: str) -> list:
    """The items of a list, or of an array or tensor with four dimensions; otherwise one item."""
    if isinstance(source, (Tensor, np.ndarray)) and source.ndim == 4:
        source = list(source)
    return as_list(source, name)


def as_list(source: Any, name: str) -> list:
    if not isinstance(source, (list, tuple)):
        return [source]
    if not source:
        raise ValueError(f"{name} must hold at least one item, got an empty list.")
    return list(source)
