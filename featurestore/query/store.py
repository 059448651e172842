"""`FeatureStore`: ask a store by SQL, or for arrays that a head can be fitted on."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.errors import StrataError, unknown
from featurestore.query.cache import MatrixCache, key_of
from featurestore.query.feature_sets import checkpoints_of
from featurestore.query.matrix import (
    Matrix,
    Selection,
    SplitKey,
    drawn_splits,
    not_extracted,
    select,
    without_rejected,
)
from featurestore.query.views import connect, read_tables
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import Snapshot
from featurestore.tables.vectors import Index, Rows, gather, index

if TYPE_CHECKING:
    from core.structure import Structure

DEFAULT_FEATURE_SET = "atom_bond_angle_last"
_ASKED_OF = ("features", "entries", "targets", "splits")  # tables that a matrix is made of
_REMEMBERED = 8  # questions
_READING = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)


@contextmanager
def answering() -> Iterator[None]:
    """Turn DuckDB's errors, of a query's wording or of its running, into `StrataError`."""
    try:
        yield
    except duckdb.Error as error:
        wording = isinstance(error, duckdb.ProgrammingError | duckdb.DataError | duckdb.NotSupportedError)
        hint = "" if wording else " (if files may be damaged: strata store verify)"
        raise StrataError(f"DuckDB: {error}{hint}") from error


class FeatureStore:
    """A store opened for reading, as it stood at that moment; writers do not disturb it.

    Opening reads every table's log and checks that each shard is there in full; a missing or
    truncated one raises `StrataError`. Version `at` (see the view `log`) opens it as it was.

    With `cache`, answers of `matrix` and `inputs` are kept beside the tables (featurestore/query/cache.py):
    asked again, in this process or another, they come at the speed of one plain read.
    """

    def __init__(self, path: str | Path = "store", at: int | None = None, *, cache: bool = False) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise StrataError(
                f"there is no store at {self.path.resolve()}; run `dvc repro`, or from the project's folder"
            )
        self.layout = StoreLayout(self.path)
        self._tables, commits = read_tables(self.layout, at)
        self.version = len(commits)
        self.connection: Any = connect(self.layout, self._tables, commits)
        self._cache = MatrixCache(self.path) if cache else None
        self._units: dict[str, dict[str, str]] = {}  # property → unit, by dataset
        self._indices: dict[str, Index] = {}  # by extraction
        self._asked: dict[str, tuple[pa.RecordBatch, list[Rows]]] = {}  # the last few questions

    def __repr__(self) -> str:
        counts = "SELECT (SELECT count(*) FROM structures), (SELECT count(*) FROM extractions)"
        structures, extractions = self.connection.sql(counts).fetchall()[0]
        datasets = ", ".join(self.datasets()) or "no datasets"
        return (
            f"FeatureStore({str(self.path)!r}, version {self.version}: {datasets}; "
            f"{structures:,} structures, {extractions} extraction{'' if extractions == 1 else 's'})"
        )

    def sql(self, query: str, params: Sequence[Any] | None = None) -> Any:
        """Ask one question; returns a DuckDB relation with `.df()`, `.arrow()`, `.fetchall()`.

        Values belong in `params`, one for each `?`. Only questions are allowed: whatever would
        write or change something raises `StrataError`, as do DuckDB's own errors.
        """
        with answering():
            statements = self.connection.extract_statements(query)
            if len(statements) != 1:
                raise StrataError(f"one question at a time, please: {len(statements)} statements were given")
            if statements[0].type not in _READING:
                raise StrataError(
                    f"only questions (SELECT) are answered, and this is {statements[0].type.name}; "
                    "write results with --format and -o"
                )
            return self.connection.sql(query, params=list(params) if params else None)

    def datasets(self) -> list[str]:
        """Return the names of the datasets that have entries, sorted."""
        return sorted(
            table.dataset
            for table in self._tables
            if table.kind == "entries" and table.dataset is not None and table.snapshot.rows
        )

    def properties(self, dataset: str) -> dict[str, str]:
        """Return a dataset's properties and their units."""
        self._need_dataset(dataset)
        if dataset not in self._units:
            with answering():
                rows = self.connection.sql(
                    "SELECT DISTINCT property, unit FROM targets WHERE dataset = ? ORDER BY property",
                    params=[dataset],
                ).fetchall()
            self._units[dataset] = dict(rows)
        return dict(self._units[dataset])

    def extractions(self) -> pa.Table:
        """Return the extractions: extraction_id, source_model, structures, provenance (JSON)."""
        return self._extractions

    def need_extraction(self, extraction: str | None = None) -> str:
        """Return the extraction that is meant: the one named, or the only one.

        Raises `StrataError` listing them where there are several and none is named.
        """
        known = self.extractions()
        ids: list[str] = known["extraction_id"].to_pylist()
        if extraction is None and len(ids) == 1:
            return ids[0]
        if extraction is not None and extraction in ids:
            return extraction
        if not ids:
            raise StrataError(f"{self.path} has no vectors yet; run: strata extract")
        if extraction is not None:
            raise unknown("extraction", extraction, ids, str(self.path))
        listed = "; ".join(
            f"{name} ({model}, {count} structures)"
            for name, model, count in zip(
                *(known[column].to_pylist() for column in known.column_names[:3]), strict=True
            )
        )
        raise StrataError(f"{self.path} has {len(ids)} extractions, say which one is meant: {listed}")

    def splits(self, dataset: str, property_name: str) -> list[SplitKey]:
        """Return the splits that were drawn for a property, sorted."""
        self._need_property(dataset, property_name)
        return drawn_splits(self.connection, dataset, property_name)

    def matrix(
        self,
        dataset: str,
        property: str,  # noqa: A002 - the word of the tables
        feature_set: str = DEFAULT_FEATURE_SET,
        *,
        extraction: str | None = None,
        split: SplitKey | None = None,
        parts: Sequence[str] | None = None,
    ) -> Matrix:
        """Return vectors and targets of all entries that have a value, or of some parts of a split.

        With `parts`, the targets of other parts are never read. Entries whose structure the
        extraction rejected are left out; a structure that was not extracted yet raises
        `StrataError`, as do unknown names and, without `extraction`, several extractions.
        """
        chosen = Selection(dataset, property, split, parts)
        return self._matrix(chosen, feature_set, extraction, with_targets=True)

    def inputs(
        self,
        dataset: str,
        property: str,  # noqa: A002 - the word of the tables
        feature_set: str = DEFAULT_FEATURE_SET,
        *,
        extraction: str | None = None,
        split: SplitKey | None = None,
        parts: Sequence[str] | None = None,
    ) -> Matrix:
        """Return the same rows as `matrix`, without reading any target."""
        chosen = Selection(dataset, property, split, parts)
        return self._matrix(chosen, feature_set, extraction, with_targets=False)

    def vectors(
        self,
        structure_ids: Sequence[str],
        feature_set: str = DEFAULT_FEATURE_SET,
        extraction: str | None = None,
    ) -> NDArray[np.float32]:
        """Return a (n, 256 × checkpoints) array aligned to `structure_ids`; an id without vectors raises."""
        extraction = self.need_extraction(extraction)
        ids = pa.array(structure_ids, pa.string())
        wanted, absent = self._index(extraction).locate(ids)
        if len(absent):
            raise not_extracted(absent, extraction)
        return gather(wanted, checkpoints_of(feature_set), len(ids))

    def all_vectors(
        self,
        feature_set: str = DEFAULT_FEATURE_SET,
        extraction: str | None = None,
        dataset: str | None = None,
    ) -> tuple[pa.Array, NDArray[np.float32]]:
        """Return every structure_id that has vectors, of one dataset or of all, and their (n, d) vectors."""
        known = self._index(self.need_extraction(extraction))
        ids = known.ids
        if dataset is not None:
            self._need_dataset(dataset)
            mine = self.connection.sql(
                "SELECT DISTINCT structure_id FROM entries WHERE dataset = ?", params=[dataset]
            ).to_arrow_table()["structure_id"]
            ids = ids.filter(pc.is_in(ids, value_set=mine))
        return ids, gather(known.locate(ids)[0], checkpoints_of(feature_set), len(ids))

    def near(
        self,
        asked: str | NDArray[np.float32],
        k: int = 10,
        checkpoint: str = "atom_8",
        *,
        dataset: str | None = None,
        extraction: str | None = None,
        metric: str = "euclidean",
    ) -> pa.Table:
        """Return the nearest structures by one checkpoint's vectors (see `near.neighbours`)."""
        from featurestore.query.near import neighbours

        extraction = self.need_extraction(extraction)
        return neighbours(
            self, asked, k=k, checkpoint=checkpoint, dataset=dataset, extraction=extraction, metric=metric
        )

    def missing(self, extraction: str, datasets: Sequence[str] | None = None) -> pa.Table:
        """Return structures that `extraction` neither has nor rejected: structure_id, n_atoms.

        Each once, in the order of the datasets' names and of their files.
        """
        for name in datasets or ():
            self._need_dataset(name)
        return self.connection.sql(
            """
            SELECT structure_id, any_value(n_atoms) AS n_atoms
            FROM entries JOIN structures USING (structure_id)
            WHERE dataset IN (SELECT unnest(?::VARCHAR[]))
                AND structure_id NOT IN (SELECT structure_id FROM stored_features WHERE extraction_id = ?)
                AND structure_id NOT IN (
                    SELECT id FROM rejects WHERE "table" = 'features' AND extraction_id = ?
                )
            GROUP BY structure_id
            ORDER BY min(row(dataset, position))
            """,
            params=[list(self.datasets() if datasets is None else datasets), extraction, extraction],
        ).to_arrow_table()

    def structures(self, structure_ids: Sequence[str]) -> "list[Structure]":
        """Return the structures with these ids, in their order; an unknown id raises `StrataError`."""
        from core.structure import Structure

        ids = pa.array(structure_ids, pa.string())
        found = self.connection.sql(
            "SELECT structure_id, lattice, numbers, frac_coords FROM structures "
            "WHERE structure_id IN (SELECT unnest(?::VARCHAR[]))",
            params=[ids.to_pylist()],
        ).to_arrow_table()
        rows = {
            name: Structure(
                np.asarray(lattice.values).reshape(3, 3),
                np.asarray(numbers.values),
                np.asarray(coords.values).reshape(-1, 3),
            )
            for name, lattice, numbers, coords in zip(
                found["structure_id"].to_pylist(),
                found["lattice"],
                found["numbers"],
                found["frac_coords"],
                strict=True,
            )
        }
        for name in ids.to_pylist():
            if name not in rows:
                raise StrataError(f"{self.path} has no structure {name!r}")
        return [rows[name] for name in ids.to_pylist()]

    @cached_property
    def _extractions(self) -> pa.Table:
        return self.connection.sql("SELECT * FROM extractions").to_arrow_table()

    @property
    def _features(self) -> Snapshot:
        for table in self._tables:
            if table.kind == "features":
                return table.snapshot
        return Snapshot(self.layout.features, 0)

    def batches(
        self,
        dataset: str,
        property: str,  # noqa: A002 - the word of the tables
        feature_set: str = DEFAULT_FEATURE_SET,
        *,
        size: int = 4096,
        extraction: str | None = None,
        split: SplitKey | None = None,
        parts: Sequence[str] | None = None,
    ) -> Iterator[Matrix]:
        """Yield the rows of `matrix` in pieces of `size`, in the same order; one is in memory at a time."""
        if size < 1:
            raise StrataError(f"a batch has one row at least, got size {size}")
        columns = checkpoints_of(feature_set)
        unit = self._need_property(dataset, property)
        extraction = self.need_extraction(extraction)
        rows, _ = self._rows(Selection(dataset, property, split, parts), extraction, True)
        for start in range(0, len(rows), size):
            piece = rows.slice(start, size)
            wanted, _ = self._index(extraction).locate(piece["structure_id"])
            X = gather(wanted, columns, len(piece))
            yield Matrix.of(X, piece, unit, extraction, columns)

    def _matrix(
        self, chosen: Selection, feature_set: str, extraction: str | None, with_targets: bool
    ) -> Matrix:
        columns = checkpoints_of(feature_set)
        unit = self._need_property(chosen.dataset, chosen.property)
        extraction = self.need_extraction(extraction)
        if self._cache is None:
            rows, wanted = self._rows(chosen, extraction, with_targets)
            return Matrix.of(gather(wanted, columns, len(rows)), rows, unit, extraction, columns)
        snapshots = [
            table.snapshot
            for table in self._tables
            if table.kind in _ASKED_OF and table.dataset in (None, chosen.dataset)
        ]
        key = key_of(snapshots, [*_plain(chosen), columns, extraction, with_targets])
        kept = self._cache.get(key)
        if kept is None:
            rows, wanted = self._rows(chosen, extraction, with_targets)
            X = gather(wanted, columns, len(rows))
            self._cache.put(key, X, rows)
        else:
            X, rows = kept
        return Matrix.of(X, rows, unit, extraction, columns)

    def _rows(
        self, chosen: Selection, extraction: str, with_targets: bool
    ) -> tuple[pa.RecordBatch, list[Rows]]:
        """Choose the rows of a question and find their vectors; the last few answers are remembered.

        An open store does not change, so they stay right; feature sets are asked for one after another.
        """
        question = json.dumps([*_plain(chosen), extraction, with_targets])
        if question not in self._asked:
            with answering():
                rows = select(self.connection, chosen, with_targets)
            wanted, absent = self._index(extraction).locate(rows["structure_id"])
            if len(absent):
                rows = without_rejected(self.connection, rows, absent, extraction)
                wanted, _ = self._index(extraction).locate(rows["structure_id"])
            if len(self._asked) >= _REMEMBERED:
                del self._asked[next(iter(self._asked))]
            self._asked[question] = rows, wanted
        return self._asked[question]

    def _index(self, extraction: str) -> Index:
        if extraction not in self._indices:
            self._indices[extraction] = index(self._features, extraction)
        return self._indices[extraction]

    def _need_dataset(self, dataset: str) -> None:
        if dataset not in self.datasets():
            raise unknown("dataset", dataset, self.datasets(), str(self.path))

    def _need_property(self, dataset: str, property_name: str) -> str:
        units = self.properties(dataset)
        if property_name not in units:
            raise unknown("property", property_name, units, f"{self.path}, {dataset}")
        return units[property_name]


def _plain(chosen: Selection) -> list[Any]:
    return [
        chosen.dataset,
        chosen.property,
        chosen.split,
        None if chosen.parts is None else list(chosen.parts),
    ]


def open_store(path: str | Path = "store", at: int | None = None, *, cache: bool = False) -> FeatureStore:
    """Open a store for reading (see `FeatureStore`)."""
    return FeatureStore(path, at, cache=cache)
