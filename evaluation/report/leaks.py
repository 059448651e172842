"""What test parts share with what was seen before, as far as the store knows it without comparing crystals.

`strata audit` compares crystals in whatever cell, which takes longer than a page may.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from evaluation.protocol import split_label
from evaluation.report.tested import Place
from evaluation.training_data import TrainingData, training_data
from featurestore.query.store import FeatureStore
from featurestore.splits import duplicates


@dataclass(frozen=True, slots=True)
class Leaks:
    """The test entries of one property that were seen before, one way or another.

    in_parts: whose structure lies in train or validation too; None where the store has no such split.
    seen_by: source model → how many of its training structures are among them. unknown: source models of
    which it is not known, or not of all. clean: entries that are not affected, clean_mae: their mean absolute
    error, in the property's unit. in_any_cell: crystals were compared, and not only cells.
    """

    tested: int
    in_parts: int | None
    seen_by: Mapping[str, int]
    unknown: tuple[str, ...]
    clean: int
    clean_mae: float | None
    in_any_cell: bool


class LeakFinder:
    """Holds what all properties share: which crystals lie in which parts, and what networks have seen."""

    def __init__(self, store: FeatureStore, places: Sequence[Place]) -> None:
        self.store = store
        self.crystals = duplicates.load(store.path)
        self.training: dict[str, TrainingData] = {}
        self._seen: dict[str, frozenset[str]] = {}
        self._twins, self._split = _twins(store, places, self.crystals)

    def find(self, rows: pd.DataFrame, places: Sequence[Place], sources: Sequence[str]) -> Leaks | None:
        """Look for the test entries `rows` of places in other parts, and in training data of `sources`."""
        if "structure_id" not in rows:
            return None
        crystal = rows["structure_id"].map(lambda name: self.crystals.get(name, name))
        twin = rows["entry_id"].isin({entry for place in places for entry in self._twins.get(place, ())})
        affected, seen_by = twin.copy(), {}
        for source in sources:
            here = crystal.isin(self._seen_by(source))
            seen_by[source] = int(here.sum())
            affected |= here
        clean = rows.loc[~affected, "error"]
        return Leaks(
            tested=len(rows),
            in_parts=int(twin.sum()) if set(places) <= self._split else None,
            seen_by=seen_by,
            unknown=tuple(source for source in sources if not self.training[source].is_known),
            clean=len(clean),
            clean_mae=float(clean.mean()) if len(clean) else None,
            in_any_cell=bool(self.crystals) and all(rows["structure_id"].isin(self.crystals)),
        )

    def _seen_by(self, source: str) -> frozenset[str]:
        if source not in self._seen:
            self.training[source] = training_data(self.store, source)
            ids = self.training[source].structure_ids
            self._seen[source] = frozenset(self.crystals.get(name, name) for name in ids)
        return self._seen[source]


def _twins(
    store: FeatureStore, places: Sequence[Place], crystals: Mapping[str, str]
) -> tuple[dict[Place, set[str]], set[Place]]:
    """Return the test entries of each place whose crystal lies in train or val too, and the known places."""
    datasets = sorted({dataset for dataset, _, _ in places})
    rows = store.sql(
        "WITH crystals AS (SELECT unnest(?::VARCHAR[]) AS structure_id, unnest(?::VARCHAR[]) AS crystal), "
        "placed AS (SELECT s.dataset, s.property, s.scheme, s.seed, s.fold, s.part, s.entry_id, "
        "coalesce(c.crystal, e.structure_id) AS crystal FROM splits s "
        "JOIN entries e USING (dataset, entry_id) LEFT JOIN crystals c USING (structure_id) "
        "WHERE s.dataset IN (SELECT unnest(?::VARCHAR[]))), "
        "others AS (SELECT DISTINCT dataset, property, scheme, seed, fold, crystal FROM placed "
        "WHERE part <> 'test') "
        "SELECT t.dataset, t.property, t.scheme, t.seed, t.fold, "
        "list(t.entry_id) FILTER (o.crystal IS NOT NULL) FROM placed t "
        "LEFT JOIN others o USING (dataset, property, scheme, seed, fold, crystal) "
        "WHERE t.part = 'test' GROUP BY ALL",
        [list(crystals), list(crystals.values()), datasets],
    ).fetchall()
    found = {
        (d, p, split_label(scheme, seed, fold)): set(ids or ()) for d, p, scheme, seed, fold, ids in rows
    }
    return found, set(found)
