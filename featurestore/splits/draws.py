"""How parts are drawn: pure functions from groups of rows, and a seed, to the part of each row.

Rows of one group are never parted. Seeds go to NumPy's default generator and nowhere else.
"""

import numpy as np
from numpy.typing import NDArray

from core.errors import StrataError

FOLDS = 9
FEWEST = 5  # rows (or groups of rows) below which a tenth rounds to none
RUNGS = 5  # of a ladder: whole, 1/2, 1/4, 1/8, 1/16
TRAIN, VAL, TEST = "train", "val", "test"
NONE = ""  # in no part

Parts = NDArray[np.str_]


class TooFewRows(StrataError):  # noqa: N818 - what is the case, not that it is an error
    """There are too few rows, or groups of rows, for each part of a split to have some."""


def tenth(n: int) -> int:
    """Return the size of a 10 % part of `n` rows: a tenth, halves rounded up.

    >>> [tenth(n) for n in (5, 14, 15, 1056)]
    [1, 1, 2, 106]
    """
    return (n + 5) // 10


def draw_80_10_10(groups: NDArray[np.int64], seed: int) -> Parts:
    """Draw test, validation and training parts of 10, 10 and 80 %; rows of one group stay together.

    Groups are shuffled and gone through once: a group goes to whichever of test and validation lacks
    more of its `tenth(n)` rows, if it fits there, else to training. Where every row is its own group
    the sizes are exact; else a part may fall short, and it never overshoots, except that a part into
    which no group fits gets the smallest one.

    groups: (n,) group of each row, numbered from 0. Returns (n,) part of each row.
    Raises `TooFewRows` below five groups.
    """
    count = _count(groups, FEWEST)
    order = np.random.default_rng(seed).permutation(count)
    sizes = np.bincount(groups, minlength=count)
    part_of = np.full(count, TRAIN, dtype="<U5")
    left = dict.fromkeys((TEST, VAL), tenth(len(groups)))
    for group in order:
        part = max(left, key=left.__getitem__)
        if sizes[group] <= left[part]:
            part_of[group] = part
            left[part] -= sizes[group]
        if not any(left.values()):
            break
    for name in left:
        if not (part_of == name).any():
            free = order[part_of[order] == TRAIN]
            part_of[free[np.argmin(sizes[free])]] = name
    return part_of[groups]


def draw_folds(groups: NDArray[np.int64], seed: int) -> list[Parts]:
    """Deal all rows into nine parts; fold k tests on part k, validates on part k + 1, trains on the rest.

    Groups are shuffled and laid end to end, and a group goes to the ninth in which its middle lies.
    Returns nine (n,) arrays. Raises `TooFewRows` where a part would be empty.
    """
    n, count = len(groups), _count(groups, FOLDS)
    order = np.random.default_rng(seed).permutation(count)
    sizes = np.bincount(groups, minlength=count)[order]
    middles = np.cumsum(sizes) - sizes / 2
    ninth_of = np.empty(count, np.int64)
    ninth_of[order] = (middles * FOLDS / n).astype(np.int64)
    ninths = ninth_of[groups]
    if len(np.unique(ninths)) < FOLDS:
        raise TooFewRows(
            f"{n} rows in {count} groups leave a part of this split empty: some groups are too large for it"
        )
    return [
        np.where(ninths == fold, TEST, np.where(ninths == (fold + 1) % FOLDS, VAL, TRAIN))
        for fold in range(FOLDS)
    ]


def _count(groups: NDArray[np.int64], fewest: int) -> int:
    count = int(groups.max()) + 1 if len(groups) else 0
    if count < fewest:
        raise TooFewRows(
            f"{len(groups)} rows in {count} groups are too few for this split: "
            f"it needs {fewest} groups at least"
        )
    return count


def draw_lowest(groups: NDArray[np.int64], values: NDArray[np.float64], seed: int) -> Parts:
    """Hold out the tenth of lowest value as the test part; draw a validation part from the rest.

    Groups are ordered by their mean value, those of equal mean by first row, and taken as long as they
    fit into `tenth(n)` rows (one at least). Only the validation part depends on the seed.

    groups, values: (n,). Returns (n,) part of each row. Raises `TooFewRows` below five groups.
    """
    count = _count(groups, FEWEST)
    sizes = np.bincount(groups, minlength=count)
    means = np.bincount(groups, values, count) / sizes
    order = np.argsort(means, kind="stable")
    wanted = tenth(len(groups))
    part_of = np.full(count, TRAIN, dtype="<U5")
    held = max(1, int(np.searchsorted(np.cumsum(sizes[order]), wanted, side="right")))
    part_of[order[:held]] = TEST
    left = wanted
    free = np.random.default_rng(seed).permutation(order[held:])
    for group in free:
        if sizes[group] <= left:
            part_of[group] = VAL
            left -= sizes[group]
    if not (part_of == VAL).any():
        part_of[free[np.argmin(sizes[free])]] = VAL
    return part_of[groups]


def draw_validation(parts: Parts, groups: NDArray[np.int64], seed: int) -> Parts:
    """Draw a validation part, a tenth of all rows that lie in a part, from the training part of a split.

    parts, groups: (n,) part and group of each row. Groups stay together, and some always remain to train on.
    Returns (n,) part of each row. Raises `TooFewRows` where there is one training group only.
    """
    training = parts == TRAIN
    names, sizes = np.unique(groups[training], return_counts=True)
    if len(names) < 2:
        raise TooFewRows("a training part of one group leaves nothing for a validation part")
    order = np.random.default_rng(seed).permutation(len(names))
    filled = np.cumsum(sizes[order])
    wanted = tenth(int((parts != NONE).sum()))
    count = min(max(1, int(np.searchsorted(filled, wanted, side="right"))), len(names) - 1)
    return np.where(training & np.isin(groups, names[order[:count]]), VAL, parts)


def draw_ladder(groups: NDArray[np.int64], seed: int) -> list[Parts]:
    """Draw ever smaller training parts beside one validation and one test part.

    Rung 0 is `draw_80_10_10` with the same seed; rung k keeps the first 1/2^k of its training groups, in
    an order drawn once, so that each rung holds the next. What a rung leaves out lies in no part. Rungs
    of fewer than five training rows are left out.
    """
    whole = draw_80_10_10(groups, seed)
    training = np.unique(groups[whole == TRAIN])
    order = np.random.default_rng([seed, 1]).permutation(training)
    rungs = []
    for rung in range(RUNGS):
        kept = order[: -(-len(order) // 2**rung)]
        parts = np.where((whole == TRAIN) & ~np.isin(groups, kept), NONE, whole)
        if rung and (parts == TRAIN).sum() < FEWEST:
            break
        rungs.append(parts)
    return rungs
