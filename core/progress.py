"""What long work shows on stderr: bars with rate and time left; in a log, a line now and then."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

_QUIET = 10.0  # seconds between two lines of one title where stderr is no terminal
T = TypeVar("T")

_COUNTED: dict[str, tuple[ProgressColumn, ...]] = {
    "parts": (TaskProgressColumn(),),
    "items": (MofNCompleteColumn(),),
    "bytes": (DownloadColumn(), TransferSpeedColumn()),
}


@dataclass
class _Bar:
    task: TaskID
    first: int  # what was done when it was first shown
    started: float = field(default_factory=time.monotonic)
    said: float = 0.0  # seconds from the start to its last line


class Bars:
    """A bar a title on a terminal; elsewhere, such as in a log, a line now and then. Nothing before `show`.

    counted: how a bar's numbers read: "parts" (per cent), "items" or "bytes".
    """

    def __init__(self, counted: str = "parts") -> None:
        self._console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), *_COUNTED[counted])
        self._progress = Progress(
            *columns,
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._bars: dict[str, _Bar] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, title: str, text: str, done: int, total: int | None, line: bool = True) -> None:
        """Say where the work under a title stands: `text` beside its bar. line: worth one in a log."""
        if title not in self._bars:
            self._bars[title] = _Bar(self._progress.add_task(text, total=total), done)
        bar = self._bars[title]
        self._progress.update(bar.task, completed=done, total=total, description=text)
        spent = time.monotonic() - bar.started
        if self._progress.disable and line and spent - bar.said > _QUIET:
            bar.said = spent
            left = ""
            if total is not None:
                minutes = spent / max(done - bar.first, 1) * (total - done) / 60
                left = f"; {100 * done / max(total, 1):.0f} %, {minutes:.0f} min left"
            self._console.print(f"{text}{left}")

    def over(self, title: str) -> None:
        """Take the bar of a title away."""
        if title in self._bars:
            self._progress.remove_task(self._bars.pop(title).task)


class Meter:
    """Count the items of one piece of work, with rates per second; silent where nothing is to be done."""

    def __init__(self, title: str, total: int, unit: str = "structures") -> None:
        self.seconds = 0.0
        self._title, self._total, self._unit = title, total, unit
        self._done = self._rejects = 0
        self._counts: dict[str, int] = {}
        self._started = time.monotonic()
        self._bars = Bars("items")

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._bars.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.monotonic() - self._started
        self._bars.__exit__(kind, error, trace)

    def advance(self, count: int = 1, *, rejects: int = 0, **counts: int) -> None:
        """Count items that are done, what was rejected of them, and what else is shown per second."""
        self._done += count
        self._rejects += rejects
        for name, more in counts.items():
            self._counts[name] = self._counts.get(name, 0) + more
        if self._total == 0:
            return
        seconds = max(time.monotonic() - self._started, 1e-9)
        rates = {self._unit: self._done, **self._counts}
        facts = [f"{value / seconds:,.0f} {name}/s" for name, value in rates.items()]
        if self._rejects:
            facts.append(f"{self._rejects:,} rejected")
        self._bars.show(self._title, f"{self._title}: {' · '.join(facts)}", self._done, self._total)


def duration(seconds: float) -> str:
    """Say how long something takes, to two digits.

    >>> [duration(s) for s in (0, 0.21, 75, 5000, 400_000)]
    ['0 s', '0.21 s', '75 s', '83 min', '110 h']
    """
    if seconds < 100:
        return f"{seconds:.2g} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.2g} min"
    return f"{float(f'{seconds / 3600:.2g}'):g} h"


def progress(items: Sequence[T], title: str) -> Iterator[T]:
    """Iterate over items with a bar and the time left."""
    with Bars("items") as bars:
        for done, item in enumerate(items):
            bars.show(title, title, done, len(items))
            yield item
