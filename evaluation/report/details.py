"""What the page says of one property below its line: where errors are, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd

from core.text import number
from evaluation.neighbours import WORST, Neighbour
from evaluation.report.answers import Answer
from evaluation.report.breakdowns import Breakdown, breakdowns
from evaluation.report.drawings import Histogram, counted
from evaluation.report.leaks import Leaks
from evaluation.report.more_values import LearningCurve
from evaluation.report.points import Point
from evaluation.report.searched import Errors, Tried

FEWEST_IN_QUARTER = 5  # test entries


@dataclass(frozen=True, slots=True)
class Wrong:
    """One of the worst predictions, with the training entries that lie nearest."""

    point: Point
    low: float | None
    high: float | None
    domain: str
    n_atoms: int | None
    near: tuple[Neighbour, ...]

    @property
    def error(self) -> float:
        """Return predicted − actual, in the property's unit."""
        return self.point.predicted - self.point.actual

    @property
    def is_inside(self) -> bool | None:
        """Tell whether the value lay in its interval; None without one."""
        if self.low is None or self.high is None:
            return None
        return self.low <= self.point.actual <= self.high


@dataclass(frozen=True, slots=True)
class Quarter:
    """A quarter of the test entries: the error that was expected, and the one that was seen."""

    n: int
    expected: float
    seen: float
    inside: float


@dataclass(frozen=True, slots=True)
class Details:
    """Everything below the line of one property; what cannot be said is empty or None."""

    points: tuple[Point, ...]
    residuals: Histogram | None
    residual_words: str
    broken_down: tuple[Breakdown, ...]
    worst: tuple[Wrong, ...]
    quarters: tuple[Quarter, ...]
    curve: LearningCurve | None
    layers: Errors
    tried: tuple[Tried, ...]
    values: Histogram | None
    leaks: Leaks | None


def details(
    answer: Answer,
    rows: pd.DataFrame,
    points: Sequence[Point],
    *,
    near: Sequence[Neighbour],
    curve: LearningCurve | None,
    layers: Errors,
    tried: Sequence[Tried],
    values: np.ndarray,
    log: bool,
    leaks: Leaks | None,
) -> Details:
    """Bring together what is known of one property.

    rows: its test entries (see `tested_entries`); near: neighbours of the worst of them. values (n,): all its
    targets; log: it is learned as its logarithm.
    """
    unit = answer.run.unit if answer.run.unit != "dimensionless" else "no unit"
    residuals = (rows["predicted"] - rows["actual"]).to_numpy()
    return Details(
        points=tuple(points),
        residuals=counted(residuals, "Residuals", f"predicted − actual ({unit})", "test entries (count)"),
        residual_words=_words(residuals, answer.run.unit),
        broken_down=breakdowns(rows),
        worst=worst(rows, points, near),
        quarters=quarters(rows),
        curve=curve,
        layers=layers,
        tried=tuple(tried),
        values=counted(values, "Values", f"value ({unit})", "entries (count)", log),
        leaks=leaks,
    )


def worst(rows: pd.DataFrame, points: Sequence[Point], near: Sequence[Neighbour]) -> tuple[Wrong, ...]:
    """Return the entries whose prediction is furthest off, the worst first."""
    ordered = sorted(near, key=lambda one: (one.entry_id, one.distance))
    neighbours = {entry: tuple(own) for entry, own in groupby(ordered, key=lambda one: one.entry_id)}
    of = {point.entry_id: point for point in points}
    found = []
    for row in rows.sort_values("error", ascending=False, kind="stable").head(WORST).to_dict("records"):
        low, high = (None if pd.isna(row.get(name)) else float(row[name]) for name in ("low", "high"))
        domain = row.get("domain")
        found.append(
            Wrong(
                of[row["entry_id"]],
                low,
                high,
                domain if isinstance(domain, str) else "",
                int(row["n_atoms"]) if "n_atoms" in row else None,
                neighbours.get(row["entry_id"], ()),
            )
        )
    return tuple(found)


def quarters(rows: pd.DataFrame) -> tuple[Quarter, ...]:
    """Cut the test entries into quarters by the error that was expected; none where they are too few."""
    if "low" not in rows:
        return ()
    rows = rows[rows["low"].notna()]
    if len(rows) < 4 * FEWEST_IN_QUARTER or rows["expected_error"].nunique() < 4:
        return ()
    ordered = rows.sort_values("expected_error", kind="stable")
    low, high, actual, expected, error = (
        ordered[name].to_numpy() for name in ("low", "high", "actual", "expected_error", "error")
    )
    inside = (low <= actual) & (actual <= high)
    found = []
    for at in np.array_split(np.arange(len(ordered)), 4):
        means = expected[at].mean(), error[at].mean(), inside[at].mean()
        found.append(Quarter(len(at), *(float(mean) for mean in means)))
    return tuple(found)


def _words(residuals: np.ndarray, unit: str) -> str:
    if not len(residuals):
        return ""
    said = "" if unit == "dimensionless" else f" {unit}"
    mean = float(residuals.mean())
    half, most = (float(q) for q in np.quantile(np.abs(residuals), [0.5, 0.95]))
    way = "too high" if mean > 0 else "too low"
    return (
        f"On average {number(abs(mean), 2)}{said} {way}; half of the predictions are off by less than "
        f"{number(half, 3)}{said}, 95 % by less than {number(most, 3)}{said}."
    )
