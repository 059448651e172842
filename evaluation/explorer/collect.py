"""Structures of a store with all that a map shows of them: crystals, values, vectors, neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.errors import StrataError, unknown
from core.structure import SYMBOLS, reduced_formula
from evaluation.explorer.chemistry import chemistry
from evaluation.explorer.structure_map import PROPERTIES, STRUCTURE, Column, Crystals
from featurestore.query.store import FeatureStore

_SHOWN_ENTRIES = 12  # of a structure that many records share
_STRUCTURES = """
    SELECT e.structure_id, list(e.dataset || '/' || e.entry_id ORDER BY e.dataset, e.position) AS entries,
        first(e.entry_id ORDER BY e.dataset, e.position) AS name,
        list_sort(list(DISTINCT e.dataset)) AS datasets, any_value(s.lattice) AS lattice,
        any_value(s.numbers) AS numbers, any_value(s.frac_coords) AS frac_coords,
        any_value(s.has_positions) AS has_positions
    FROM entries e JOIN structures s USING (structure_id)
    WHERE e.dataset IN (SELECT unnest(?::VARCHAR[]))
    GROUP BY e.structure_id ORDER BY min(row(e.dataset, e.position))
"""


@dataclass(frozen=True, slots=True)
class Property:
    """A property of a dataset. name: as the page calls it, with the dataset where several are shown."""

    dataset: str
    property: str
    unit: str
    name: str
    classes: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Found:
    """The structures of datasets, each once, in the order of the datasets' names and files."""

    ids: tuple[str, ...]
    names: tuple[str, ...]
    entries: tuple[str, ...]
    formulas: tuple[str, ...]
    crystals: Crystals
    columns: tuple[Column, ...]

    def aligned(self, ids: Sequence[str], values: Sequence[float]) -> NDArray[np.float64]:
        """Put values of some structures in their places; (n,), NaN where there is none."""
        place = {name: i for i, name in enumerate(self.ids)}
        found = np.full(len(self.ids), np.nan)
        for name, value in zip(ids, values, strict=True):
            if name in place:
                found[place[name]] = value
        return found


def datasets_of(store: FeatureStore, datasets: Sequence[str]) -> list[str]:
    """Return the datasets that are meant: those named, or all. Raises `StrataError` for an unknown one."""
    known = store.datasets()
    for name in datasets:
        if name not in known:
            raise unknown("dataset", name, known, f"the store {store.path}")
    if not known:
        raise StrataError(f"{store.path} has no datasets yet; run: strata ingest")
    return list(dict.fromkeys(datasets)) or known


def properties_of(store: FeatureStore, datasets: Sequence[str], asked: Sequence[str]) -> list[Property]:
    """Return the properties that are meant: those named, PROPERTY or DATASET/PROPERTY, or all of `datasets`.

    A name without its dataset means that property of every dataset among `datasets`. Raises `StrataError`
    naming the nearest for one that is none.
    """
    every = [(dataset, name) for dataset in datasets for name in store.properties(dataset)]
    chosen: list[tuple[str, str]] = []
    for text in asked:
        dataset, slash, name = text.rpartition("/")
        if slash and dataset not in store.datasets():
            raise unknown("dataset", dataset, store.datasets(), f"the store {store.path}")
        known = list(store.properties(dataset)) if slash else sorted({name for _, name in every})
        if name not in known:
            raise unknown("property", name, known, dataset if slash else ", ".join(datasets))
        chosen += [(dataset, name)] if slash else [pair for pair in every if pair[1] == name]
    pairs = list(dict.fromkeys(chosen)) if asked else every
    several = len({dataset for dataset, _ in pairs}) > 1
    facts = {dataset: store.facts(dataset).properties for dataset in {dataset for dataset, _ in pairs}}
    found = []
    for dataset, name in pairs:
        fact = facts[dataset].get(name)
        shown = f"{dataset}/{name}" if several else name
        classes, about = (fact.classes, fact.description) if fact is not None else ((), "")
        found.append(Property(dataset, name, store.properties(dataset)[name], shown, classes, about))
    return found


def structures_of(store: FeatureStore, datasets: Sequence[str]) -> Found:
    """Read the structures of datasets, with the columns that need no property and no network."""
    rows = store.sql(_STRUCTURES, [list(datasets)]).to_arrow_table()
    if not rows.num_rows:
        raise StrataError(f"{', '.join(datasets)} has no structures to show")
    numbers = rows["numbers"].combine_chunks()
    drawn = rows["has_positions"].to_numpy()
    sizes = pc.list_value_length(numbers).to_numpy().astype(np.int64)
    start = np.concatenate([[0], np.cumsum(sizes)])
    flat = pc.list_flatten(numbers).to_numpy().astype(np.uint8)
    coords = np.full((start[-1], 3), np.nan)
    coords[np.repeat(drawn, sizes)] = (
        pc.list_flatten(rows["frac_coords"].combine_chunks()).to_numpy().reshape(-1, 3)
    )
    lattice = pc.list_flatten(rows["lattice"].combine_chunks()).to_numpy().reshape(-1, 9)
    crystals = Crystals(lattice, start, flat, coords, drawn)
    names = tuple(rows["name"].to_pylist())
    entries = tuple(_listed(several) for several in rows["entries"].to_pylist())
    words = [", ".join(several) for several in rows["datasets"].to_pylist()]
    columns = (
        Column.of_words("dataset", words, STRUCTURE, "The datasets that hold this structure."),
        *columns_of(crystals, crystals.volumes()),
    )
    return Found(
        tuple(rows["structure_id"].to_pylist()), names, entries, formulas_of(crystals), crystals, columns
    )


def formulas_of(crystals: Crystals) -> tuple[str, ...]:
    """Return the reduced formula of every structure."""
    return tuple(reduced_formula(crystals.numbers_of(i)) for i in range(len(crystals)))


def columns_of(crystals: Crystals, volume: NDArray[np.float64]) -> tuple[Column, ...]:
    """Return what can be said of crystals alone: kind, sizes, density of atoms. volume (n,) in Å³, or NaN."""
    elements = [np.unique(crystals.numbers_of(i)).tolist() for i in range(len(crystals))]
    sizes = np.diff(crystals.start).astype(float)
    kinds = [chemistry(row) for row in elements]
    return (
        Column.of_words(
            "chemistry", kinds, STRUCTURE, "The kind of compound, by its most electronegative element."
        ),
        Column("atoms in the cell", sizes),
        Column("elements", np.array([len(row) for row in elements], float), about="How many there are."),
        Column("volume per atom", volume / np.maximum(sizes, 1), "Å³"),
        Column.of_words(
            "heaviest element", [SYMBOLS[row[-1]] for row in elements], STRUCTURE, "By atomic number."
        ),
    )


def values_of(store: FeatureStore, found: Found, chosen: Property) -> Column:
    """Return the values of a property; where several entries share a structure, their mean."""
    rows = store.sql(
        "SELECT structure_id, avg(value) AS value FROM targets WHERE dataset = ? AND property = ? "
        "GROUP BY structure_id",
        [chosen.dataset, chosen.property],
    ).to_arrow_table()
    values = found.aligned(rows["structure_id"].to_pylist(), rows["value"].to_pylist())
    about = f"{chosen.description or 'Value'} (dataset {chosen.dataset})."
    if chosen.classes:
        labels = tuple(chosen.classes)
        known = np.where(np.mod(values, 1) == 0, values, np.nan)  # entries of one structure that disagree
        return Column(chosen.name, known, group=PROPERTIES, about=about, labels=labels)
    return Column(chosen.name, values, chosen.unit, PROPERTIES, about, parity=chosen.name)


def vectors_of(store: FeatureStore, found: Found, feature_set: str) -> NDArray[np.float32]:
    """Return (n, d) vectors of all structures, NaN for those that the source model has none of."""
    chosen = store.feature_set(feature_set)
    ids = pa.array(found.ids, pa.string())
    there = np.ones(len(ids), bool)
    for source, extraction in chosen.extractions.items():
        kept = store.sql(
            "SELECT DISTINCT structure_id FROM stored_features WHERE source_model = ? AND extraction_id = ?",
            [source, extraction],
        ).to_arrow_table()["structure_id"]
        there &= pc.is_in(ids, value_set=kept).to_numpy(zero_copy_only=False)
    if not there.any():
        raise StrataError(
            f"none of the {len(ids):,} structures has vectors of {feature_set}; run: strata extract "
            f"{chosen.sources[0]}"
        )
    X = np.full((len(ids), chosen.width), np.nan, np.float32)
    X[there] = store.vectors(ids.filter(pa.array(there)).to_pylist(), feature_set)
    return X


def _listed(entries: Sequence[str]) -> str:
    more = len(entries) - _SHOWN_ENTRIES
    shown = ", ".join(dict.fromkeys(entries[:_SHOWN_ENTRIES]))
    return shown if more <= 0 else f"{shown} and {more} more"
