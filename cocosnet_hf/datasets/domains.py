"""Two lists of pictures that nothing pairs, as rows with a condition from one beside each photo."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .settings import DataSettings


@dataclasses.dataclass(frozen=True)
class UnpairedRows:
    """Row i: photo i of `photos` and, as its condition, picture i of `conditions`.

    The shorter list is repeated, so that an epoch sees each picture of the longer one once. image,
    condition: the columns that hold them. length: of the rows, by default the longer list's.
    """

    photos: Any  # Rows, as are the conditions, of `cocosnet_hf.datasets.sources`
    conditions: Any
    image: str
    condition: str
    length: int

    @classmethod
    def of(cls, photos: Any, conditions: Any, settings: DataSettings) -> UnpairedRows:
        """All of both, under the columns that the settings name."""
        column = settings.condition_column or ""
        length = max(len(photos), len(conditions))
        return cls(photos, conditions, settings.image_column, column, length)

    @property
    def column_names(self) -> list[str]:
        """Those of the photos, and the condition."""
        return list(dict.fromkeys([*self.photos.column_names, self.condition]))

    @property
    def _fingerprint(self) -> str:
        parts = [getattr(rows, "_fingerprint", rows) for rows in (self.photos, self.conditions)]
        return f"{parts[0]} beside {parts[1]}"

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """Raises IndexError outside of the rows."""
        if not 0 <= index < self.length:
            raise IndexError(f"Row {index} of {self.length}.")
        other = self.conditions[index % len(self.conditions)][self.image]
        return {**self.photos[index % len(self.photos)], self.condition: other}


def of_domain(rows: Any, settings: DataSettings, domain: str, others: bool = False) -> Any:
    """The rows whose `domain_column` says this, or all others.

    Raises ValueError for a column that is not there, and where none or all rows are of the domain.
    """
    found = domains_of(rows, settings)
    chosen = [index for index, name in enumerate(found) if (name == domain) != others]
    if not chosen:
        raise ValueError(
            f"There must be rows of the domain '{domain}' in the column "
            f"'{settings.domain_column}', and others; it says {sorted(set(found))[:5]} only. Set "
            f"condition_domain to one of several."
        )
    return rows.select(chosen)


def domains_of(rows: Any, settings: DataSettings) -> list[str]:
    """The domain of each row, by name. Raises ValueError for a column that is not there."""
    column = settings.domain_column
    if column not in rows.column_names:
        raise ValueError(
            f"'{settings.source}' has no column '{column}'; its columns are {rows.column_names}. "
            f"Set domain_column to the one that names the domains; of a folder with a folder for "
            f"each of them it is 'label'."
        )
    names = getattr((rows.features or {}).get(column), "names", None)
    values = rows[column]
    for row, value in enumerate(values):
        if value is None or (names and value < 0):
            raise ValueError(
                f"row {row} of '{settings.source}' has no domain in the column '{column}'; give it "
                f"one, or leave the row out."
            )
    return [names[value] if names else str(value) for value in values]
