"""Drawn scenes of several domains and with attributes, for systems that are told of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from .examples import SyntheticExamples
from .scene import SUN, WALL

PALETTES = {"dawn": (1.0, 0.6, 0.45), "day": (1.0, 1.0, 1.0), "night": (0.3, 0.42, 0.8)}
"""What the light of each domain leaves of red, green and blue."""
THINGS = {"sun": SUN, "house": WALL}


@dataclasses.dataclass(frozen=True)
class NamedScenes:
    """Drawn scenes with further columns: palette, and whether there are night, sun and house.

    palette: a name of `PALETTES`, in whose light the photo is seen; it changes from row to row.
    """

    examples: SyntheticExamples

    @property
    def column_names(self) -> list[str]:
        """The keys of an example."""
        return [*self.examples.column_names, "palette", "night", *THINGS]

    @property
    def features(self) -> dict[str, Any]:
        """None is of a type that says more than its values."""
        return {}

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int | str) -> Any:
        """Example `index` >= 0, or all palettes by the column's name."""
        names = list(PALETTES)
        if isinstance(index, str):
            if index != "palette":
                raise KeyError(f"whole columns are made of 'palette' alone, not of '{index}'.")
            return [names[number % len(names)] for number in range(len(self))]
        row, palette = self.examples[index], names[index % len(names)]
        labels = np.asarray(row["labels"])
        lit = np.asarray(row["image"]) * np.array(PALETTES[palette])
        return {
            **row,
            "image": Image.fromarray(lit.round().astype(np.uint8)),
            "palette": palette,
            "night": palette == "night",
            **{name: bool((labels == label).any()) for name, label in THINGS.items()},
        }
