"""What a model says of many structures of a store, in one pass over their vectors."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from core.threads import cores, ordered
from heads.domain import Place
from zoo.candidates import Candidates
from zoo.model import Asked, Model, known_entries

READ = 2048  # structures whose vectors are read at a time
_PIECE = 512  # rows that a thread works on: their arrays are small enough to be used again and again
PREDICTED = pa.schema(
    [
        *(pa.field(name, pa.float64()) for name in ("value", "low", "high", "expected_error", "chance")),
        pa.field("domain", pa.string()),
        pa.field("percentile", pa.float64()),
        pa.field("in_training", pa.bool_()),
        pa.field("near", pa.string()),
        pa.field("near_distance", pa.float64()),
    ]
)


@dataclass(frozen=True, eq=False, slots=True)
class _Piece:
    """Structures on their way through a thread: vectors by source model, and what a network says of them."""

    asked: Asked
    vectors: dict[str, np.ndarray]
    own: np.ndarray | None


def predict(
    candidates: Candidates,
    rows: np.ndarray,
    window: tuple[float, float] | None,
    level: float,
    advance: Callable[[int], None],
) -> tuple[pa.Table, float]:
    """Return the columns `PREDICTED`, a row for each of the places `rows`, and the level that is reached.

    window: the chance to lie in it is counted; NULL without one. Values are NaN where vectors turn out to be
    of no use. advance: told how many more are done.
    """
    model = candidates.model
    training, intervals = model.calibration.rows, model.calibration.intervals
    parts, reached = [PREDICTED.empty_table()], level
    with closing(ordered(partial(_judge, model), _read(candidates, rows), _threads(model))) as judged:
        for value, spread, place, seen in judged:
            columns = {"value": value, "percentile": place.percentile, "domain": place.verdicts}
            sure = np.where(np.isfinite(value), value, 1.0)
            if intervals is not None:
                hard = intervals.difficulty(place, sure, spread)
                found = intervals(place, sure, spread, level, hard)
                reached = found.level
                columns |= {"low": found.low, "high": found.high, "expected_error": found.error}
                if window is not None:
                    columns["chance"] = intervals.chance(sure, hard, *window)
            columns["in_training"] = np.array([bool(entries) for entries in seen])
            columns["near"] = np.array([training[row].entry_id for row in place.near[:, 0]], object)
            columns["near_distance"] = place.far[:, 0]
            nothing = [None] * len(value)
            arrays = [pa.array(columns.get(field.name, nothing), field.type) for field in PREDICTED]
            parts.append(pa.Table.from_arrays(arrays, schema=PREDICTED))
            advance(len(value))
    return pa.concat_tables(parts).combine_chunks(), reached


def cut(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut an array into pieces of up to `size`.

    >>> [piece.tolist() for piece in cut(np.arange(5), 2)]
    [[0, 1], [2, 3], [4]]
    """
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _judge(model: Model, piece: _Piece) -> tuple[np.ndarray, np.ndarray, Place, list[str]]:
    """Return of m structures values and spread (m,), their place, and the training entries that each is."""
    if piece.own is None:
        value, spread = model.values(piece.vectors)
    else:
        value, spread = piece.own, np.zeros(len(piece.own))
    place = model.calibration.domain.place(piece.vectors, piece.asked.elements)
    return value, spread, place, known_entries(model, piece.asked, piece.vectors)


def _read(candidates: Candidates, rows: np.ndarray) -> Iterator[_Piece]:
    for some in cut(rows, READ):
        vectors, own = candidates.vectors(some)
        for start in range(0, len(some), _PIECE):
            span = slice(start, start + _PIECE)
            asked, said = candidates.asked(some[span]), None if own is None else own[span]
            yield _Piece(asked, {name: X[span] for name, X in vectors.items()}, said)


def _threads(model: Model) -> int:
    """As many as cores where all heads are arithmetic on arrays; other libraries have threads already."""
    heads = [getattr(member.head, "head", member.head) for member in model.members]
    plain = model.network is None and all(getattr(head, "shallow", False) for head in heads)
    return cores() if plain else 1
