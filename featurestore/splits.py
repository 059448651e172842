"""Train, validation and test parts as rows: which entry lies where, for each way and seed of splitting.

Parts are drawn over the entries that have a value of the property, in the provider's order, by NumPy's
default generator. A scheme is a function from `Rows` and a seed to one array of parts a fold.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.errors import StrataError, unknown
from featurestore.layout import StoreLayout
from featurestore.schema import SPLITS
from featurestore.store import open_store
from featurestore.writer import TableWriter

CODE = 1  # raised by hand when a scheme draws other parts from the same rows and seed
FOLDS = 9
FEWEST = 5  # rows (or groups of rows) below which a tenth rounds to none
TRAIN, VAL, TEST = "train", "val", "test"

Parts = NDArray[np.str_]


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """What a scheme may look at: the entries that have a value, in the provider's order."""

    entry_ids: Sequence[str]
    structure_ids: Sequence[str]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.entry_ids)


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
    Raises `StrataError` below five groups.
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
    Returns nine (n,) arrays. Raises `StrataError` where a part would be empty.
    """
    n, count = len(groups), _count(groups, FOLDS)
    order = np.random.default_rng(seed).permutation(count)
    sizes = np.bincount(groups, minlength=count)[order]
    middles = np.cumsum(sizes) - sizes / 2
    ninth_of = np.empty(count, np.int64)
    ninth_of[order] = (middles * FOLDS / n).astype(np.int64)
    ninths = ninth_of[groups]
    if len(np.unique(ninths)) < FOLDS:
        raise StrataError(
            f"{n} rows in {count} groups leave a part of this split empty: some groups are too large for it"
        )
    return [
        np.where(ninths == fold, TEST, np.where(ninths == (fold + 1) % FOLDS, VAL, TRAIN))
        for fold in range(FOLDS)
    ]


def _count(groups: NDArray[np.int64], fewest: int) -> int:
    count = int(groups.max()) + 1 if len(groups) else 0
    if count < fewest:
        raise StrataError(
            f"{len(groups)} rows in {count} groups are too few for this split: "
            f"it needs {fewest} groups at least"
        )
    return count


def _by_structure(rows: Rows) -> NDArray[np.int64]:
    """Number the structures by first appearance, so that the draw does not hang on their ids."""
    codes = pa.array(rows.structure_ids, pa.string()).dictionary_encode().indices
    return codes.to_numpy().astype(np.int64)


def _random(rows: Rows, seed: int) -> list[Parts]:
    """80:10:10 by structure: entries that share a structure lie in one part."""
    return [draw_80_10_10(_by_structure(rows), seed)]


def _random_rows(rows: Rows, seed: int) -> list[Parts]:
    """80:10:10 by entry, as the paper draws it: entries of one structure may lie in two parts."""
    return [draw_80_10_10(np.arange(len(rows)), seed)]


def _kfold(rows: Rows, seed: int) -> list[Parts]:
    """Nine folds over all rows, by structure: test part k, validation part k + 1."""
    return draw_folds(_by_structure(rows), seed)


SCHEMES: dict[str, Callable[[Rows, int], list[Parts]]] = {
    "random": _random,
    "random_rows": _random_rows,
    "kfold": _kfold,
}


def draw(scheme: str, rows: Rows, seed: int) -> list[Parts]:
    """Draw one scheme with one seed; returns an (n,) array of parts for each fold.

    Raises `StrataError` for an unknown scheme, and where a part would be empty.
    """
    if scheme not in SCHEMES:
        raise unknown("split scheme", scheme, SCHEMES)
    if seed < 0:
        raise StrataError(f"a split's seed is 0 or more, got {seed}")
    return SCHEMES[scheme](rows, seed)


def split_dataset(root: str | Path, dataset: str, schemes: Sequence[str], seeds: Sequence[int]) -> int:
    """Draw and keep every scheme and seed for every property of a dataset; return how many shards are new.

    What is there already is left alone, and splits that are no longer asked for are dropped. Raises
    `StrataError` naming the property where it has too few values.
    """
    store = open_store(root)
    names = store.properties(dataset)
    new, keys = 0, []
    with TableWriter(StoreLayout(Path(root)).splits(dataset), SPLITS, "split") as writer:
        for name in names:
            rows = _rows(store.connection, dataset, name)
            key = _key(dataset, name, rows, schemes, seeds)
            keys.append(key)
            if key not in writer.committed:
                new += writer.commit(key, _table(dataset, name, rows, schemes, seeds))
        writer.retain(keys)
    return new


def _rows(connection: Any, dataset: str, property_name: str) -> Rows:
    found = connection.sql(
        "SELECT t.entry_id, t.structure_id, t.value FROM targets t JOIN entries e USING (dataset, entry_id) "
        "WHERE t.dataset = ? AND t.property = ? ORDER BY e.position",
        params=[dataset, property_name],
    ).to_arrow_table()
    return Rows(found["entry_id"].to_pylist(), found["structure_id"].to_pylist(), found["value"].to_numpy())


def _key(dataset: str, property_name: str, rows: Rows, schemes: Sequence[str], seeds: Sequence[int]) -> str:
    asked = [CODE, dataset, property_name, list(schemes), list(seeds)]
    digest = hashlib.sha256(json.dumps(asked).encode())
    digest.update(json.dumps([rows.entry_ids, rows.structure_ids]).encode())
    digest.update(np.ascontiguousarray(rows.values).tobytes())
    return digest.hexdigest()


def _table(
    dataset: str, property_name: str, rows: Rows, schemes: Sequence[str], seeds: Sequence[int]
) -> pa.Table:
    pieces = []
    for scheme in schemes:
        for seed in seeds:
            try:
                folds = draw(scheme, rows, seed)
            except StrataError as error:
                raise StrataError(f"split {scheme} of {dataset}/{property_name}: {error}") from None
            for fold, parts in enumerate(folds):
                columns = {
                    "scheme": _constant(scheme, len(rows)),
                    "seed": pa.array(np.full(len(rows), seed), pa.int64()),
                    "dataset": _constant(dataset, len(rows)),
                    "property": _constant(property_name, len(rows)),
                    "entry_id": pa.array(rows.entry_ids, pa.string()),
                    "fold": pa.array(np.full(len(rows), fold), pa.int32()),
                    "part": pa.array(parts, pa.string()),
                }
                pieces.append(pa.Table.from_pydict(columns, SPLITS))
    return pa.concat_tables(pieces) if pieces else SPLITS.empty_table()


def _constant(text: str, n: int) -> pa.Array:
    return pa.array(np.full(n, text), pa.string())
