"""A picture and what it is to become: one of a domain, or one with attributes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..pictures import to_image
from .base import BICUBIC, Condition, ConditionCard, Geometry, Source
from .descriptors import gradient_descriptor
from .picture import PictureCondition


@dataclass(frozen=True)
class AskedPicture(PictureCondition):
    """A picture, and a plane behind red, green and blue for each name, which says what is asked.

    Source of `encode`: {"picture": picture, "asked": what}, the picture as `PictureCondition` reads
    it. A picture alone asks for nothing: its planes are 0.
    """

    is_one_of_many: ClassVar[bool]
    """Whether one of the names is asked for, or a number for each."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What may be asked, in the order of the planes."""

    @property
    @abstractmethod
    def example(self) -> str:
        """Something that is asked, in Python."""

    @abstractmethod
    def numbers(self, asked: Any) -> tuple[float, ...]:
        """The values in 0..1 of the planes. Raises ValueError for what cannot be asked."""

    @property
    def channels(self) -> int:
        """Of a picture and of what is asked."""
        return 3 + len(self.names)

    def opened(self, source: Any) -> Source:
        """The picture as RGB, and the numbers. Raises ValueError for what is none."""
        if not isinstance(source, Mapping):
            return self._with(super().opened(source), None)
        if not {"picture"} <= set(source) <= {"picture", "asked"}:
            raise ValueError(
                f'what is to become another must be {{"picture": picture, "asked": what}}, got the '
                f"keys {list(source)}."
            )
        return self._with(super().opened(source["picture"]), source.get("asked"))

    def _with(self, picture: Source, asked: Any) -> Source:
        numbers = (0.0,) * len(self.names) if asked is None else self.numbers(asked)
        return Source({"picture": picture.value, "numbers": numbers}, picture.size)

    def encode(self, source: Any, height: int, width: int) -> Tensor:
        """(3 + n, height, width) float32 in [0, 1]. Raises ValueError as `open` does."""
        value = self.open(source).value
        picture = PictureCondition().encode(value["picture"], height, width)
        return torch.cat([picture, planes(torch.tensor([value["numbers"]]), picture[None])[0]])

    def preview(self, encoded: Tensor) -> Image.Image:
        """The picture."""
        return to_image(self.one_encoded(encoded)[:3], low=0)

    def from_row(self, value: Any, photo: Image.Image, name: str) -> Source:
        """value: {"asked": what, "picture": another than the photo}, or a picture alone."""
        if not isinstance(value, Mapping) or "asked" not in value:
            value = {"asked": None, "picture": value}
        picture = PictureCondition().from_row(value.get("picture", photo), photo, name)
        return self._with(picture, value["asked"])

    def moved(self, source: Source, geometry: Geometry, photo: Image.Image) -> Source:
        """The picture through the geometry of its photo."""
        picture = geometry.picture(source.value["picture"], BICUBIC)
        size = (picture.height, picture.width)
        return Source({"picture": picture, "numbers": source.value["numbers"]}, size)

    def descriptor(self, source: Any) -> np.ndarray:
        """Slopes of the picture, see `gradient_descriptor`."""
        return gradient_descriptor(self.open(source).value["picture"])

    def card(self) -> ConditionCard:
        """That it is a picture, and what may be asked."""
        return ConditionCard(
            summary="another picture",
            source=f'{{"picture": "layout.jpg", "asked": {self.example}}}',
            exemplar_source='"exemplar.jpg"',
            text="A picture, and what it is to become.",
            header=["channel", "content"],
            rows=[[str(at), name] for at, name in enumerate(("red", "green", "blue", *self.names))],
        )


@dataclass(frozen=True)
class DomainCondition(AskedPicture):
    """A picture, and the domain that it is to be painted as one of, by its name.

    domains: their names, in a data set those of its `domain_column`. Raises ValueError for fewer
    than two and for one twice.
    """

    type: ClassVar[str] = "domain"
    column: ClassVar[str] = "pictures of many domains"
    is_one_of_many: ClassVar[bool] = True

    domains: tuple[str, ...]

    def __post_init__(self) -> None:
        require_names("domains", self.domains, 2)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the domains."""
        return self.domains

    @property
    def example(self) -> str:
        """The last domain."""
        return f'"{self.domains[-1]}"'

    def numbers(self, asked: Any) -> tuple[float, ...]:
        """1 for the domain of this name, else 0. Raises ValueError for another name."""
        return tuple(float(at == self.number(asked)) for at in range(len(self.domains)))

    def number(self, domain: Any) -> int:
        """Of a domain, from 0. Raises ValueError for a name that is none's."""
        if domain not in self.domains:
            raise ValueError(
                f"domain must be one of {', '.join(self.domains)}, got {domain!r}; a pipeline "
                f"knows those that it was trained with."
            )
        return self.domains.index(domain)


@dataclass(frozen=True)
class AttributesCondition(AskedPicture):
    """A picture, and the attributes that it is to have, each from 0, without, to 1, with.

    attributes: their names, in a data set those of columns: true or false, 0 or 1, -1 or 1, or any
    number between 0 and 1. Raises ValueError for none and for one twice.
    """

    type: ClassVar[str] = "attributes"
    column: ClassVar[str] = "pictures with attributes"
    is_one_of_many: ClassVar[bool] = False

    attributes: tuple[str, ...]

    def __post_init__(self) -> None:
        require_names("attributes", self.attributes, 1)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the attributes."""
        return self.attributes

    @property
    def example(self) -> str:
        """All of them."""
        return str(dict.fromkeys(self.attributes, 1)).replace("'", '"')

    def numbers(self, asked: Any) -> tuple[float, ...]:
        """Of all attributes, by name; -1 is 0. Raises ValueError for other names and numbers."""
        values = self.values(asked)
        numbers = tuple(0.0 if value == -1 else value for value in values)
        if not all(0 <= number <= 1 for number in numbers):
            raise ValueError(f"attributes must be in 0..1, or -1 for without, got {dict(asked)}.")
        return numbers

    def values(self, asked: Any) -> tuple[float, ...]:
        """A number for each attribute, in their order. Raises ValueError for other names."""
        if not isinstance(asked, Mapping) or set(asked) != set(self.attributes):
            given = sorted(asked) if isinstance(asked, Mapping) else asked
            raise ValueError(
                f"attributes must give a number to each of {', '.join(self.attributes)}, got "
                f"{given!r}."
            )
        try:
            return tuple(float(asked[name]) for name in self.attributes)
        except (TypeError, ValueError) as error:
            raise ValueError(f"attributes must be numbers, got {dict(asked)}.") from error


def taken_apart(encoded: Tensor) -> tuple[Tensor, Tensor]:
    """Encoded conditions (B, 3 + n, H, W) as pictures (B, 3, H, W) in [-1, 1] and numbers (B, n).

    Of each plane its first number, as all of them are one.
    """
    return encoded[:, :3] * 2 - 1, encoded[:, 3:, 0, 0]


def planes(numbers: Tensor, picture: Tensor) -> Tensor:
    """Numbers (B, n) as planes (B, n, H, W) of the size of a picture (B, C, H, W)."""
    return numbers.to(picture)[:, :, None, None].expand(-1, -1, *picture.shape[-2:])


def require_names(what: str, names: tuple[str, ...], least: int) -> None:
    """Raise ValueError for too few names and for one twice."""
    if len(names) < least or len(set(names)) < len(names):
        raise ValueError(f"'{what}' must be {least} names or more, each once, got {list(names)}.")


def require_attributes(condition: Condition) -> int:
    """How many attributes a condition has. Raises ValueError for one that asks otherwise."""
    if not isinstance(condition, AttributesCondition):
        raise ValueError(
            f"this system needs a condition of the type attributes, which names them, got "
            f"{condition.type}: see docs/systems.md."
        )
    return len(condition.attributes)


def require_domains(condition: Condition) -> int:
    """How many domains a condition may ask for. Raises ValueError for one that asks otherwise."""
    if not isinstance(condition, DomainCondition):
        raise ValueError(
            f"this system needs a condition of the type domain, which names them, got "
            f"{condition.type}: see docs/systems.md."
        )
    return len(condition.domains)
