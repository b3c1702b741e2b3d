"""Pictures of many domains or with attributes, as rows whose condition asks for one of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..conditions import AskedPicture
from .domains import domains_of
from .settings import DataSettings

SOURCE_DOMAIN = "cocosnet_hf.source_domain"
"""The column with the number of the domain that a condition's picture is of; no user's name."""


@dataclasses.dataclass(frozen=True, eq=False)
class DomainRows:
    """Row i: a photo of domain i % D, and as its condition a picture that is to become one of it.

    Its exemplar is another photo of the same domain. The picture and the exemplar are drawn, the
    picture's domain as often as any other. The pictures of a domain with fewer are repeated, so
    that domains are even and an epoch sees each photo of the largest once.
    """

    rows: Any  # of `cocosnet_hf.datasets.sources`
    indices: tuple[tuple[int, ...], ...]  # of each domain's photos
    domains: tuple[str, ...]
    settings: DataSettings
    length: int

    @property
    def column_names(self) -> list[str]:
        """Those of the photos, the condition and the exemplar."""
        settings = self.settings
        own = [str(settings.condition_column), str(settings.exemplar_column)]
        return list(dict.fromkeys([*self.rows.column_names, *own]))

    @property
    def _fingerprint(self) -> str:
        known = getattr(self.rows, "_fingerprint", self.rows)
        return f"{known} of {', '.join(self.domains)}"

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """The same at each call. Raises IndexError outside of the rows."""
        return self.drawn(index, np.random.default_rng(index))

    def drawn(self, index: int, rng: np.random.Generator) -> Mapping[str, Any]:
        """With a condition and an exemplar that rng draws."""
        if not 0 <= index < self.length:
            raise IndexError(f"Row {index} of {self.length}.")
        count, settings = len(self.domains), self.settings
        domain, source = index % count, int(rng.integers(count))
        own = self.indices[domain]
        at = index // count % len(own)
        other = own[(at + 1 + int(rng.integers(max(1, len(own) - 1)))) % len(own)]
        picture = self.rows[int(rng.choice(self.indices[source]))][settings.image_column]
        return {
            **self.rows[own[at]],
            str(settings.condition_column): {"picture": picture, "asked": self.domains[domain]},
            str(settings.exemplar_column): self.rows[other][settings.image_column],
            SOURCE_DOMAIN: source,
        }


@dataclasses.dataclass(frozen=True, eq=False)
class AttributeRows:
    """Photos, each as its own condition beside the attributes that its columns say it has."""

    rows: Any
    attributes: tuple[str, ...]
    condition: str
    length: int

    @property
    def column_names(self) -> list[str]:
        """Those of the photos, and the condition."""
        return list(dict.fromkeys([*self.rows.column_names, self.condition]))

    @property
    def _fingerprint(self) -> str:
        known = getattr(self.rows, "_fingerprint", self.rows)
        return f"{known} with {', '.join(self.attributes)}"

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """Raises IndexError outside of the rows."""
        if not 0 <= index < self.length:
            raise IndexError(f"Row {index} of {self.length}.")
        row = self.rows[index]
        return {**row, self.condition: {"asked": {name: row[name] for name in self.attributes}}}


def asked_rows(
    rows: Any, settings: DataSettings, condition: AskedPicture
) -> DomainRows | AttributeRows:
    """Rows for a condition that asks for a domain or for attributes.

    Raises ValueError for settings that do not say the columns, for columns that are not there and
    for a domain without pictures.
    """
    if settings.streaming or settings.condition_column is None:
        raise ValueError(
            f"A '{condition.type}' condition is put together from rows that can be read in any "
            f"order, as a column of its own: set condition_column: condition and streaming: false."
        )
    if not condition.is_one_of_many:
        if missing := [name for name in condition.names if name not in rows.column_names]:
            raise ValueError(
                f"'{settings.source}' has no column for the attributes {missing}; its columns are "
                f"{rows.column_names}. Name some of these as networks.condition.attributes."
            )
        return AttributeRows(rows, condition.names, settings.condition_column, len(rows))
    if settings.domain_column is None or settings.exemplar_column is None:
        raise ValueError(
            "A 'domain' condition needs to know where the domains stand, and a column for another "
            "photo of the same one: set domain_column, for a folder with a folder for each of them "
            "label, and exemplar_column: exemplar."
        )
    found = np.array(domains_of(rows, settings))
    indices = [tuple(np.flatnonzero(found == name).tolist()) for name in condition.names]
    if not all(indices):
        raise ValueError(
            f"'{settings.source}' must have pictures of each of {list(condition.names)}; its "
            f"column '{settings.domain_column}' says {sorted(set(found.tolist()))}. Name those as "
            f"networks.condition.domains."
        )
    length = len(indices) * max(map(len, indices))
    return DomainRows(rows, tuple(indices), condition.names, settings, length)
