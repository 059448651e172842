"""What a training shows while it runs, and how it is asked to stop."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

from core.progress import Bars

_OFTEN = 0.2  # seconds between two notes of a step


class Note(NamedTuple):
    """Where a training stands: structures seen of all that it will see; `ended` of an epoch."""

    title: str
    text: str
    done: int
    total: int
    ended: bool


Show = Callable[[Note], None]


def shown_on(bars: Bars) -> Show:
    """Return what shows notes as bars; only an epoch's end is worth a line in a log."""

    def show(note: Note) -> None:
        bars.show(note.title, note.text, note.done, note.total, line=note.ended)

    return show


class Watch:
    """Tells where one training stands."""

    def __init__(
        self, title: str, names: Sequence[str], epochs: int, total: int, done: int, show: Show
    ) -> None:
        self._title, self._names, self._epochs, self._total, self._done = title, names, epochs, total, done
        self._show, self._text, self._last = show, title, 0.0

    def step(self, structures: int) -> None:
        """Count what a step has seen."""
        self._done += structures
        if time.monotonic() - self._last > _OFTEN:
            self._tell(ended=False)

    def epoch(self, row: dict[str, Any]) -> None:
        """Say how an epoch ended."""
        errors = ", ".join(
            f"{name} {train:.4g} / {val:.4g}"
            for name, train, val in zip(self._names, row["train_mae"], row["val_mae"], strict=True)
        )
        self._text = f"{self._title}, epoch {row['epoch'] + 1}/{self._epochs}, MAE train / val: {errors}"
        self._tell(ended=True)

    def _tell(self, *, ended: bool) -> None:
        self._last = time.monotonic()
        self._show(Note(self._title, self._text, self._done, self._total, ended))


@contextmanager
def stoppable(asked: Callable[[], bool] = lambda: False) -> Iterator[Callable[[], int | None]]:
    """Hold SIGINT and SIGTERM back until the training can save itself; yields what tells whether one came.

    `asked` says that another process wants the same, and counts as SIGINT. A second signal is not held back.
    Outside the main thread Python delivers none.
    """
    arrived: list[int] = []

    def signalled() -> int | None:
        return arrived[0] if arrived else signal.SIGINT if asked() else None

    if threading.current_thread() is not threading.main_thread():
        yield signalled
        return

    def remember(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)
        for one, handler in before.items():
            signal.signal(one, signal.SIG_DFL if handler is None else handler)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, remember)
    try:
        yield signalled
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def leave(number: int) -> None:
    """End the process as the signal asks: exit code 130 or 143, by way of the `finally` blocks."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
