"""A progress bar for long work: rate, time left, and what was rejected."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Meter:
    """Count structures, angles and rejects on stderr; silent where nothing is to be done."""

    def __init__(self, title: str, total: int) -> None:
        self.seconds = 0.0
        self._angles = self._rejects = self._done = 0
        self._started = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rates]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=total == 0,
        )
        self._task = self._progress.add_task(title, total=total, rates="")

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.monotonic() - self._started
        self._progress.stop()

    def advance(self, structures: int, angles: int, rejects: int) -> None:
        """Count a finished task."""
        self._done += structures
        self._angles += angles
        self._rejects += rejects
        seconds = max(time.monotonic() - self._started, 1e-9)
        rates = (
            f"{self._done / seconds:,.0f} structures/s · {self._angles / seconds:,.0f} angles/s"
            f" · {self._rejects:,} rejected"
        )
        self._progress.update(self._task, advance=structures, rates=rates)
