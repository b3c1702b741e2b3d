"""How the server's memory is given back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
"""Of mallopt: the size from which a block is the system's own, which gets it back when it is free,
and the most arenas, of which each keeps what its threads freed; see malloc.h of glibc."""

ARENAS = 2

# A decoded picture, a network that looks at one and a painting take 100 MB and more for a moment.
_working = threading.RLock()

NOT_GLIBC = (OSError, AttributeError, TypeError)
"""What asking another system's library raises."""


def give_memory_back() -> None:
    """Let glibc, where it is the allocator, give large blocks back as soon as they are free, and
    keep the small ones for all threads together.

    By itself it keeps ever larger ones, in an arena for nearly each of a server's many threads.
    """
    with contextlib.suppress(*NOT_GLIBC):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, 2**20)
        library.mallopt(M_ARENA_MAX, ARENAS)


def give_small_blocks_back() -> None:
    """Let glibc give back what is free between the small blocks that are in use; takes some ms."""
    with contextlib.suppress(*NOT_GLIBC):
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def others_may_work() -> Iterator[None]:
    """Within `alone`, while it waits for another process: others may be in theirs meanwhile."""
    entered = 0
    with contextlib.suppress(RuntimeError):  # which an RLock raises that is not held any more
        while True:
            _working.release()
            entered += 1
    try:
        yield
    finally:
        for _ in range(entered):
            _working.acquire()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Within, no other thread is; what was free at the end is given back."""
    with _working:
        try:
            yield
        finally:
            give_small_blocks_back()
