"""What is said of a source that may mean two things: which of them was taken."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Iterable

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Note:
    """One thing that was taken, and how to have the other.

    kind: such as "people"; where many sources are read, each kind is said once. text: sentences.
    """

    kind: str
    text: str


def warn(notes: Iterable[Note], stacklevel: int = 2) -> None:
    """Say notes as a UserWarning each. stacklevel: as of `warnings.warn`, seen from the caller."""
    for note in notes:
        warnings.warn(note.text, UserWarning, stacklevel=stacklevel + 1)


def log(notes: Iterable[Note]) -> None:
    """Say notes in the log, as of photos, of which a run may read thousands."""
    for note in notes:
        logger.warning("%s", note.text)
