"""What a figure shows, as data: curves and dots on a pair of axes, and histograms.

For the page they are drawn by `inline_svg`, for files by altair (`vega_charts`). Every axis is named with its
unit. What pointing at a mark says is its `tip`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

Scale = Literal["linear", "log"]


@dataclass(frozen=True, slots=True)
class Mark:
    """One point with what pointing at it says; `low` and `high` bound its interval on the y axis."""

    x: float
    y: float
    tip: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Marks of one kind: joined by a line, or dots alone."""

    name: str
    marks: tuple[Mark, ...]
    line: bool = True


@dataclass(frozen=True, slots=True)
class Chart:
    """Series on one pair of axes; each axis is named with its unit."""

    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    zero: bool = False  # draw the line y = 0
    width: int = 420  # pixels, with the axes
    height: int = 280

    def visible(self) -> list[Series]:
        """Return what can be drawn: what lies at or below 0 has no place on a logarithmic axis."""

        def there(mark: Mark) -> bool:
            return (self.x_scale == "linear" or mark.x > 0) and (self.y_scale == "linear" or mark.y > 0)

        series = [Series(s.name, tuple(filter(there, s.marks)), s.line) for s in self.series]
        return [s for s in series if s.marks]

    def domains(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the ends of the axes, a margin around what is visible and its intervals."""
        marks = [mark for s in self.visible() for mark in s.marks]
        ends = [v for m in marks for v in (m.low, m.y, m.high) if v is not None]
        ys = [v for v in ends if self.y_scale == "linear" or v > 0] or [1.0, 2.0]
        if self.zero:
            ys.append(0.0)
        xs = [mark.x for mark in marks] or [1.0, 2.0]
        return domain_of(xs, self.x_scale), domain_of(ys, self.y_scale)


@dataclass(frozen=True, slots=True)
class Step:
    """One bar of a histogram."""

    start: float
    stop: float
    count: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts over steps that follow each other; y says what is counted."""

    title: str
    x: str
    steps: tuple[Step, ...]
    y: str = "targets (count)"
    scale: Scale = "linear"
    width: int = 420
    height: int = 240


def counted(
    values: Sequence[float] | np.ndarray, title: str, x: str, y: str, log: bool = False
) -> Histogram | None:
    """Count values in steps of equal width, or of equal factors; None where all values are one."""
    array = np.asarray(values, float)
    array = np.log10(array[array > 0]) if log else array
    if not len(array) or array.min() == array.max():
        return None
    bins = int(min(max(np.sqrt(len(array)), 6), 24))
    counts, edges = np.histogram(array, bins)
    edges = 10**edges if log else edges
    steps = tuple(Step(float(a), float(b), int(n)) for (a, b), n in zip(pairwise(edges), counts, strict=True))
    return Histogram(title, x, steps, y, "log" if log else "linear")


def domain_of(values: Sequence[float], scale: Scale) -> tuple[float, float]:
    """Return the ends of an axis: a margin around what lies on it."""
    low, high = min(values), max(values)
    if scale == "log":
        if low == high:
            low, high = low / 2, high * 2
        margin = (high / low) ** 0.06
        return low / margin, high * margin
    margin = 0.06 * (high - low) or abs(high) * 0.06 or 1.0
    return low - margin, high + margin


def log_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten between `low` and `high`; fewer where these are many.

    >>> log_ticks(9, 210)
    [10.0, 20.0, 50.0, 100.0, 200.0]
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps in ((1, 2, 5), (1, 3), (1,)):
        inside = [
            value for p in range(first, last + 1) for m in steps if low <= (value := m * 10.0**p) <= high
        ]
        if len(inside) <= most:
            break
    return inside


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers between `low` and `high`, at most `most` steps apart.

    >>> ticks(0, 10), ticks(-0.3, 1.1, 4)
    ([0.0, 2.0, 4.0, 6.0, 8.0, 10.0], [0.0, 0.5, 1.0])
    """
    width = high - low
    step = 10.0 ** math.floor(math.log10(width / most))
    step *= next(m for m in (1, 2, 5, 10, 20) if width / (step * m) <= most)
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    if count < 1:
        return ticks(low, high, most + 2)
    return [round((first + i) * step, 12) if step > 1e-9 else (first + i) * step for i in range(count)]
