"""Rows of the store as examples: targets and parts of properties side by side, graphs from the cache."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import StrataError, unknown
from featurestore import FeatureStore, SplitKey
from featurestore.query.matrix import Selection, select
from featurestore.splits import published
from zoo.backbones.alignn.graph import GraphSettings
from zoo.training.examples import Examples
from zoo.training.graph_cache import GraphCache

TRAIN, VAL, TEST = "train", "val", "test"


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """n entries and p properties of a dataset.

    `part` (n, p) train, val, test, or '' where an entry has no value of a property or no part; `values`
    (n, p) in `units`, NaN there and wherever the part is test: those are not read.
    """

    dataset: str
    split: SplitKey
    names: tuple[str, ...]
    units: tuple[str, ...]
    entry_ids: np.ndarray
    structure_ids: np.ndarray
    part: np.ndarray
    values: np.ndarray

    @property
    def sha256(self) -> str:
        """Hash of all that a training may see."""
        rows = [self.dataset, self.names, *self.split, self.entry_ids.tolist(), self.structure_ids.tolist()]
        digest = hashlib.sha256(json.dumps([*rows, self.part.tolist()]).encode())
        digest.update(np.ascontiguousarray(self.values).tobytes())
        return digest.hexdigest()

    def only(self, keep: np.ndarray) -> "Rows":
        """Return the rows where `keep` (n,) is true."""
        columns = (self.entry_ids, self.structure_ids, self.part, self.values)
        return Rows(self.dataset, self.split, self.names, self.units, *(column[keep] for column in columns))

    @property
    def train(self) -> np.ndarray:
        """Which values (n, p) are learned from.

        An entry that any of the properties holds back for validation or testing is held back for all: where
        properties are alike, one would give the other away.
        """
        held_back = np.isin(self.part, (VAL, TEST)).any(axis=1, keepdims=True)
        return (self.part == TRAIN) & ~held_back


def read(store: FeatureStore, dataset: str, names: Sequence[str], split: SplitKey | str) -> Rows:
    """Read the entries that have a value of at least one property.

    The targets of test parts are not read. Raises `StrataError` for unknown names and splits.
    """
    split = SplitKey.of(split)
    units = store.properties(dataset)
    for name in names:
        if name not in units:
            raise unknown("property", name, units, dataset)
        if store.facts(dataset).properties[name].classes:
            raise StrataError(
                f"{dataset}/{name} is a property of classes, and these networks predict numbers; leave it out"
            )
    if len(set(names)) < len(names):
        raise StrataError(f"{dataset}: a property is named twice: {', '.join(names)}")
    found = {name: _one(store, dataset, name, split) for name in names}
    entries = store.sql(
        "SELECT entry_id, structure_id FROM entries WHERE dataset = ? ORDER BY position", [dataset]
    ).fetchall()
    entries = [(entry, sid) for entry, sid in entries if any(entry in one for one in found.values())]
    empty = ("", np.nan)
    cells = [[found[name].get(entry, empty) for name in names] for entry, _ in entries]
    return Rows(
        dataset,
        split,
        tuple(names),
        tuple(units[name] for name in names),
        np.array([entry for entry, _ in entries], dtype=object),
        np.array([sid for _, sid in entries], dtype=object),
        np.array([[part for part, _ in row] for row in cells], dtype="<U5"),
        np.array([[value for _, value in row] for row in cells], dtype=np.float64),
    )


def _one(store: FeatureStore, dataset: str, name: str, split: SplitKey) -> dict[str, tuple[str, float]]:
    """Part and value by entry, NaN for the test part."""
    if split.scheme == "published" and split not in store.splits(dataset, name):
        return _published(store, dataset, name)
    known = select(store.connection, Selection(dataset, name, split, (TRAIN, VAL)), with_targets=True)
    test = select(store.connection, Selection(dataset, name, split, (TEST,)), with_targets=False)
    columns = (known[column].to_pylist() for column in ("entry_id", "part", "value"))
    found = {entry: (part, value) for entry, part, value in zip(*columns, strict=True)}
    return found | dict.fromkeys(test["entry_id"].to_pylist(), (TEST, np.nan))


def _published(store: FeatureStore, dataset: str, name: str) -> dict[str, tuple[str, float]]:
    """The published parts where `split` has not drawn them: nothing is drawn, so nothing needs to be kept."""
    there = published.find(store, dataset, name)
    if there is None:
        raise published.absent(f"{dataset}/{name}")
    entries = [entry for entry, part in there.part_of.items() if part != TEST]
    known = store.sql(
        "SELECT entry_id, value FROM targets WHERE dataset = ? AND property = ? "
        "AND entry_id IN (SELECT unnest(?::VARCHAR[]))",
        [dataset, name, entries],
    ).fetchall()
    test = store.sql("SELECT entry_id FROM entries WHERE dataset = ?", [dataset]).fetchall()
    found = {entry: (there.part_of[entry], value) for entry, value in known}
    return found | {entry: (TEST, np.nan) for (entry,) in test if there.part_of.get(entry) == TEST}


def make_graphs(
    store: FeatureStore,
    rows: Rows,
    settings: GraphSettings,
    watch: Callable[[int, int], None] = lambda _done, _of: None,
) -> GraphCache:
    """Make the graphs of all rows that are not in the cache yet."""
    cache = GraphCache(Path(store.path), settings)
    cache.make(list(dict.fromkeys(rows.structure_ids.tolist())), store.structures, watch=watch)
    return cache


def with_graphs(
    store: FeatureStore,
    rows: Rows,
    settings: GraphSettings,
    watch: Callable[[int, int], None] = lambda _done, _of: None,
) -> tuple[Rows, Examples]:
    """Make or find the graphs of all rows, of test parts too; rows whose structure has none are left out.

    Every row's `graph` is its index in the examples' graphs, a structure once.
    """
    cache = make_graphs(store, rows, settings, watch)
    rows = rows.only(np.array([name not in cache.rejected for name in rows.structure_ids], dtype=bool))
    place = {name: k for k, name in enumerate(dict.fromkeys(rows.structure_ids.tolist()))}
    graphs = cache.load(list(place), store.structures)
    graph = np.array([place[name] for name in rows.structure_ids], dtype=np.int64)
    examples = Examples(
        rows.names, graphs, graphs.costs, graph, rows.values, rows.train, rows.part == VAL
    )  # fmt: skip
    return rows, examples
