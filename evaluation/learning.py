"""How the error falls with the number of values, inside train and validation: a file for the page.

A kernel ridge on the vectors of the chosen run learns from growing parts of the rows, and is judged by rows
that are held back. It stands in for the chosen head, which would be fitted for minutes: what is wanted is how
steep the curve is. The test part is not read. `strata experiment learning_curve` makes the curve of the heads
themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from evaluation.metrics import significant
from evaluation.protocol import Scored

if TYPE_CHECKING:  # a page that reads the file needs no network
    from evaluation.intervals import Placed

FILE = "learning.csv"
FEWEST, MOST = 24, 1500  # rows; of more a part is drawn, which bounds the time
DRAWS = 3
HELD_BACK = 0.2
SHARES = (0.125, 0.25, 0.5, 1.0)
_WIDTHS = (2.0, 6.0)  # of the kernel, in typical distances of training rows
_PENALTIES = (0.01, 0.1)
_SMALLEST = 8  # rows to learn from


@dataclass(frozen=True, slots=True)
class Rung:
    """The mean absolute error, in the property's unit, of what learned from `rows` values."""

    dataset: str
    property: str
    split: str
    rows: int
    mae: float


def rungs_of(scored: Scored, placed: "Placed") -> list[Rung]:
    """Draw the curve of one chosen run; none where there are too few rows."""
    calibration = placed.calibration
    if calibration.intervals is None or len(calibration.rows) < FEWEST:
        return []
    values = np.array([row.value for row in calibration.rows])
    groups = np.unique([row.structure_id for row in calibration.rows], return_inverse=True)[1]
    points = [space.points / space.typical for space in calibration.domain.spaces.values()]
    found = curve(points, values, groups, calibration.intervals.log)
    place = (scored.dataset, scored.property, scored.split)
    return [Rung(*place, rows, significant(mae, 6) or 0.0) for rows, mae in found]


def curve(
    points: Sequence[np.ndarray], values: np.ndarray, groups: np.ndarray, log: bool = False
) -> list[tuple[int, float]]:
    """Return numbers of rows and the error of a kernel ridge that learned from so many.

    points: by source model (n, d), in typical distances, NaN where a row has none. values (n,). groups (n,):
    rows of one group are learned from or held back together. log: logarithms are learned. The width of the
    kernel and the penalty are the best of two each at every number of rows.
    """
    errors: dict[float, list[tuple[int, list[float]]]] = {}
    for draw in range(DRAWS):
        order = _shuffled(groups, draw)[:MOST]
        held, rest = order[: int(HELD_BACK * len(order))], order[int(HELD_BACK * len(order)) :]
        rest = rest[~np.isin(groups[rest], groups[held])]
        if not len(held) or len(rest) < _SMALLEST:
            continue
        kernels = [_kernel(points, order, width) for width in _WIDTHS]
        at = np.full(len(values), -1)
        at[order] = np.arange(len(order))
        for share in SHARES:
            own = rest[: max(_SMALLEST, round(share * len(rest)))]
            tried = [
                _error(K, at[own], at[held], values[own], values[held], penalty, log)
                for K in kernels
                for penalty in _PENALTIES
            ]
            errors.setdefault(share, []).append((len(own), tried))
    found = {}
    for several in errors.values():
        rows = round(sum(n for n, _ in several) / len(several))
        found[rows] = float(np.mean([tried for _, tried in several], axis=0).min())
    return sorted(found.items())


def _shuffled(groups: np.ndarray, seed: int) -> np.ndarray:
    """Return the rows in a random order in which those of one group follow each other."""
    order = np.random.default_rng(seed).permutation(groups.max() + 1)
    return np.lexsort((np.arange(len(groups)), order[groups]))


def _kernel(points: Sequence[np.ndarray], rows: np.ndarray, width: float) -> np.ndarray:
    """Return the mean over source models of exp(−d²/(2 width²)); without a vector one adds nothing."""
    total = np.zeros((len(rows), len(rows)))
    for one in points:
        there = np.isfinite(one[rows]).all(axis=1) & bool(one.shape[1])
        own = one[rows[there]]
        if len(own):
            squares = euclidean_distances(own, squared=True)
            total[np.ix_(there, there)] += np.exp(squares / (-2 * width**2))
    return total / max(len(points), 1)


def _error(
    K: np.ndarray,
    own: np.ndarray,
    held: np.ndarray,
    values: np.ndarray,
    actual: np.ndarray,
    penalty: float,
    log: bool,
) -> float:
    y = np.log(values) if log else values
    middle = y.mean()
    weights = np.linalg.solve(K[np.ix_(own, own)] + penalty * np.eye(len(own)), y - middle)
    predicted = K[np.ix_(held, own)] @ weights + middle
    if log:
        predicted = np.exp(np.clip(predicted, y.min() - 1, y.max() + 1))
    return float(np.abs(predicted - actual).mean())
