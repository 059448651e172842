"""What a training shows while it runs, and how it is asked to stop."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, NamedTuple, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

_QUIET = 10.0  # seconds between lines where stderr is no terminal
_OFTEN = 0.2  # seconds between two notes of a step


class Note(NamedTuple):
    """Where a training stands: structures seen of all that it will see; `ended` of an epoch or of it all."""

    title: str
    text: str
    done: int
    total: int
    ended: bool


Show = Callable[[Note], None]


class Bars:
    """A bar a training with time left on a terminal; elsewhere, such as in a log, a line now and then.

    Where several trainings are to come, one more bar counts them.
    """

    def __init__(self, trainings: int = 1) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._of, self._over = trainings, 0
        self._all = self._bars.add_task("", total=trainings, visible=trainings > 1)
        self._tasks: dict[str, TaskID] = {}
        self._first: dict[str, tuple[int, float]] = {}
        self._said: dict[str, float] = {}
        self._count()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, note: Note) -> None:
        """Move a training's bar, or print a line of an epoch where the last one is a while ago."""
        if note.title not in self._tasks:
            self._tasks[note.title] = self._bars.add_task(note.text, total=note.total)
            self._first[note.title] = note.done, time.monotonic()
            self._said[note.title] = 0.0
        self._bars.update(self._tasks[note.title], completed=note.done, description=note.text)
        first, started = self._first[note.title]
        spent = time.monotonic() - started
        if self._bars.disable and note.ended and spent - self._said[note.title] > _QUIET:
            self._said[note.title] = spent
            left = spent / max(note.done - first, 1) * (note.total - note.done)
            of = f" ({self._over + 1} of {self._of})" if self._of > 1 else ""
            print(f"{note.text}{of}; {left / 60:.0f} min left", file=sys.stderr, flush=True)  # noqa: T201 - a log's line

    def over(self, title: str) -> None:
        """Count a training that has ended, and take its bar away."""
        if title in self._tasks:
            self._bars.remove_task(self._tasks.pop(title))
        self._over += 1
        self._count()

    def _count(self) -> None:
        self._bars.update(self._all, completed=self._over, description=f"{self._over} of {self._of} networks")


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
