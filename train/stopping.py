"""How a run stops before its end, and what its process returns then."""

import os
import signal
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar

ItemT = TypeVar("ItemT")

MISTAKE, BROKEN_OFF = 2, 1
"""What the process returns for a mistake in settings or data, and for a run that failed."""

NOTICE = "\n{name}: ending this step and saving a checkpoint{again}\n"


class Interrupted(Exception):
    """A validation that was left because the run stops."""


class Stopping:
    """Notes SIGTERM and Ctrl-C, so that the step that is being trained is ended and saved.

    received: number of the signal; 0 as long as there is none. A second Ctrl-C raises
    KeyboardInterrupt, which saves nothing.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def watch(self) -> None:
        """Note signals from now on, instead of ending at once. In the main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before.setdefault(number, signal.signal(number, self._note))

    def close(self) -> None:
        """Signals mean again what they did; not if one came, or a second cuts off the way out."""
        if not self.received:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            self._before = {}

    @property
    def name(self) -> str:
        """Of the signal, in the words of whoever sent it."""
        return "Ctrl-C" if self.received == signal.SIGINT else signal.Signals(self.received).name

    @property
    def exit_code(self) -> int:
        """As shells report the signal: 143 for SIGTERM, 130 for Ctrl-C; 0 without one."""
        return 128 + self.received if self.received else 0

    def interrupts(self, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """The items; raises Interrupted before the next one, once there is a signal."""
        for item in items:
            if self.received:
                raise Interrupted
            yield item

    def _note(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == number:
            raise KeyboardInterrupt
        self.received = number
        again = "; once more to stop at once" if number == signal.SIGINT else ""
        # Not by print: the signal may have come while something was printed.
        os.write(2, NOTICE.format(name=self.name, again=again).encode())
