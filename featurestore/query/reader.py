"""From a question to arrays: which rows it means, where their vectors lie, and what was answered before."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.composition import Composition, restored
from core.errors import StrataError
from core.structure import Structure
from featurestore.query.cache import MatrixCache, key_of
from featurestore.query.feature_sets import FeatureSet
from featurestore.query.matrix import Selection, not_extracted, select, without_rejected
from featurestore.query.near import Nearest
from featurestore.query.views import Table
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import Snapshot
from featurestore.tables.vectors import (
    Column,
    Index,
    Rows,
    gather,
    index,
    index_structures,
    read_columns,
    stream,
)

_ASKED_OF = ("entries", "targets", "splits")  # tables that a matrix is made of, beside the vectors
_STRUCTURE = ("lattice", "numbers", "frac_coords")
_REMEMBERED = 8  # questions


@contextmanager
def answering() -> Iterator[None]:
    """Turn DuckDB's errors, of a query's wording or of its running, into `StrataError`."""
    try:
        yield
    except duckdb.Error as error:
        wording = isinstance(error, duckdb.ProgrammingError | duckdb.DataError | duckdb.NotSupportedError)
        hint = "" if wording else " (if files may be damaged: strata store verify)"
        raise StrataError(f"DuckDB: {error}{hint}") from error


class Reader:
    """Reads vectors of an open store; what it remembers stays right, since an open store does not change."""

    def __init__(
        self, tables: Sequence[Table], connection: Any, layout: StoreLayout, cache: MatrixCache | None
    ) -> None:
        self._tables, self._connection, self._layout, self._cache = tables, connection, layout, cache
        self._indices: dict[str, Index] = {}  # by extraction
        self._structures: Index | None = None
        self._asked: dict[str, pa.RecordBatch] = {}  # the last few questions

    def ids(self, asked: FeatureSet) -> pa.Array:
        """Return the structures that have vectors by all of a feature set's source models."""
        first, *others = (self._index(source, name) for source, name in asked.extractions.items())
        ids = pa.array(first.ids).cast(pa.string())
        for other in others:
            ids = ids.filter(pa.array(other.places(ids) >= 0))
        return ids

    def nearest(
        self, asked: FeatureSet, search: Nearest, among: pa.Array | None = None, without: str | None = None
    ) -> tuple[list[str], NDArray[np.float64]]:
        """Show the vectors of one checkpoint to a search; return what is nearest and its distances.

        among: the ids that are compared, where it is not all. Memory holds a few shards' vectors at a time.
        """
        ((source, extraction),) = asked.extractions.items()
        known = self._index(source, extraction)
        at = np.arange(len(known.ids)) if among is None else np.sort(known.places(among))
        itself = -1 if without is None else known.places(pa.array([without]))[0]
        at = at[(at >= 0) & (at != itself)]
        stream(known.parts(at), Column(asked.blocks[0].checkpoint, 0, asked.width), search.look)
        places, far = search.found()
        return [name.decode() for name in known.ids[at[places]]], far

    def structures(self, ids: pa.Array) -> list[Structure | Composition]:
        """Return the structures with these ids, in their order; an unknown id raises `StrataError`."""
        if self._structures is None:
            kept = [table.snapshot for table in self._tables if table.kind == "structures"]
            self._structures = index_structures(kept)
        wanted, absent = self._structures.locate(ids)
        if len(absent):
            raise StrataError(f"{self._layout.root} has no structure {absent[0].as_py()!r}")
        found: dict[int, Structure | Composition] = {}
        for part in wanted:
            rows = read_columns(part.path, _STRUCTURE).take(pa.array(part.rows))
            cells = zip(part.places.tolist(), *(rows[name] for name in _STRUCTURE), strict=True)
            found |= {place: restored(*(np.asarray(one.values) for one in cell)) for place, *cell in cells}
        return [found[place] for place in range(len(ids))]

    def vectors(self, ids: pa.Array, asked: FeatureSet) -> NDArray[np.float32]:
        """Return (n, d) vectors aligned to `ids`; a structure without vectors raises `StrataError`."""
        located: dict[str, list[Rows]] = {}
        for source, name in asked.extractions.items():
            located[source], absent = self._index(source, name).locate(ids)
            if len(absent):
                raise not_extracted(absent, source, name)
        return _gathered(asked, located, len(ids))

    def answer(
        self, chosen: Selection, asked: FeatureSet, with_targets: bool
    ) -> tuple[NDArray[np.float32], pa.RecordBatch]:
        """Return vectors and the rows beside them, from the cache where they are kept."""
        if self._cache is None:
            rows = self.rows(chosen, asked, with_targets)
            return self.vectors(rows["structure_id"], asked), rows
        snapshots = [
            table.snapshot
            for table in self._tables
            if (table.kind in _ASKED_OF and table.dataset in (None, chosen.dataset))
            or (table.kind == "features" and table.source_model in asked.extractions)
        ]
        key = key_of(snapshots, [*_plain(chosen), asked.blocks, asked.extraction_id, with_targets])
        kept = self._cache.get(key)
        if kept is not None:
            return kept
        rows = self.rows(chosen, asked, with_targets)
        X = self.vectors(rows["structure_id"], asked)
        self._cache.put(key, X, rows)
        return X, rows

    def rows(self, chosen: Selection, asked: FeatureSet, with_targets: bool) -> pa.RecordBatch:
        """Choose the rows of a question; those whose structure a source model rejected are left out.

        The last few answers are remembered: feature sets are asked for one after another.
        """
        question = json.dumps([*_plain(chosen), list(asked.extractions.items()), with_targets])
        if question not in self._asked:
            with answering():
                rows = select(self._connection, chosen, with_targets)
            for source, name in asked.extractions.items():
                _, absent = self._index(source, name).locate(rows["structure_id"])
                if len(absent):
                    rows = without_rejected(self._connection, rows, absent, source, name)
            if len(self._asked) >= _REMEMBERED:
                del self._asked[next(iter(self._asked))]
            self._asked[question] = rows
        return self._asked[question]

    def _index(self, source: str, extraction: str) -> Index:
        if extraction not in self._indices:
            self._indices[extraction] = index(self._features(source), extraction)
        return self._indices[extraction]

    def _features(self, source: str) -> Snapshot:
        for table in self._tables:
            if table.kind == "features" and table.source_model == source:
                return table.snapshot
        return Snapshot(self._layout.features(source), 0)


def _gathered(chosen: FeatureSet, located: Mapping[str, Sequence[Rows]], length: int) -> NDArray[np.float32]:
    """Read the blocks of each source model into one (length, d) array."""
    out = np.empty((length, chosen.width), np.float32)
    for source, wanted in located.items():
        gather(wanted, [Column(b.checkpoint, b.start, b.stop) for b in chosen.of(source)], out)
    return out


def _plain(chosen: Selection) -> list[Any]:
    return [
        chosen.dataset,
        chosen.property,
        chosen.split,
        None if chosen.parts is None else list(chosen.parts),
    ]
