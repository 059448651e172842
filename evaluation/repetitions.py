"""Repetitions of one way of splitting, its seeds and folds, brought together: a mean with its spread.

The stage `evaluate`, the page and the experiments say the same of them, by these functions.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from evaluation.statistics import corrected_t_test


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over n repetitions, their standard deviation (n - 1), and the 95 % interval of the mean.

    `sd`, `low` and `high` are None of one repetition.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    n: int


def spread(
    values: Iterable[float | None],
    n_train: float,
    n_test: float,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> Spread | None:
    """Bring one number per repetition together; None where no repetition has any.

    n_train, n_test: rows of the parts (their means), for the interval: that of the corrected resampled
    t-test, since the training parts of repetitions share rows. within: what the quantity can be, where the
    interval is cut.

    >>> spread([1.0, 3.0, None], n_train=80, n_test=10).sd
    1.4142135623730951
    """
    known = [value for value in values if value is not None]
    if not known:
        return None
    found = corrected_t_test(known, n_train, n_test)
    sd = float(np.std(known, ddof=1)) if found.n > 1 else None
    ends = (found.low, found.high)
    low, high = (None if end is None else min(max(end, within[0]), within[1]) for end in ends)
    return Spread(found.mean, sd, low, high, found.n)


def most_often(names: Iterable[str | None]) -> str | None:
    """Name each once, the most frequent first, alike ones by name; None where there is none.

    >>> most_often(["ridge", "svr", None, "svr"])
    'svr, ridge'
    """
    counts = Counter(filter(None, names))
    return ", ".join(sorted(counts, key=lambda name: (-counts[name], name))) or None
