"""What a call of `CoCosPipeline` is given, as tensors to match and to paint from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.utils import logging
from PIL import Image
from torch import Tensor

from .call_inputs import InputReader, as_batch, as_list, in_range, opened, side_of
from .conditions import Condition, Source
from .conditions.base import Landmarks
from .conditions.label_maps import is_integer
from .models import CorrespondenceNetwork
from .models.network import nearest_side, require_stride, size_of
from .notes import warn
from .pairing import Frame
from .pictures import to_image
from .prepared import (
    ExemplarPhotos,
    PreparedExemplar,
    as_one_tensor,
    broadcast,
    joined,
    prepared_ones,
    require_own,
)
from .propagation import Guide

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class CallInputs:
    """What a call was given, as tensors.

    conditions: (K, H, W) each, and matched: the same as the correspondence network sees them.
    size: (height, width) of the pictures. maps: the regions of conditions and exemplars at the
    matching's grid. landmarks: of the conditions, see `Condition.landmarks`. batch: items; one
    condition or one exemplar may serve all of them.
    """

    conditions: list[Tensor]
    matched: list[Tensor]
    landmarks: list[Landmarks | None]
    size: tuple[int, int]
    exemplars: PreparedExemplar | ExemplarPhotos
    maps: tuple[list[Tensor], list[list[Tensor]]] | None
    batch: int

    @property
    def exemplar_counts(self) -> list[int]:
        """How many exemplars each item has."""
        return [len(item) for item in broadcast(self.exemplars.photos, self.batch)]

    def regions(self, device: torch.device) -> dict[str, Any]:
        """The regions as `Matching` takes them."""
        if self.maps is None:
            return {}
        own = torch.stack([region.to(device) for region in self.maps[0]])
        other = [[region.to(device) for region in item] for item in self.maps[1]]
        return {
            "content_regions": own.expand(self.batch, -1, -1),
            "style_regions": as_one_tensor(broadcast(other, self.batch)),
        }

    def guides(self, condition: Condition, prepared: PreparedExemplar) -> list[list[Guide | None]]:
        """What the landmarks of each condition and its exemplars say, where both have any."""
        items = zip(
            broadcast(self.landmarks, self.batch),
            broadcast(prepared.landmarks, self.batch),
            broadcast(prepared.styles, self.batch),
            strict=True,
        )
        return [
            [
                None
                if own is None or other is None
                else condition.guide(own, other, size_of(style))
                for other, style in zip(others, styles, strict=True)
            ]
            for own, others, styles in items
        ]


class MatchedInputReader(InputReader):
    """Reads a call for a correspondence network and a translation network of one stride.

    stride: of the translation network. matching_scale: how many times smaller than painted a
    picture is matched.
    """

    def __init__(
        self,
        condition: Condition,
        stride: int,
        learned_size: tuple[int, int],
        correspondence: CorrespondenceNetwork,
        matching_scale: int,
    ):
        super().__init__(condition, stride, learned_size)
        self.correspondence = correspondence
        self.matching_scale = matching_scale
        self.is_coherent = correspondence.is_coherent
        self.is_guided = self.is_coherent and condition.has_landmarks

    def read(
        self,
        condition: Any,
        exemplar: Any,
        exemplar_condition: Any,
        height: int | None,
        width: int | None,
        regions: Any,
        exemplar_regions: Any,
        scale: float | None = None,
    ) -> CallInputs:
        """The arguments of a call as tensors. Raises ValueError for what cannot be used."""
        self._require_scale(scale, height, width)
        if (regions is None) != (exemplar_regions is None):
            raise ValueError("regions and exemplar_regions restrict only together; pass both.")
        stride = self.stride
        height, width = side_of("height", height, stride), side_of("width", width, stride)
        sources = [
            item if self.is_encoded(item) else self.condition.open(item)
            for item in as_batch(condition, "condition")
        ]
        conditions, matched, size = self._encode_conditions(sources, height, width, scale)
        landmarks = [self._landmarks(item) for item in sources]
        exemplars: PreparedExemplar | ExemplarPhotos
        if given := prepared_ones(exemplar):
            if exemplar_condition is not None:
                raise ValueError(
                    "a prepared exemplar already contains its condition; leave it out."
                )
            for item in given:
                require_own(item, self.correspondence)
            exemplars = joined(given)
        else:
            sides = zip(size, self.learned_size, strict=True)
            enlarged = max(1, min(side / learned for side, learned in sides))
            exemplars = self.exemplars(exemplar, exemplar_condition, enlarged)
        count = len(exemplars)
        batch = max(len(conditions), count)
        for name, length in (("conditions", len(conditions)), ("exemplars", count)):
            if length not in (1, batch):
                raise ValueError(
                    f"got {len(conditions)} conditions and {count} exemplars; pass one of either, "
                    f"or as many {name} as the other has."
                )
        maps = self._load_regions(regions, exemplar_regions, matched, exemplars.photos)
        return CallInputs(conditions, matched, landmarks, size, exemplars, maps, batch)

    def _landmarks(self, source: Any) -> Landmarks | None:
        """Of an opened or encoded source, where they guide the matching."""
        return self.condition.landmarks(source) if self.is_guided else None

    def _require_scale(self, scale: float | None, height: Any, width: Any) -> None:
        if scale is None:
            return
        if height is not None or width is not None:
            raise ValueError("scale stands in place of height and width; pass either.")
        if not 0 < scale <= 16:
            raise ValueError(f"scale must be above 0 and at most 16, got {scale!r}.")
        if not self.is_coherent:
            raise ValueError(
                "scale belongs to pipelines that warp coherently; pass height= and width= instead."
            )

    def _encode_conditions(
        self, sources: list, height: int | None, width: int | None, scale: float | None
    ) -> tuple[list[Tensor], list[Tensor], tuple[int, int]]:
        """The conditions as painted from and as matched, and the size of the pictures.

        sources: opened or encoded.
        """
        if self.is_coherent:
            return self._encode_at_two_sizes(sources, height, width, scale)
        encoded = [self.encode(item, height, width) for item in sources]
        sizes = {size_of(item) for item in encoded}
        if len(sizes) > 1:
            raise ValueError(
                f"the conditions of a batch must agree in size, got {sorted(sizes)}; pass height= "
                f"and width=, or call the pipeline once for each."
            )
        return encoded, encoded, sizes.pop()

    def _encode_at_two_sizes(
        self, sources: list, height: int | None, width: int | None, scale: float | None
    ) -> tuple[list[Tensor], list[Tensor], tuple[int, int]]:
        """As `_encode_conditions`, for networks that paint and match at the size they learned."""
        wanted = {self._wanted_size(item, height, width, scale) for item in sources}
        if len(wanted) > 1:
            raise ValueError(
                f"the conditions of a batch must agree in size, got {sorted(wanted)}; pass height= "
                f"and width=, or call the pipeline once for each."
            )
        size = wanted.pop()
        base = self.fitted(size, "pass another height and width")
        painted = tuple(min(own, learned) for own, learned in zip(size, base, strict=True))
        matched = self._matching_size(base)
        return (
            [self._encoded_at(item, *painted) for item in sources],
            [self._encoded_at(item, *matched) for item in sources],
            size,
        )

    def _wanted_size(
        self, source: Any, height: int | None, width: int | None, scale: float | None
    ) -> tuple[int, int]:
        """(height, width) of the picture of an opened or encoded condition."""
        if self.is_encoded(source):
            self.condition.validate_encoded(source)
            size = size_of(source)
        else:
            size = source.size
        if self.is_encoded(source) and not (height or width):
            require_stride("an encoded condition", source, self.stride)
        else:
            size = self.size_for(size, height=height, width=width)
        if scale is None:
            return size
        return self._scaled(size, scale, self.stride)

    def _encoded_at(self, source: Any, height: int, width: int) -> Tensor:
        if not self.is_encoded(source):
            return self.condition.encode(source, height, width)
        encoded = in_range(source)
        if size_of(encoded) == (height, width):
            return encoded
        return F.interpolate(encoded[None], (height, width), mode="area")[0]

    def _matching_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """At which a picture of this size, fitted to what the networks learned, is matched."""
        return self._scaled(size, 1 / self.matching_scale, self.correspondence.stride)

    @staticmethod
    def _scaled(size: tuple[int, int], scale: float, stride: int) -> tuple[int, int]:
        height, width = (nearest_side(side * scale, stride) for side in size)
        return height, width

    def exemplars(self, exemplar: Any, exemplar_condition: Any, enlarged: float) -> ExemplarPhotos:
        """The photos of a call and their encoded conditions.

        enlarged: see `fitted`.
        """
        sources = [
            [opened(photo) for photo in as_list(item, "exemplar")]
            for item in as_batch(exemplar, "exemplar")
        ]
        if exemplar_condition is None:
            given = [[None] * len(item) for item in sources]
        else:
            given = [
                as_list(item, "exemplar_condition")
                for item in as_batch(exemplar_condition, "exemplar_condition")
            ]
            if len(given) == 1 and len(given[0]) == 1:
                given = [given[0] * len(item) for item in sources]
            if [len(item) for item in given] != [len(item) for item in sources]:
                raise ValueError(
                    f"exemplar_condition must be laid out like exemplar, got "
                    f"{[len(item) for item in given]} conditions for "
                    f"{[len(item) for item in sources]} exemplars."
                )
        photos = [[self.photo(photo, enlarged) for photo in item] for item in sources]
        uses_condition = self.correspondence.config.mix_condition
        places: list[list[Landmarks | None]] = [[None] * len(item) for item in photos]
        if self.is_guided:
            places = [
                [self._landmarks_on(*one) for one in zip(*item, strict=True)]
                for item in zip(given, sources, photos, strict=True)
            ]
        if not self.correspondence.needs_exemplar_condition:
            if exemplar_condition is not None and not self.is_guided:
                reason = "puts noise in its place" if uses_condition else "does not look at it"
                logger.warning(f"exemplar_condition is not used: this model {reason}.")
            return ExemplarPhotos(photos, [[None] * len(item) for item in photos], places)
        conditions: list[list[Tensor | None]] = [
            [
                self._load_exemplar_condition(source, photo, photo_source)
                for source, photo, photo_source in zip(*item, strict=True)
            ]
            for item in zip(given, photos, sources, strict=True)
        ]
        return ExemplarPhotos(photos, conditions, places)

    def _landmarks_on(self, source: Any, photo_source: Any, photo: Tensor) -> Landmarks | None:
        """Of an exemplar's photo and its own condition, as that lies on the photo, if any."""
        if self.is_encoded(source):
            source = _checked(source, photo, self.condition)
        elif source is not None:
            source = self._lying_on(self.condition.open(source), photo_source)
        is_tensor = isinstance(photo_source, Tensor)
        seen = to_image(photo_source, low=0) if is_tensor else photo_source
        found = self.condition.landmarks_in(seen, source)
        if found is None:
            logger.warning(
                f"nothing that a {self.condition.type} condition goes by was seen in the exemplar, "
                "which is matched by looks alone: exemplar_condition= can say where it lies."
            )
        return found

    def _load_exemplar_condition(self, source: Any, photo: Tensor, photo_source: Any) -> Tensor:
        if source is None:
            if not self.condition.needs_only_photo:
                raise ValueError(
                    f"this model needs the exemplar's own {self.condition.type} condition and "
                    f"cannot tell it from the photo alone; pass exemplar_condition=, prepared like "
                    f"condition, or made by pipe.condition.from_photo(photo)."
                )
            made = self.condition.from_photo(photo_source)
            return self.condition.encode(made, *self.matched_size(photo))
        size = self.matched_size(photo)
        if not self.is_encoded(source):
            source = self._lying_on(self.condition.open(source), photo_source)
            return self.condition.encode(source, *size)
        return self._encoded_at(_checked(source, photo, self.condition), *size)

    def _lying_on(self, source: Source, photo: Image.Image | Tensor) -> Source:
        """An exemplar's opened condition, turned as its photo was where that is meant."""
        if isinstance(photo, Tensor):
            frame = Frame.of(size_of(photo)[::-1], 1)
        else:
            frame = Frame(photo.size, photo.info)
        source = self.condition.lying_on(source, frame, "exemplar_condition")
        warn(source.notes)
        return source

    def _load_regions(
        self,
        regions: Any,
        exemplar_regions: Any,
        conditions: list[Tensor],
        photos: Sequence[Sequence[Tensor]],
    ) -> tuple[list[Tensor], list[list[Tensor]]] | None:
        """Both region maps at the size of the matching's grid, one for each map they restrict."""
        if regions is None:
            return None
        own = as_list(regions, "regions")
        other = [
            as_list(item, "exemplar_regions")
            for item in as_list(exemplar_regions, "exemplar_regions")
        ]
        if len(own) != len(conditions) or [len(i) for i in other] != [len(i) for i in photos]:
            raise ValueError(
                f"regions must hold a map for each of the {len(conditions)} conditions and "
                f"exemplar_regions be laid out like exemplar, {[len(i) for i in photos]}, got "
                f"{len(own)} and {[len(i) for i in other]}."
            )
        return (
            [
                self._load_region(region, size_of(encoded))
                for region, encoded in zip(own, conditions, strict=True)
            ],
            [
                [
                    self._load_region(region, self.matched_size(photo))
                    for region, photo in zip(*item, strict=True)
                ]
                for item in zip(other, photos, strict=True)
            ],
        )

    def _load_region(self, region: Any, size: tuple[int, int]) -> Tensor:
        """A region map at the grid of the matching for a picture that is matched at this size."""
        region = region if isinstance(region, Tensor) else np.array(region)
        if region.ndim != 2 or not is_integer(region) or min(region.shape) == 0:
            raise ValueError(
                f"a region map must hold integers and be (H, W), got {region.dtype} and "
                f"{tuple(region.shape)}."
            )
        region = torch.as_tensor(region)
        grid = tuple(side // self.correspondence.stride for side in size)
        # float64 holds every integer that a region is likely to be.
        return F.interpolate(region[None, None].double(), size=grid, mode="nearest")[0, 0].long()

    def matched_size(self, photo: Tensor) -> tuple[int, int]:
        """(height, width) at which an exemplar (..., H, W) is matched."""
        size = size_of(photo)
        if not self.is_coherent:
            return size
        return self._matching_size(self.fitted(size, "crop it"))


def _checked(encoded: Tensor, photo: Tensor, condition: Condition) -> Tensor:
    """An exemplar's encoded condition. Raises ValueError unless it is one of this photo."""
    condition.validate_encoded(encoded)
    if size_of(encoded) != size_of(photo):
        raise ValueError(
            f"an encoded exemplar_condition must have its exemplar's size "
            f"{tuple(photo.shape[-2:])}, got {tuple(encoded.shape[-2:])}."
        )
    return in_range(encoded)
