"""Tests and summaries of errors: which of two methods is better, by how much, and how sure that is.

Differences are transfer minus scratch (or any method minus another), so that a negative one is a gain.
Exact distributions come from SciPy, MAE and R² from scikit-learn; the corrected resampled t-test is our own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn import metrics

from core.errors import StrataError

Alternative = Literal["two-sided", "less"]
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Resampled:
    """A mean over resampled splits with its interval, and the test of whether it is 0."""

    mean: float
    low: float | None
    high: float | None
    statistic: float | None
    p_value: float | None
    n: int


@dataclass(frozen=True, slots=True)
class SignTest:
    """How often a difference was a gain, and how likely as many are by the toss of a coin.

    `low` and `high` bound the 95 % interval (Clopper-Pearson) of the share of gains; ties count for neither.
    """

    gains: int
    losses: int
    ties: int
    p_value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class WilcoxonTest:
    """The signed-rank statistic (sum of the ranks of positive differences) and its one-tailed p."""

    statistic: float | None
    p_value: float | None
    n: int


@dataclass(frozen=True, slots=True)
class CriticalDifference:
    """Average ranks of methods over targets (1 is best), in their order, and what sets them apart.

    `groups` are the longest runs of methods whose ranks differ by no more than `distance`.
    """

    methods: tuple[str, ...]
    ranks: tuple[float, ...]
    n: int
    distance: float
    alpha: float
    statistic: float  # Friedman's χ²
    p_value: float
    groups: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Quartiles:
    """How values are spread; `sd` divides by n - 1 and is None of one value."""

    n: int
    mean: float
    sd: float | None
    minimum: float
    q1: float
    median: float
    q3: float
    maximum: float


def _finite(values: ArrayLike, what: str) -> NDArray[np.float64]:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or found.size == 0:
        raise StrataError(f"{what}: expected a list of numbers, got shape {found.shape}")
    if bad := np.flatnonzero(~np.isfinite(found)).tolist():
        raise StrataError(f"{what}: number {bad[0]} of {found.size} is {found[bad[0]]}: not finite")
    return found


def corrected_t_test(
    differences: ArrayLike,
    n_train: float,
    n_test: float,
    *,
    confidence: float = CONFIDENCE,
    alternative: Alternative = "two-sided",
) -> Resampled:
    """Test differences of J resampled splits or folds by the corrected resampled t-test.

    Training parts of different splits share rows, so that the usual variance s²/J is too small; it is
    replaced by (1/J + n_test/n_train) s², with J - 1 degrees of freedom (Nadeau & Bengio, Mach. Learn. 52,
    239, 2003, equation 9). The interval is two-sided at `confidence` whatever the alternative.

    differences: (J,) in one unit; n_train, n_test: rows of the parts (means where folds differ by a row).
    One split has a mean and nothing else. Where all differences are equal the interval is that point, and
    p is 1 at zero, else 0 (or 1 where the alternative lies on the other side).

    >>> done = corrected_t_test([-1.0, -2.0, -3.0], n_train=90, n_test=10)
    >>> round(done.statistic, 6), done.n
    (-3.0, 3)
    """
    d = _finite(differences, "differences")
    if n_train <= 0 or n_test <= 0:
        raise StrataError(f"the parts have rows: got n_train {n_train} and n_test {n_test}")
    mean, n = float(d.mean()), int(d.size)
    if n < 2:
        return Resampled(mean, None, None, None, None, n)
    error = math.sqrt((1 / n + n_test / n_train) * float(d.var(ddof=1)))
    freedom = n - 1
    statistic = mean / error if error else math.copysign(math.inf, mean)
    if mean == 0:
        statistic = 0.0
    below = float(stats.t.cdf(statistic, freedom))
    p = below if alternative == "less" else 2 * float(stats.t.sf(abs(statistic), freedom))
    if mean == 0 and error == 0:
        p = 1.0
    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return Resampled(mean, mean - half, mean + half, statistic, p, n)


def sign_test(differences: ArrayLike) -> SignTest:
    """Test, one-tailed, that gains (negative differences) are more than half (Demšar 2006, 3.1.4).

    Units do not matter, so that targets of different datasets may stand together.

    >>> round(sign_test([-1.0] * 104 + [1.0] * 11).p_value * 1e20, 2)
    1.91
    """
    d = _finite(differences, "differences")
    gains, losses = int((d < 0).sum()), int((d > 0).sum())
    ties = int(d.size) - gains - losses
    if gains + losses == 0:
        return SignTest(0, 0, ties, None, None, None)
    test = stats.binomtest(gains, gains + losses, 0.5, alternative="greater")
    interval = stats.binomtest(gains, gains + losses, 0.5).proportion_ci(CONFIDENCE)
    return SignTest(gains, losses, ties, float(test.pvalue), float(interval.low), float(interval.high))


def wilcoxon(differences: ArrayLike) -> WilcoxonTest:
    """Test, one-tailed, that differences lie below 0: Wilcoxon's signed ranks; zeros are left out.

    Sizes are compared, so that differences of several units must be made relative first; for MAEs the
    logarithm of their ratio is (halving counts as much as doubling).

    >>> wilcoxon([-1.0, -2.0, -3.0, -4.0, -5.0]).p_value
    0.03125
    """
    d = _finite(differences, "differences")
    d = d[d != 0]
    if d.size == 0:
        return WilcoxonTest(None, None, 0)
    done = stats.wilcoxon(d, alternative="less")
    return WilcoxonTest(float(done.statistic), float(done.pvalue), int(d.size))


def critical_difference(errors: ArrayLike, methods: Sequence[str], alpha: float = 0.05) -> CriticalDifference:
    """Rank methods on every target and find which cannot be told apart (Demšar 2006, 3.2.2).

    errors: (n targets, k methods), lower is better; ties share a rank. Friedman's χ² (corrected for ties)
    asks whether the methods differ at all, Nemenyi's critical difference q √(k(k+1)/6n) which do.

    Raises `StrataError` for fewer than two targets or three methods: two are compared by `wilcoxon`.
    """
    table = np.asarray(errors, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(methods) or not np.isfinite(table).all():
        raise StrataError(f"errors: expected finite numbers, a column for each of {len(methods)} methods")
    n, k = table.shape
    if n < 2 or k < 3:
        raise StrataError(f"{k} methods on {n} targets: a critical difference needs 3 methods on 2 targets")
    ranks = stats.rankdata(table, axis=1).mean(axis=0)
    if (np.ptp(table, axis=1) == 0).all():
        statistic, p = 0.0, 1.0  # every method ties with every other on every target
    else:
        friedman = stats.friedmanchisquare(*table.T)
        statistic, p = float(friedman.statistic), float(friedman.pvalue)
    q = float(stats.studentized_range.ppf(1 - alpha, k, math.inf)) / math.sqrt(2)
    distance = q * math.sqrt(k * (k + 1) / (6 * n))
    order = np.argsort(ranks, kind="stable")
    names = tuple(methods[i] for i in order)
    ordered = tuple(float(ranks[i]) for i in order)
    return CriticalDifference(
        names, ordered, n, distance, alpha, statistic, p, _groups(names, ordered, distance)
    )


def _groups(names: Sequence[str], ranks: Sequence[float], distance: float) -> tuple[tuple[str, ...], ...]:
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(i for i in range(first, len(ranks)) if ranks[i] - ranks[first] <= distance)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return tuple(tuple(names[first : last + 1]) for first, last in found)


def quartiles(values: ArrayLike) -> Quartiles:
    """Summarise values: mean, sd, minimum, quartiles (linear between order statistics), maximum.

    >>> quartiles([1.0, 2.0, 3.0, 10.0])
    Quartiles(n=4, mean=4.0, sd=4.08248290463863, minimum=1.0, q1=1.75, median=2.5, q3=4.75, maximum=10.0)
    """
    v = _finite(values, "values")
    q1, median, q3 = (float(q) for q in np.quantile(v, [0.25, 0.5, 0.75]))
    sd = float(v.std(ddof=1)) if v.size > 1 else None
    return Quartiles(int(v.size), float(v.mean()), sd, float(v.min()), q1, median, q3, float(v.max()))


def percent_change(reference: float, value: float) -> float | None:
    """Return by how many per cent `value` lies above `reference`; None where that is 0.

    >>> percent_change(0.5, 0.25)
    -50.0
    """
    return None if reference == 0 else 100 * (value - reference) / reference


def paired_change(
    reference: ArrayLike, errors: ArrayLike, resamples: int = 1000, seed: int = 0
) -> tuple[float | None, float | None]:
    """Return the 95 % interval of the % change of a MAE, by resampling the entries both errors are of.

    reference, errors: (n,) absolute errors of the same entries. It says how the choice of test entries
    moves the change, not how another training would.
    """
    a, b = _finite(reference, "reference"), _finite(errors, "errors")
    if a.shape != b.shape:
        raise StrataError(f"paired errors are of the same entries: got {a.size} and {b.size}")
    if not resamples or a.size < 2:
        return None, None
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, a.size, (resamples, a.size))
    before, after = a[rows].mean(axis=1), b[rows].mean(axis=1)
    known = before > 0
    if not known.any():
        return None, None
    low, high = np.quantile(100 * (after[known] / before[known] - 1), [0.025, 0.975])
    return float(low), float(high)


def mae(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean absolute error of (n,) predictions, in the target's unit."""
    return float(metrics.mean_absolute_error(actual, predicted))


def mad(values: ArrayLike) -> float:
    """Return the mean absolute deviation of (n,) values from their own mean.

    MAD / MAE says how many times better than a constant a model is (above 5 is called good).

    >>> mad([1.0, 2.0, 6.0])
    2.0
    """
    v = _finite(values, "values")
    return float(np.abs(v - v.mean()).mean())


def r2(actual: ArrayLike, predicted: ArrayLike) -> float | None:
    """Return the coefficient of determination; None of a constant target.

    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 6.0])
    -3.5
    """
    y = np.asarray(actual, dtype=np.float64)
    if np.ptp(y) == 0 or not np.any((y - y.mean()) ** 2):  # squares of tiny differences may all be 0
        return None
    return float(metrics.r2_score(y, predicted))


def spearman(actual: ArrayLike, predicted: ArrayLike) -> float | None:
    """Return Spearman's ρ, ties sharing ranks; None where a side is constant.

    >>> spearman([1.0, 2.0, 3.0], [1.0, 9.0, 6.0])
    0.5
    """
    y, p = np.asarray(actual, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if np.ptp(y) == 0 or np.ptp(p) == 0:
        return None
    return float(stats.spearmanr(y, p).statistic)
