"""What workers tell whoever waits for them while they work, and how they are asked to stop."""

import multiprocessing
from typing import Any, Protocol


class Channel(Protocol):
    """Goes to workers among the arguments of an executor's initializer."""

    def put(self, note: Any) -> None:
        """In a worker: say something."""

    def notes(self) -> list[Any]:
        """Where the work is waited for: return what was said since the last time."""

    def stop(self) -> None:
        """Where the work is waited for: ask the workers to stop."""

    def stopped(self) -> bool:
        """In a worker: tell whether it was asked to stop."""


class OfProcesses:
    """A channel to processes of this machine."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._notes, self._stop = context.SimpleQueue(), context.Event()

    def put(self, note: Any) -> None:
        """See `Channel`."""
        self._notes.put(note)

    def notes(self) -> list[Any]:
        """See `Channel`."""
        found = []
        while not self._notes.empty():
            found.append(self._notes.get())
        return found

    def stop(self) -> None:
        """See `Channel`."""
        self._stop.set()

    def stopped(self) -> bool:
        """See `Channel`."""
        return self._stop.is_set()
