"""Where the recipes of the bundled pipelines are."""

from __future__ import annotations

from pathlib import Path

import train

RECIPES = Path(train.__file__).parent / "configs"


def recipe_file(name: str) -> Path:
    """The recipe by which a bundled pipeline was trained."""
    return RECIPES / f"{name}.yaml"
