"""`FeatureStore`: ask a store by SQL, or for arrays that a head can be fitted on."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.composition import Composition
from core.errors import StrataError, check_name, unknown
from core.structure import Structure
from featurestore.query.cache import MatrixCache
from featurestore.query.facts import DatasetFacts, facts_of
from featurestore.query.feature_sets import DEFAULT, FeatureSet, one_checkpoint, resolve
from featurestore.query.given_frames import Frames, ask
from featurestore.query.matrix import Matrix, Selection, SplitKey, drawn_splits
from featurestore.query.near import Nearest, described, structure_of
from featurestore.query.questions import Closed, check_question, lock
from featurestore.query.reader import Reader, answering
from featurestore.query.source_views import blocks_of, joined
from featurestore.query.sources import Source, read_sources
from featurestore.query.views import Commits, connect, read_tables, register_log
from featurestore.tables.address import address, located
from featurestore.tables.layout import StoreLayout
from featurestore.tables.places import storage_of

_OPENINGS = 20  # while shards are joined and collected


class FeatureStore:
    """A store opened for reading, as it stood at that moment; writers do not disturb it.

    Opening reads every table's log and checks that each shard is there in full; a missing or
    truncated one raises `StrataError`. Version `at` (see the view `log`), a moment in ISO 8601, or the
    file of a pointer opens it as it was. `path` may be an address, such as s3://bucket/prefix.

    With `cache`, answers of `matrix` and `inputs` are kept beside the tables (featurestore/query/cache.py):
    asked again, in this process or another, they come at the speed of one plain read. Without `files`, SQL
    reaches no file but the store's own, for a store that others may ask.

    It is a context manager: `with strata.open("store") as store:` closes the connection at the end. Splits
    may be given as text, `split="random:0"`.
    """

    def __init__(
        self,
        path: str | Path = "store",
        at: int | str | None = None,
        *,
        cache: bool = False,
        files: bool = True,
    ) -> None:
        self.path = located(path)
        if not storage_of(self.path).is_folder(self.path):
            place = address(self.path.resolve())
            raise StrataError(f"there is no store at {place}; run `dvc repro`, or from the project's folder")
        self.layout = StoreLayout(self.path)
        self._open(at, files=files)
        self._has_log = False
        kept = MatrixCache(self.path) if cache else None
        self._reader = Reader(self._tables, self.connection, self.layout, kept)
        self._units: dict[str, dict[str, str]] = {}  # property → unit, by dataset

    def _open(self, at: int | str | None, *, files: bool) -> None:
        """Read the logs and connect; once more where shards were joined and collected in between."""
        for left in reversed(range(_OPENINGS)):
            self._tables, self._commits = read_tables(self.layout, at)
            self.version = len(self._commits)
            self.__dict__.pop("sources", None)
            try:
                with answering():
                    self.connection: Any = connect(self.layout, self._tables, self.sources)
                break
            except StrataError:
                if not left or Commits.of(self.layout) == self._commits:
                    raise
        real = {table.snapshot.folder.resolve() for table in self._tables}
        places = [self.path.resolve(), *sorted(real)]
        lock(self.connection, None if files else [*places, *map(address, places)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; answers of `sql` that were not fetched are lost with it."""
        if not isinstance(self.connection, Closed):
            self.connection.close()
        closed: Any = Closed(self.path)
        self.connection = self._reader = closed

    def __repr__(self) -> str:
        if isinstance(self.connection, Closed):
            return f"FeatureStore({address(self.path)!r}, closed)"
        counts = "SELECT (SELECT count(*) FROM structures), (SELECT count(*) FROM extractions)"
        structures, extractions = self.connection.sql(counts).fetchall()[0]
        datasets = ", ".join(self.datasets()) or "no datasets"
        return (
            f"FeatureStore({address(self.path)!r}, version {self.version}: {datasets}; "
            f"{structures:,} structures, {extractions} extraction{'' if extractions == 1 else 's'})"
        )

    def sql(self, query: str, params: Sequence[Any] | None = None, frames: Frames | None = None) -> Any:
        """Ask one question; returns a DuckDB relation with `.df()`, `.arrow()`, `.fetchall()`.

        Values belong in `params`, one for each `?`; `frames` are tables beside the store's for this question,
        `frames={"mine": frame}`. Only questions are allowed: whatever would write or change something raises
        `StrataError`, as do DuckDB's own errors.
        """
        with answering():
            check_question(self.connection, query)
            if not self._has_log and "log" in query.casefold():
                register_log(self.connection, self.layout, self._commits)
                self._has_log = True
            return ask(self.connection, query, params, frames or {})

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

    @cached_property
    def sources(self) -> dict[str, Source]:
        """The source models that vectors are kept of, the default first."""
        return read_sources(table.snapshot for table in self._tables if table.kind == "extractions")

    @property
    def default_source(self) -> str:
        """The source model that is meant where none is named; without vectors, `StrataError` is raised."""
        if not self.sources:
            raise StrataError(f"{self.path} has no vectors yet; run: strata extract")
        return next(iter(self.sources))

    def need_source(self, source_model: str | None = None) -> Source:
        """Return the source model that is meant: the one named, or the default."""
        name = source_model or self.default_source
        if name not in self.sources:
            raise unknown("source model", name, self.sources, str(self.path))
        return self.sources[name]

    def facts(self, dataset: str) -> DatasetFacts:
        """Return what the card of a dataset said when it was ingested."""
        return facts_of(self.connection, dataset, self.properties(dataset))

    def extractions(self) -> pa.Table:
        """Return the extractions, with the columns of the view of that name; the default's first."""
        return self._extractions

    def feature_set(
        self, name: str = DEFAULT, source_model: str | None = None, extraction: str | None = None
    ) -> FeatureSet:
        """Find what a feature set's name means here (see `feature_sets.resolve`).

        source_model: the one that is meant where the name has none; by default the store's own default.
        extraction: an earlier one of that source model, instead of the current. Raises `StrataError`.
        """
        sources = dict(self.sources)
        default = source_model or self.default_source
        if extraction is not None:
            default = self._source_of(extraction)
            sources[default] = replace(sources[default], extraction_id=extraction)
        return resolve(name, sources, default)

    def one_checkpoint(self, name: str | None = None) -> FeatureSet:
        """Find a set of one checkpoint; None: the deepest of the default source model's first kind."""
        return one_checkpoint(name, self.sources, self.default_source)

    def _source_of(self, extraction: str) -> str:
        known = self.extractions()
        ids = known["extraction_id"].to_pylist()
        if extraction not in ids:
            raise unknown("extraction", extraction, ids, str(self.path))
        return str(known["source_model"].to_pylist()[ids.index(extraction)])

    def splits(self, dataset: str, property_name: str) -> list[SplitKey]:
        """Return the splits that were drawn for a property, sorted."""
        self._need_property(dataset, property_name)
        return drawn_splits(self.connection, dataset, property_name)

    def matrix(
        self,
        dataset: str,
        property: str,  # noqa: A002 - the word of the tables
        feature_set: str = DEFAULT,
        *,
        extraction: str | None = None,
        split: SplitKey | str | None = None,
        parts: Sequence[str] | None = None,
    ) -> Matrix:
        """Return vectors and targets of all entries that have a value, or of some parts of a split.

        split: a key or its text, such as "random:0" or "kfold:0:3". With `parts`, the targets of other parts
        are never read. Entries whose structure the
        source model rejected are left out; a structure that was not extracted yet raises
        `StrataError`, as do unknown names.
        """
        return self._matrix(_selected(dataset, property, split, parts), feature_set, extraction, True)

    def inputs(
        self,
        dataset: str,
        property: str,  # noqa: A002 - the word of the tables
        feature_set: str = DEFAULT,
        *,
        extraction: str | None = None,
        split: SplitKey | str | None = None,
        parts: Sequence[str] | None = None,
    ) -> Matrix:
        """Return the same rows as `matrix`, without reading any target."""
        return self._matrix(_selected(dataset, property, split, parts), feature_set, extraction, False)

    def vectors(
        self,
        structure_ids: Sequence[str],
        feature_set: str = DEFAULT,
        extraction: str | None = None,
    ) -> NDArray[np.float32]:
        """Return a (n, d) array aligned to `structure_ids`; an id without vectors raises `StrataError`."""
        chosen = self.feature_set(feature_set, extraction=extraction)
        return self._reader.vectors(pa.array(structure_ids, pa.string()), chosen)

    def all_vectors(
        self,
        feature_set: str = DEFAULT,
        extraction: str | None = None,
        dataset: str | None = None,
    ) -> tuple[pa.Array, NDArray[np.float32]]:
        """Return every structure_id that has vectors, of one dataset or of all, and their (n, d) vectors."""
        chosen = self.feature_set(feature_set, extraction=extraction)
        ids = self._reader.ids(chosen)
        if dataset is not None:
            ids = ids.filter(pc.is_in(ids, value_set=self._structures_of(dataset)))
        return ids, self._reader.vectors(ids, chosen)

    def near(
        self,
        asked: str | NDArray[np.float32],
        k: int = 10,
        checkpoint: str | None = None,
        *,
        dataset: str | None = None,
        metric: str = "euclidean",
    ) -> pa.Table:
        """Return the `k` nearest structures: distance, structure_id, formula, n_atoms, entries.

        asked: an entry_id or structure_id, itself left out of the answer, or a vector (width,). checkpoint:
        any, with its source model before it (SOURCE/CHECKPOINT) where that is not the default; None: the
        deepest one of the default's first kind. `dataset` restricts the search. Raises `StrataError` for
        unknown names.
        """
        chosen = self.one_checkpoint(checkpoint)
        itself: str | None = None
        if isinstance(asked, str):
            itself = structure_of(self.connection, asked, dataset)
            vector = self._reader.vectors(pa.array([itself]), chosen)[0]
        else:
            vector = asked
        search = Nearest(vector, chosen.width, k, metric)
        among = None if dataset is None else self._structures_of(dataset)
        return described(self.connection, *self._reader.nearest(chosen, search, among, itself))

    def join(self, feature_set: str, name: str = "chosen") -> None:
        """Make a view of chosen blocks side by side, one row per structure; columns `<source>__<checkpoint>`.

        A view of that name is replaced. Raises `StrataError` for an unknown feature set or a name that is
        none.
        """
        check_name(name, "view")
        self.connection.execute(f'DROP VIEW IF EXISTS "{name}"')
        self.connection.execute(joined(f'"{name}"', blocks_of(self.feature_set(feature_set))))

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

    def structures(self, structure_ids: Sequence[str]) -> list[Structure | Composition]:
        """Return the structures with these ids, in their order; an unknown id raises `StrataError`.

        Where only a formula is known it is a `Composition`.
        """
        return self._reader.structures(pa.array(structure_ids, pa.string()))

    @cached_property
    def _extractions(self) -> pa.Table:
        return self.connection.sql("SELECT * FROM extractions").to_arrow_table()

    def batches(
        self,
        dataset: str,
        property: str,  # noqa: A002 - the word of the tables
        feature_set: str = DEFAULT,
        *,
        size: int = 4096,
        extraction: str | None = None,
        split: SplitKey | str | None = None,
        parts: Sequence[str] | None = None,
    ) -> Iterator[Matrix]:
        """Yield the rows of `matrix` in pieces of `size`, in the same order; one is in memory at a time."""
        if size < 1:
            raise StrataError(f"a batch has one row at least, got size {size}")
        asked = self.feature_set(feature_set, extraction=extraction)
        unit = self._need_property(dataset, property)
        rows = self._reader.rows(_selected(dataset, property, split, parts), asked, True)
        for start in range(0, len(rows), size):
            piece = rows.slice(start, size)
            yield Matrix.of(self._reader.vectors(piece["structure_id"], asked), piece, unit, asked)

    def _matrix(
        self, chosen: Selection, feature_set: str, extraction: str | None, with_targets: bool
    ) -> Matrix:
        unit = self._need_property(chosen.dataset, chosen.property)
        asked = self.feature_set(feature_set, extraction=extraction)
        X, rows = self._reader.answer(chosen, asked, with_targets)
        return Matrix.of(X, rows, unit, asked)

    def _structures_of(self, dataset: str) -> pa.Array:
        self._need_dataset(dataset)
        found = self.connection.sql(
            "SELECT DISTINCT structure_id FROM entries WHERE dataset = ?", params=[dataset]
        ).to_arrow_table()
        return found["structure_id"].combine_chunks()

    def _need_dataset(self, dataset: str) -> None:
        if dataset not in self.datasets():
            raise unknown("dataset", dataset, self.datasets(), str(self.path))

    def _need_property(self, dataset: str, property_name: str) -> str:
        units = self.properties(dataset)
        if property_name not in units:
            raise unknown("property", property_name, units, f"{self.path}, {dataset}")
        return units[property_name]


def _selected(
    dataset: str, name: str, split: SplitKey | str | None, parts: Sequence[str] | None
) -> Selection:
    return Selection(dataset, name, None if split is None else SplitKey.of(split), parts)


def open_store(
    path: str | Path = "store", at: int | str | None = None, *, cache: bool = False, files: bool = True
) -> FeatureStore:
    """Open a store for reading (see `FeatureStore`)."""
    return FeatureStore(path, at, cache=cache, files=files)
