"""Test entries as points, targets as bars, and how many of them are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SHOWN_POINTS = 400  # a plot; a page of a hundred targets must stay small enough to mail
WORST_POINTS = 10  # of them always the largest errors: what one wants to look at


@dataclass(frozen=True, slots=True)
class Point:
    """One test entry: what it is called, its target and its prediction in the target's unit."""

    name: str
    actual: float
    predicted: float
    entry_id: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One target's test MAE divided by Base's, with the interval on the same scale."""

    label: str
    ratio: float
    low: float | None
    high: float | None
    note: str = ""


def thin(points: Sequence[Point], limit: int = SHOWN_POINTS, worst: int = WORST_POINTS) -> list[Point]:
    """Keep at most `limit` points: the `worst` largest errors and a fixed-seed draw of the others.

    >>> kept = thin([Point(str(i), 0.0, float(i)) for i in range(1000)], limit=20, worst=3)
    >>> len(kept), {"997", "998", "999"} <= {point.name for point in kept}
    (20, True)
    """
    if len(points) <= limit:
        return list(points)
    order = by_error(points)
    others = np.random.default_rng(0).choice(order[worst:], limit - worst, replace=False)
    keep = sorted([*order[:worst], *others.tolist()])
    return [points[i] for i in keep]


def by_error(points: Sequence[Point]) -> list[int]:
    """Return the places of points, the largest error first."""
    errors = np.array([abs(point.actual - point.predicted) for point in points])
    found: list[int] = np.argsort(-errors, kind="stable").tolist()
    return found


def ratio_limit(bars: Sequence[Bar]) -> float:
    """Return where the scale of these bars ends, so that several drawings can share it.

    Never below 1, so that Base shows; never above 2, so that one hopeless run does not press the others
    together: it is cut off, with its number written out.

    >>> ratio_limit([Bar("a", 0.5, 0.4, 1.3), Bar("b", 0.1, None, None)])
    1.3
    """
    return min(2.0, max([1.0, *(bar.ratio if bar.high is None else bar.high for bar in bars)]))
