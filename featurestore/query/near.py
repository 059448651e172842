"""Which kept structures look most like a given one to the source model: exact search, no index.

Reading 36,000 vectors and measuring every distance takes less than a tenth of a second, so that an
approximate index would win nothing and could lie.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.errors import StrataError, unknown

METRICS = ("euclidean", "cosine")


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


def neighbours(
    connection: Any,
    ids: pa.Array,
    kept: NDArray[np.float32],
    vector: NDArray[np.float32],
    k: int = 10,
    metric: str = "euclidean",
) -> pa.Table:
    """Return the `k` structures among `ids` (n,) whose vectors `kept` (n, d) lie nearest to `vector` (d,).

    Columns: distance, structure_id, formula, n_atoms, entries. Raises `StrataError` for k below 1, another
    width and another metric.
    """
    if not isinstance(vector, np.ndarray | list | tuple):  # a structure of pymatgen is a sequence, too
        raise StrataError(
            f"a store is asked by a vector, an entry_id or a structure_id, not by a {type(vector).__name__}: "
            "strata.near(structure, store=…) runs the source model on a structure and asks for its vector"
        )
    if k < 1:
        raise StrataError(f"at least one neighbour, please: k is {k}")
    if np.shape(vector) != kept.shape[1:]:
        raise StrataError(
            f"a vector of {kept.shape[1]} numbers is compared here, and {np.shape(vector)} was given"
        )
    far = distances(kept, vector, metric)
    places = nearest(far, k)
    return _described(connection, ids.take(pa.array(places)).to_pylist(), far[places])


def _described(connection: Any, ids: list[str], far: NDArray[np.float64]) -> pa.Table:
    """Put formula, size and entries beside the structures that were found."""
    rows = connection.sql(
        "SELECT s.structure_id, any_value(s.formula), any_value(s.n_atoms), "
        "list(DISTINCT e.dataset || '/' || e.entry_id ORDER BY e.dataset || '/' || e.entry_id) "
        "FILTER (e.entry_id IS NOT NULL) "
        "FROM structures s LEFT JOIN entries e USING (structure_id) "
        "WHERE s.structure_id IN (SELECT unnest(?::VARCHAR[])) GROUP BY s.structure_id",
        params=[ids],
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
