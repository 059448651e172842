"""Leakage: what a score on a test part may owe to crystals that were seen before.

A test entry is affected where the same crystal, in any cell, lies in the training or validation part too, or
was among the structures that a source model of the chosen run was trained on. Nothing is chosen here, and no
run gets a look at the test part: the errors are those of runs that `evaluate` has scored (looked.py).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import featurestore
from core.errors import StrataError, unknown
from evaluation.looked import errors_on_test
from evaluation.seen import SeenLabels
from evaluation.training_data import TrainingData, training_data
from featurestore import FeatureStore, SplitKey
from featurestore.query.feature_sets import full_name
from featurestore.splits import duplicates

ENTRY_COLUMNS = (
    "dataset", "property", "split", "entry_id", "structure_id", "crystal", "seen_by", "not_known_of",
    "label_seen_by", "same_crystal_in", "also_in", "affected", "run_id", "error", "base_error", "unit",
)  # fmt: skip
_SEP = "+"  # between several names in one cell


@dataclass(frozen=True, slots=True)
class Place:
    """A property and a split, with the run that `evaluate` chose there; none: nobody has looked yet.

    entries: one row per test entry, with the columns `ENTRY_COLUMNS`. val_in_train: how many validation
    entries have their crystal in the training part.
    """

    property: str
    split: SplitKey
    unit: str
    run: str | None
    is_of_classes: bool
    sources: tuple[str, ...]
    entries: pd.DataFrame
    val_in_train: int

    def count(self, part: str) -> int:
        """Return how many test entries have their crystal in another part."""
        return int(self.entries["same_crystal_in"].str.contains(part).sum())


@dataclass(frozen=True, slots=True)
class Audit:
    """What `audit` found out about a dataset.

    shared: other dataset → crystals that both have, and entries of this one whose crystal it is.
    """

    dataset: str
    places: tuple[Place, ...]
    training: dict[str, TrainingData]
    shared: dict[str, tuple[int, int]]

    @property
    def entries(self) -> pd.DataFrame:
        """One row per test entry of every property and split."""
        return pd.concat([place.entries for place in self.places], ignore_index=True)


def audit(store_root: str | Path, dataset: str, prop: str | None = None) -> Audit:
    """Audit one property of a dataset, or all that have splits; see the module.

    Raises `StrataError` for unknown names, properties without a split, and runs or targets that have changed
    since `evaluate` scored them.
    """
    with featurestore.open(store_root) as store:
        units = store.properties(dataset)
        if prop is not None and prop not in units:
            raise unknown("property", prop, units, f"{store.path}, {dataset}")
        names = [prop] if prop else list(units)
        splits = {name: drawn for name in names if (drawn := store.splits(dataset, name))}
        if not splits:
            raise StrataError(
                f"{dataset}{f'/{prop}' if prop else ''} has no split; run: strata split {dataset}"
            )
        return _Auditor(store, dataset).audit(splits)


class _Auditor:
    """Holds what all properties and splits of a dataset share."""

    def __init__(self, store: FeatureStore, dataset: str) -> None:
        self.store, self.dataset = store, dataset
        every = store.sql("SELECT dataset, entry_id, structure_id FROM entries").df()
        own = every[every["dataset"] == dataset]
        crystals = duplicates.crystals(store.path, set(own["structure_id"]))
        every["crystal"] = every["structure_id"].map(crystals)  # none: of another composition
        self.crystals = crystals
        self.own = every[every["dataset"] == dataset].set_index("entry_id")
        self.elsewhere: dict[str, set[str]] = {
            str(name): set(rows["crystal"].dropna())
            for name, rows in every[every["dataset"] != dataset].groupby("dataset")
        }
        self.seen_labels = SeenLabels()
        self.training: dict[str, TrainingData] = {}
        self.trained_on: dict[str, set[str]] = {}  # source model → crystals

    def audit(self, splits: dict[str, list[SplitKey]]) -> Audit:
        """Audit the given properties and splits."""
        scored = self._scored()
        places = tuple(self._place(name, key, scored) for name, keys in splits.items() for key in keys)
        mine = self.own["crystal"]
        shared = {
            name: (len(set(mine) & there), int(mine.isin(there).sum()))
            for name, there in self.elsewhere.items()
            if not there.isdisjoint(mine)
        }
        return Audit(self.dataset, places, self.training, shared)

    def _scored(self) -> pd.DataFrame:
        """Read which runs `evaluate` scored, by property, split and role."""
        rows = self.store.sql(
            "SELECT DISTINCT r.property, r.scheme, r.seed, r.fold, s.role, r.run_id, r.method, r.head, "
            "r.feature_set, r.source_model FROM scores s JOIN runs r USING (run_id) "
            "WHERE r.dataset = ? AND s.part = 'test' AND s.role IN ('chosen', 'base')",
            [self.dataset],
        ).df()
        return rows.set_index(["property", "scheme", "seed", "fold", "role"]).sort_index()

    def _place(self, name: str, key: SplitKey, scored: pd.DataFrame) -> Place:
        chosen, base = (_first(scored, (name, *key, role)) for role in ("chosen", "base"))
        sources = self._sources(chosen)
        parts = self._parts(name, key)
        crystals = {part: set(rows["crystal"]) for part, rows in parts.items()}
        test, unit = parts["test"], self.store.properties(self.dataset)[name]
        errors = {"error": chosen, "base_error": base}
        rows = test.assign(
            dataset=self.dataset,
            property=name,
            split=str(key),
            seen_by=_named(test["crystal"], {source: self.trained_on[source] for source in sources}),
            not_known_of=_SEP.join(source for source in sources if not self.training[source].is_known),
            label_seen_by=_SEP.join(self.seen_labels.by(_SEP.join(sources), self.dataset, name)),
            same_crystal_in=_named(test["crystal"], {part: crystals[part] for part in ("train", "val")}),
            also_in=_named(test["crystal"], self.elsewhere),
            run_id=None if chosen is None else chosen["run_id"],
            unit=unit,
            **{column: self._errors(run, test["entry_id"]) for column, run in errors.items()},
        )
        rows["affected"] = (rows["seen_by"] != "") | (rows["same_crystal_in"] != "")
        return Place(
            name,
            key,
            unit,
            None if chosen is None else _words(chosen),
            bool(self.store.facts(self.dataset).properties[name].classes),
            sources,
            rows[list(ENTRY_COLUMNS)].reset_index(drop=True),
            int(parts["val"]["crystal"].isin(crystals["train"]).sum()),
        )

    def _errors(self, run: Any, entries: pd.Series) -> list[float]:
        known = {} if run is None else errors_on_test(self.store, run["run_id"]).to_dict()
        return [known.get(entry, float("nan")) for entry in entries]

    def _sources(self, chosen: Any) -> tuple[str, ...]:
        """Return the source models of the chosen run, or all of the store; what they saw is read once."""
        if chosen is None:
            names = list(self.store.sources)
        else:
            names = chosen["source_model"].split(_SEP) if isinstance(chosen["source_model"], str) else []
        for name in names:
            if name not in self.training:
                self.training[name] = training_data(self.store, name)
                seen = {self.crystals.get(item) for item in self.training[name].structure_ids}
                self.trained_on[name] = {crystal for crystal in seen if crystal is not None}
        return tuple(names)

    def _parts(self, name: str, key: SplitKey) -> dict[str, pd.DataFrame]:
        """Return entry_id, structure_id and crystal of each part; no target is read."""
        rows = self.store.sql(
            "SELECT part, entry_id FROM splits JOIN entries USING (dataset, entry_id) "
            "WHERE dataset = ? AND property = ? AND scheme = ? AND seed = ? AND fold = ? ORDER BY position",
            [self.dataset, name, *key],
        ).df()
        rows = rows.join(self.own[["structure_id", "crystal"]], on="entry_id")
        return {part: rows[rows["part"] == part] for part in ("train", "val", "test")}


def _first(scored: pd.DataFrame, place: tuple[Any, ...]) -> Any:
    return scored.loc[[place]].iloc[0] if place in scored.index else None


def _named(crystals: pd.Series, sets: dict[str, set[str]]) -> list[str]:
    """Name for each crystal the sets that have it."""
    return [_SEP.join(name for name, there in sets.items() if crystal in there) for crystal in crystals]


def _words(run: Any) -> str:
    """Say which run it is."""
    head = run["head"] if isinstance(run["head"], str) and run["head"] else run["method"]
    source = run["source_model"] if isinstance(run["source_model"], str) else ""
    reads = full_name(run["feature_set"], source) or source
    return f"{head} on {reads}" if reads else str(head)
