"""Where things lie: the repository, and what may lie beside it."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CONFIGS = REPOSITORY / "train" / "configs"
FIXTURES = REPOSITORY / "tests" / "fixtures"
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
"""Data sets that some tests read where they are there."""
SHARED_PARITY = REPOSITORY.parent / "shared" / "parity"
"""Recorded official outputs, too large for the repository."""
