"""Structures of a store that a model is to be asked about: what is known of each, and its vectors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import StrataError, unknown
from core.structure import SYMBOLS, Structure, reduced_formula
from featurestore.query.feature_sets import ALL
from featurestore.query.store import FeatureStore
from zoo.model import NETWORK, Asked, Model, Reads

_EVERY = """
    SELECT e.structure_id, first(e.entry_id ORDER BY e.dataset, e.position) AS entry_id,
        list(e.entry_id ORDER BY e.dataset, e.position) AS entry_ids,
        first(e.dataset ORDER BY e.dataset) AS dataset, list_sort(list(DISTINCT e.dataset)) AS datasets,
        any_value(s.n_atoms) AS n_atoms, any_value(s.volume) AS volume, any_value(s.numbers) AS numbers,
        bool_and(s.has_positions) AS has_positions
    FROM entries e JOIN structures s USING (structure_id)
    WHERE e.dataset IN (SELECT unnest(?::VARCHAR[]))
    GROUP BY e.structure_id ORDER BY min(row(e.dataset, e.position))
"""


@dataclass(frozen=True, slots=True)
class Lacking:
    """Structures without vectors by one source model: those that it never saw, and those that it refused."""

    reads: Reads
    missing: int
    rejected: int


@dataclass(frozen=True, eq=False)
class Candidates:
    """n structures of some datasets, each once, in the order of the datasets' names and files.

    known: a table with the columns of docs/screening.md that do not depend on a prediction, and atomic
    numbers. there: by source model (n,) whether it has vectors of a structure.
    """

    store: FeatureStore
    model: Model
    over: tuple[str, ...]
    known: pa.Table
    there: dict[str, np.ndarray]
    lacking: tuple[Lacking, ...]

    @classmethod
    def of(cls, model: Model, store: FeatureStore, over: Sequence[str]) -> "Candidates":
        """Find them. Raises `StrataError` for a dataset that is not in the store, and where none is named."""
        names = tuple(dict.fromkeys([over] if isinstance(over, str) else over))
        if not names:
            raise StrataError("name the datasets whose structures are screened, such as over=['megnet']")
        for name in names:
            if name not in store.datasets():
                raise unknown("dataset", name, store.datasets(), f"the store {store.path}")
        found = store.sql(_EVERY, [list(names)]).to_arrow_table()
        numbers = [row.values.to_numpy() for row in found["numbers"].combine_chunks()]
        elements = [[SYMBOLS[z] for z in np.unique(row)] for row in numbers]
        found = found.append_column("formula", pa.array(map(reduced_formula, numbers), pa.string()))
        found = found.append_column("elements", pa.array(elements, pa.list_(pa.string())))
        there, lacking = {}, []
        for source, reads in model.sources.items():
            there[source], missing = _coverage(store, reads, found)
            if missing.missing or missing.rejected:
                lacking.append(missing)
        return cls(store, model, names, found, there, tuple(lacking))

    def __len__(self) -> int:
        return len(self.known)

    @cached_property
    def usable(self) -> np.ndarray:
        """Tell of each structure (n,) whether the model, or a member of it, has all the vectors it reads."""
        if self.model.network is not None:
            return self.there[NETWORK]
        members = [
            np.all([self.there[source] for source in {b.source for b in member.blocks}], axis=0)
            for member in self.model.members
        ]
        return np.asarray(np.any(members, axis=0))

    @property
    def to_extract(self) -> list[str]:
        """The networks that were not run over all of them."""
        return [
            one.reads.name
            for one in self.lacking
            if one.missing and not one.reads.columns and one.reads.name != NETWORK
        ]

    def take(self, kept: np.ndarray) -> "Candidates":
        """Return those where `kept` (n,) is true."""
        there = {source: rows[kept] for source, rows in self.there.items()}
        return replace(self, known=self.known.filter(pa.array(kept)), there=there)

    def asked(self, rows: np.ndarray) -> Asked:
        """Describe some of them, by their places."""
        some = self.known.select(["structure_id", "formula", "numbers"]).take(pa.array(rows))
        ids = tuple(some["structure_id"].to_pylist())
        elements = tuple(tuple(sorted(set(row))) for row in some["numbers"].to_pylist())
        return Asked(ids, tuple(some["formula"].to_pylist()), elements, ids)

    def vectors(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        """Read vectors of some of them by every source model, (m, d) each, NaN where there are none.

        Of a network of the target's own, which is run here, they come with its values (m,).
        """
        ids = self.known["structure_id"].take(pa.array(rows)).to_pylist()
        if self.model.network is not None:
            structures = [one for one in self.store.structures(ids) if isinstance(one, Structure)]
            said = self.model.network.described(structures)
            output = self.model.network.names.index(self.model.card.property)
            return {NETWORK: said.vectors}, said.values[:, output]
        found = {}
        for source, reads in self.model.sources.items():
            there = np.flatnonzero(self.there[source][rows])
            read = self.store.vectors([ids[i] for i in there], f"{source}/{ALL}", reads.extraction_id)
            if len(there) < len(ids):
                whole = np.full((len(ids), reads.width), np.nan, np.float32)
                whole[there] = read
                read = whole
            found[source] = read
        return found, None


def _coverage(store: FeatureStore, reads: Reads, known: pa.Table) -> tuple[np.ndarray, Lacking]:
    """Tell of each structure whether a source model has vectors of it, and count the others."""
    ids = known["structure_id"]
    if reads.name == NETWORK:
        there = known["has_positions"].to_numpy()
        return there, Lacking(reads, 0, int((~there).sum()))
    kept = "SELECT DISTINCT structure_id FROM stored_features WHERE extraction_id = ?"
    refused = "SELECT DISTINCT id FROM rejects WHERE \"table\" = 'features' AND extraction_id = ?"
    there, rejected = (
        pc.is_in(ids, store.sql(query, [reads.extraction_id]).to_arrow_table()[0]).to_numpy()
        for query in (kept, refused)
    )
    return there, Lacking(reads, int((~there & ~rejected).sum()), int((~there & rejected).sum()))
