"""Which kept structures look most like a given one to the source model: exact search, no index.

Reading 36,000 vectors and measuring every distance takes less than a tenth of a second, and two million
a few seconds in the memory of a few shards, so that an approximate index would win little and could lie.
"""

from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.errors import StrataError, unknown

METRICS = ("euclidean", "cosine")
_BLOCK = 1024  # vectors that are compared at once: they fit into the processor's cache
_ERROR = 1e-3  # what single precision errs by at most, and far more, over thousands of numbers
_TINY = 1e-15  # lengths whose squares single precision holds well lie above it and below its reciprocal


def distances(
    kept: NDArray[np.float32], asked: NDArray[np.float32], metric: str = "euclidean"
) -> NDArray[np.float64]:
    """Return the distance of each kept vector from the asked one, as DuckDB's functions define it.

    kept: (n, d); asked: (d,). euclidean: `array_distance`; cosine: `array_cosine_distance`, 1 - cosine, and 1
    where a vector is all zeros. Raises `StrataError` for another metric.

    >>> distances(np.float32([[0, 3], [4, 0]]), np.float32([0, 0])).tolist()
    [3.0, 4.0]
    """
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if metric == "euclidean":
        apart = kept - asked
        squares: NDArray[np.float64] = np.einsum("ij,ij->i", apart, apart, dtype=np.float64)
        return np.sqrt(squares)
    lengths = np.sqrt(np.einsum("ij,ij->i", kept, kept, dtype=np.float64)) * float(np.linalg.norm(asked))
    products = (kept @ asked).astype(np.float64)
    cosine: NDArray[np.float64] = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return 1 - np.clip(cosine, -1, 1)


def nearest(found: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the places of the `k` smallest of `found`, nearest first, equal ones in their order.

    >>> nearest(np.array([3.0, 1.0, 2.0, 1.0]), 3).tolist()
    [1, 3, 2]
    """
    k = min(k, len(found))
    if k < len(found):
        among = np.flatnonzero(found <= np.partition(found, k - 1)[k - 1])
    else:
        among = np.arange(len(found))
    return among[np.argsort(found[among], kind="stable")][:k]


class Nearest:
    """Keeps the `k` nearest of all vectors that it is shown; what it holds is `k` rows, whatever it has seen.

    Most vectors are far away by a sum in single precision alone; those that might be near are measured by
    `distances`, so that the answer is exact. Several threads may show vectors at once. Raises `StrataError`
    for k below 1, another metric, and where `vector` is not of the width that is compared.
    """

    def __init__(
        self, vector: NDArray[np.float32], width: int, k: int = 10, metric: str = "euclidean"
    ) -> None:
        if not isinstance(vector, np.ndarray | list | tuple):  # a structure of pymatgen is a sequence, too
            raise StrataError(
                "a store is asked by a vector, an entry_id or a structure_id, not by a "
                f"{type(vector).__name__}: strata.near(structure, store=…) runs the source model on a "
                "structure and asks for its vector"
            )
        if k < 1:
            raise StrataError(f"at least one neighbour, please: k is {k}")
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS)
        if np.shape(vector) != (width,):
            raise StrataError(
                f"a vector of {width} numbers is compared here, and {np.shape(vector)} was given"
            )
        self._vector, self._k, self._metric = vector, k, metric
        self._places, self._far = np.empty(0, np.int64), np.empty(0)
        self._lock = Lock()

    def look(self, places: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Take notice of (n, d) vectors and their places (n,) among all."""
        for start in range(0, len(vectors), _BLOCK):
            some = vectors[start : start + _BLOCK]
            chosen = np.flatnonzero(self._may_be_near(some))
            if chosen.size:
                far = distances(some[chosen], self._vector, self._metric)
                self._keep(places[start + chosen], far)

    def found(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the places and distances of the nearest, nearest first, equal ones by their places."""
        return self._places, self._far

    def _may_be_near(self, vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Leave out what is farther than the farthest that is kept, by more than single precision can err."""
        farthest = float(self._far[-1]) if len(self._far) == self._k else np.inf
        if not np.isfinite(farthest):
            return np.ones(len(vectors), bool)
        with np.errstate(all="ignore"):
            if self._metric == "euclidean":
                apart = vectors - self._vector
                squares = np.einsum("ij,ij->i", apart, apart)
                is_far = (squares > np.float64(farthest * farthest * (1 + _ERROR))) & np.isfinite(squares)
            else:
                lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
                cosine = vectors @ self._vector / (lengths * np.linalg.norm(self._vector.astype(np.float64)))
                is_held = (lengths > _TINY) & (lengths < 1 / _TINY)
                is_far = (1 - cosine > farthest + _ERROR) & is_held
        nearby: NDArray[np.bool_] = ~is_far
        return nearby

    def _keep(self, places: NDArray[np.int64], far: NDArray[np.float64]) -> None:
        with self._lock:
            places, far = np.concatenate([self._places, places]), np.concatenate([self._far, far])
            in_order = np.argsort(places)
            chosen = in_order[nearest(far[in_order], self._k)]
            self._places, self._far = places[chosen], far[chosen]


def structure_of(connection: Any, name: str, dataset: str | None = None) -> str:
    """Return the structure_id that a name means: itself, or the structure of an entry.

    Raises `StrataError` where nothing is called so, or entries of several structures are.
    """
    rows = connection.sql(
        "SELECT structure_id, list(DISTINCT dataset ORDER BY dataset) FROM entries "
        "WHERE entry_id = $1 OR structure_id = $1 GROUP BY structure_id ORDER BY structure_id",
        params=[name],
    ).fetchall()
    mine = [row for row in rows if dataset in row[1]] or rows
    if len(mine) == 1:
        return str(mine[0][0])
    if not mine:
        raise StrataError(
            f"{name!r} is neither a file, nor an entry_id or structure_id of the store; the view entries "
            "lists them"
        )
    listed = "; ".join(f"{', '.join(datasets)}: {structure}" for structure, datasets in mine)
    raise StrataError(f"{name!r} names several structures, say which by its structure_id: {listed}")


def described(connection: Any, ids: list[str], far: NDArray[np.float64]) -> pa.Table:
    """Put formula, size and entries beside the structures that were found.

    Columns: distance, structure_id, formula, n_atoms, entries.
    """
    marks = ", ".join("?" * len(ids)) or "NULL"  # constants reach the scan of the files, a subquery does not
    rows = connection.sql(
        "SELECT s.structure_id, any_value(s.formula), any_value(s.n_atoms), "  # noqa: S608 - values are bound
        "list(DISTINCT e.dataset || '/' || e.entry_id ORDER BY e.dataset || '/' || e.entry_id) "
        "FILTER (e.entry_id IS NOT NULL) "
        "FROM structures s LEFT JOIN entries e USING (structure_id) "
        f"WHERE s.structure_id IN ({marks}) GROUP BY s.structure_id",
        params=ids,
    ).fetchall()
    known = {row[0]: row[1:] for row in rows}
    described = [
        known.get(name, (None, None, None)) for name in ids
    ]  # vectors may lie here without a structure
    return pa.table(
        {
            "distance": pa.array(far, pa.float64()),
            "structure_id": pa.array(ids, pa.string()),
            "formula": pa.array([row[0] for row in described], pa.string()),
            "n_atoms": pa.array([row[1] for row in described], pa.int32()),
            "entries": pa.array([row[2] for row in described], pa.list_(pa.string())),
        }
    )
