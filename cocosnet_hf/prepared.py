"""Exemplars that are prepared once, and lists of exemplars as one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .conditions.base import Landmarks
from .matching import Nested
from .models import CorrespondenceNetwork
from .models.network import channels_last, size_of

ItemT = TypeVar("ItemT")

SIGNATURE_TOLERANCE = 0.05
"""Share by which weights may differ that are the same in another precision, 8 bits included."""


@dataclass(frozen=True, eq=False)
class PreparedExemplar:
    """Exemplars as `CoCosPipeline` uses them, to be computed once and painted from many times.

    styles, photos: for each item of the batch, one tensor for each of its exemplars: the projection
    (C, h, w), and the photo (3, H, W) in [-1, 1]. landmarks: laid out alike, what guides of each
    exemplar, or None. made_by: some weights of the network that made them, by which another
    pipeline refuses them; empty if they could not be read.
    """

    styles: tuple[tuple[Tensor, ...], ...]
    photos: tuple[tuple[Tensor, ...], ...]
    landmarks: tuple[tuple[Landmarks | None, ...], ...]
    made_by: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.styles)

    def to(self, *args: Any, **kwargs: Any) -> PreparedExemplar:
        """The same on another device or in another precision, as `Tensor.to`."""
        return PreparedExemplar(
            tuple(tuple(style.to(*args, **kwargs) for style in item) for item in self.styles),
            tuple(tuple(photo.to(*args, **kwargs) for photo in item) for item in self.photos),
            self.landmarks,
            self.made_by,
        )


@dataclass(frozen=True)
class ExemplarPhotos:
    """Exemplars that the correspondence network has not seen yet.

    photos: for each item of the batch, (3, H, W) in [-1, 1] for each of its exemplars; conditions:
    theirs (K, h, w) at the size of the matching, or None where the network needs none. landmarks:
    see `PreparedExemplar`.
    """

    photos: list[list[Tensor]]
    conditions: list[list[Tensor | None]]
    landmarks: list[list[Landmarks | None]]

    def __len__(self) -> int:
        return len(self.photos)

    def prepare(
        self,
        correspondence: CorrespondenceNetwork,
        device: torch.device,
        matched_size: Callable[[Tensor], tuple[int, int]],
        generator: torch.Generator | list[torch.Generator] | None,
    ) -> PreparedExemplar:
        """Run the correspondence network on all exemplars, those of one size in one batch.

        matched_size: (height, width) at which a photo is matched. generator: one for all, or one
        for each exemplar. Raises ValueError for another number of generators, and for several
        beside exemplars of different sizes.
        """
        indices = [(i, j) for i, item in enumerate(self.photos) for j in range(len(item))]
        by_size: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for i, j in indices:
            by_size.setdefault(tuple(self.photos[i][j].shape), []).append((i, j))
        if isinstance(generator, list) and len(generator) != len(indices):
            raise ValueError(
                f"got {len(generator)} generators for {len(indices)} exemplars; pass one for each, "
                f"or a single one."
            )
        if isinstance(generator, list) and len(by_size) > 1:
            raise ValueError("one generator for each exemplar needs exemplars of one size.")
        styles: dict[tuple[int, int], Tensor] = {}
        on_device: dict[tuple[int, int], Tensor] = {}
        for group in by_size.values():
            batch = torch.stack([self.photos[i][j].to(device) for i, j in group])
            photos = _at_size(batch, matched_size(batch))
            photos = channels_last(photos.to(correspondence.dtype))
            conditions = None
            own = [self.conditions[i][j] for i, j in group]
            if given := [item.to(device) for item in own if item is not None]:
                conditions = channels_last(torch.stack(given).to(correspondence.dtype))
            style = correspondence(None, photos, conditions, generator=generator).style
            styles |= dict(zip(group, style, strict=True))
            on_device |= dict(zip(group, batch, strict=True))

        def laid_out(found: dict[tuple[int, int], Tensor]) -> tuple[tuple[Tensor, ...], ...]:
            return tuple(
                tuple(found[i, j] for j in range(len(item))) for i, item in enumerate(self.photos)
            )

        return PreparedExemplar(
            laid_out(styles),
            laid_out(on_device),
            tuple(map(tuple, self.landmarks)),
            signature(correspondence),
        )


def _at_size(photos: Tensor, size: tuple[int, int]) -> Tensor:
    """Photos (B, 3, H, W), at this size."""
    if size_of(photos) == size:
        return photos
    return F.interpolate(photos, size, mode="bilinear", antialias=True)


def require_own(exemplar: PreparedExemplar, correspondence: CorrespondenceNetwork) -> None:
    """Raise ValueError if the last layer shows that another pipeline prepared it."""
    own, made_by = np.array(signature(correspondence)), np.array(exemplar.made_by)
    is_own = exemplar.styles[0][0].shape[0] == correspondence.config.feature_channels
    if is_own and own.size and made_by.size:
        difference = np.linalg.norm(own - made_by)
        is_own = difference <= SIGNATURE_TOLERANCE * np.linalg.norm(own)
    if not is_own:
        raise ValueError(
            "the exemplar was prepared by another pipeline, whose features mean other things; "
            "prepare it again with this one's encode_exemplar."
        )


def signature(correspondence: CorrespondenceNetwork) -> tuple[float, ...]:
    """Some weights behind the styles of exemplars; none where they are offloaded."""
    weight = correspondence.style_projection.weight
    if weight.is_meta:
        return ()
    return tuple(weight.detach()[:, 0, 0, 0].float().tolist())


def prepared_ones(exemplar: Any) -> list[PreparedExemplar]:
    """The prepared exemplars among the items of a call. Raises ValueError beside other ones."""
    items = exemplar if isinstance(exemplar, (list, tuple)) else [exemplar]
    for item in items:
        if isinstance(item, (list, tuple)) and prepared_ones(item):
            raise ValueError(
                "several exemplars of one item are prepared together: encode_exemplar([[a, b]])."
            )
    found = [item for item in items if isinstance(item, PreparedExemplar)]
    if found and len(found) < len(items):
        raise ValueError(
            f"a batch has prepared exemplars or pictures, got {len(found)} prepared ones among "
            f"{len(items)}; prepare the others with encode_exemplar."
        )
    return found


def joined(items: list[PreparedExemplar]) -> PreparedExemplar:
    """Prepared exemplars of one pipeline, one after the other."""
    return PreparedExemplar(
        tuple(styles for item in items for styles in item.styles),
        tuple(photos for item in items for photos in item.photos),
        tuple(landmarks for item in items for landmarks in item.landmarks),
        items[0].made_by,
    )


def broadcast(items: Sequence[ItemT], batch: int) -> list[ItemT]:
    return list(items) * (batch if len(items) == 1 else 1)


def as_one_tensor(items: Nested) -> Tensor | Nested:
    """One tensor if each item has one exemplar and all agree in size; (1, ...) if it is shared."""
    singles = [item[0] for item in items]
    if any(len(item) > 1 for item in items) or len({single.shape for single in singles}) > 1:
        return items
    if all(single is singles[0] for single in singles):
        return singles[0][None]
    return torch.stack(singles)
