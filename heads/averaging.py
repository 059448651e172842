"""Rules that weigh members by their out-of-fold predictions, and the weighted mean of what they predict."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import nnls
from sklearn.model_selection import GroupKFold

ROUNDS = 50  # of the greedy selection
FOLDS = 5

Rule = Callable[[np.ndarray, np.ndarray, Sequence[str]], np.ndarray]


def mean_of_best(P: np.ndarray, y: np.ndarray, sources: Sequence[str]) -> np.ndarray:
    """Weigh the best member of every source model alike.

    P (n, m) predictions, y (n,) values, sources (m,); returns (m,) weights that add up to 1.

    >>> mean_of_best(np.array([[1.0, 2, 5], [2, 3, 4]]), np.array([1.0, 2]), ["a", "a", "b"])
    array([0.5, 0. , 0.5])
    """
    errors = np.abs(P - y[:, None]).mean(axis=0)
    weights = np.zeros(P.shape[1])
    for source in dict.fromkeys(sources):
        own = [i for i, name in enumerate(sources) if name == source]
        weights[min(own, key=lambda i: errors[i])] = 1
    return weights / weights.sum()


def greedy(P: np.ndarray, y: np.ndarray, sources: Sequence[str]) -> np.ndarray:  # noqa: ARG001 - a rule's
    """Add the member that lowers the mean absolute error most, again and again; each may be added repeatedly.

    Caruana et al., ICML 2004. The weights are those of the round with the lowest error. See `mean_of_best`.
    """
    total, counts = np.zeros(len(y)), np.zeros(P.shape[1])
    best, weights = np.inf, counts
    for size in range(1, ROUNDS + 1):
        errors = np.abs((total[:, None] + P) / size - y[:, None]).mean(axis=0)
        member = int(errors.argmin())
        total, counts = total + P[:, member], counts + (np.arange(P.shape[1]) == member)
        if errors[member] < best:
            best, weights = errors[member], counts / size
    return weights


def stack(P: np.ndarray, y: np.ndarray, sources: Sequence[str]) -> np.ndarray:
    """Weigh members by non-negative least squares, the weights scaled to add up to 1. See `mean_of_best`."""
    weights = nnls(P - y.mean(), y - y.mean())[0]
    return weights / weights.sum() if weights.sum() > 0 else mean_of_best(P, y, sources)


RULES: dict[str, Rule] = {"mean": mean_of_best, "greedy": greedy, "stack": stack}


def weigh(rule: str, P: np.ndarray, y: np.ndarray, sources: Sequence[str]) -> np.ndarray:
    """Apply a rule to the rows that every member predicts; NaN in P: it does not. Returns (m,) weights.

    Where no row has all members, every source model's first counts the same.
    """
    whole = np.isfinite(P).all(axis=1)
    if not whole.any():
        return mean_of_best(np.zeros((1, P.shape[1])), np.zeros(1), sources)
    return RULES[rule](P[whole], y[whole], sources)


def combined(P: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, int]:
    """Average (n, m) predictions; a member without one (NaN) is left out of that row's mean.

    Returns (n,) values, NaN where no member has any, and the number of rows from which a member is missing.

    >>> combined(np.array([[1.0, 3.0], [np.nan, 3.0]]), np.array([0.5, 0.5]))
    (array([2., 3.]), 1)
    """
    P, weights = P[:, weights > 0], weights[weights > 0]
    there = np.isfinite(P)
    total = there @ weights
    with np.errstate(invalid="ignore"):
        values = np.where(there, P, 0) @ weights / total
    return values, int((~there).any(axis=1).sum())


def cross_fitted(
    rule: str, P: np.ndarray, y: np.ndarray, sources: Sequence[str], groups: np.ndarray
) -> np.ndarray:
    """Return (n,) values of committees, for each fifth of the rows by weights from the other four.

    groups (n,): rows of one group lie in the same fifth.
    """
    values = np.empty(len(y))
    count = min(FOLDS, len(np.unique(groups)))
    if count == 1:  # no other rows to depend on: all members alike
        return combined(P, np.full(P.shape[1], 1 / P.shape[1]))[0]
    folds = GroupKFold(count, shuffle=True, random_state=0)
    for rest, out in folds.split(P, groups=groups):
        values[out] = combined(P[out], weigh(rule, P[rest], y[rest], sources))[0]
    return values
