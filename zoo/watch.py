"""What a training shows while it runs, and how it is asked to stop."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_QUIET = 10.0  # seconds between lines where stderr is no terminal


class Watch:
    """A bar with time left on a terminal; elsewhere, such as in a log, a line now and then."""

    def __init__(self, title: str, names: Sequence[str], epochs: int, total: int, done: int) -> None:
        console = Console(stderr=True)
        self._title, self._names, self._epochs, self._total, self._done = title, names, epochs, total, done
        self._first, self._started, self._said = done, time.monotonic(), 0.0
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._task = self._bar.add_task(title, total=total, completed=done)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, structures: int) -> None:
        """Count what a step has seen."""
        self._done += structures
        self._bar.update(self._task, completed=self._done)

    def epoch(self, row: dict[str, Any]) -> None:
        """Say how an epoch ended."""
        errors = ", ".join(
            f"{name} {train:.4g} / {val:.4g}"
            for name, train, val in zip(self._names, row["train_mae"], row["val_mae"], strict=True)
        )
        text = f"{self._title}, epoch {row['epoch'] + 1}/{self._epochs}, MAE train / val: {errors}"
        self._bar.update(self._task, description=text)
        spent = time.monotonic() - self._started
        if self._bar.disable and spent - self._said > _QUIET:
            self._said = spent
            left = spent / max(self._done - self._first, 1) * (self._total - self._done)
            print(f"{text}; {left / 60:.0f} min left", file=sys.stderr, flush=True)  # noqa: T201 - a log's line


@contextmanager
def stoppable() -> Iterator[Callable[[], int | None]]:
    """Hold SIGINT and SIGTERM back until the training can save itself; yields what tells whether one came.

    A second signal is not held back. Outside the main thread Python delivers none.
    """
    arrived: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def remember(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)
        for one, handler in before.items():
            signal.signal(one, signal.SIG_DFL if handler is None else handler)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, remember)
    try:
        yield lambda: arrived[0] if arrived else None
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def leave(number: int) -> None:
    """End the process as the signal asks: exit code 130 or 143, by way of the `finally` blocks."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
