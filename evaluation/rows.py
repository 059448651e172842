"""The rows that methods are compared on: the entries that all of them predict.

A source model may reject a structure, and a head on its vectors says nothing of the entries of it. Read from
the stored predictions, and from no target.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from core.errors import StrataError
from featurestore.query.feature_sets import full_name
from featurestore.query.store import FeatureStore

SPLIT_KEY = ["scheme", "seed", "fold"]
TARGET_KEY = ["dataset", "property", *SPLIT_KEY]
PARTS = {"val": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class CommonRows:
    """What the methods of one target and split have in common, where they do not all predict the same.

    entries: of each part the ids that all methods predict; none where those that stay predict the same.
    rows: of each part how many entries any of them predicts. without: the ids of runs that stay out, as they
    lack more than half of a part.
    """

    entries: Mapping[str, frozenset[str]]
    rows: Mapping[str, int]
    without: tuple[str, ...] = ()

    def left_out(self, part: str) -> int:
        """Return how many rows of a part are left out."""
        return self.rows[part] - len(self.entries[part]) if self.entries else 0


def common_rows(store: FeatureStore, runs: pd.DataFrame) -> dict[tuple[Any, ...], CommonRows]:
    """Find the targets and splits whose runs do not all predict the same entries, and what they share.

    runs: of the table runs; those without a validation MAE take no part. Raises `StrataError` where methods
    share no entry of a part.
    """
    competing = runs[runs["val_mae"].notna()]
    counted = store.sql(
        "SELECT run_id, part, count(*), bit_xor(hash(entry_id)) FROM predictions "
        "WHERE part IN ('val', 'test') AND run_id IN (SELECT unnest(?::VARCHAR[])) "
        "GROUP BY run_id, part ORDER BY ALL",
        [sorted(set(competing["run_id"]))],
    ).fetchall()
    said: dict[str, list[Any]] = {}
    for run_id, *facts in counted:
        said.setdefault(run_id, []).append(facts)
    found = {}
    for place, group in competing.groupby(TARGET_KEY, sort=True):
        ids = sorted(set(group["run_id"]))
        if any(said.get(run_id) != said.get(ids[0]) for run_id in ids):
            found[place] = _common(store, ids, place)
    return found


def _common(store: FeatureStore, ids: Sequence[str], place: tuple[Any, ...]) -> CommonRows:
    predicted: dict[str, dict[str, set[str]]] = {part: {run_id: set() for run_id in ids} for part in PARTS}
    for run_id, part, entry in store.sql(
        "SELECT run_id, part, entry_id FROM predictions "
        "WHERE part IN ('val', 'test') AND run_id IN (SELECT unnest(?::VARCHAR[]))",
        [list(ids)],
    ).fetchall():
        predicted[part][run_id].add(entry)
    whole = {part: len(set.union(*of.values())) for part, of in predicted.items()}
    staying = [i for i in ids if all(2 * len(of[i]) >= whole[part] for part, of in predicted.items())]
    if not staying:
        raise StrataError(f"{_words(place)}: each method lacks more than half of the rows; fit them apart")
    kept = {part: [of[i] for i in staying] for part, of in predicted.items()}
    entries = {part: frozenset(set.intersection(*of)) for part, of in kept.items()}
    for part, shared in entries.items():
        if not shared:
            raise StrataError(
                f"{_words(place)}: no {PARTS[part]} entry is predicted by all methods; fit them apart"
            )
    rows = {part: len(set.union(*of)) for part, of in kept.items()}
    agree = all(len(entries[part]) == rows[part] for part in PARTS)
    return CommonRows({} if agree else entries, rows, tuple(sorted(set(ids) - set(staying))))


def notes_of(store: FeatureStore, runs: pd.DataFrame) -> list[str]:
    """Say which rows and which methods are left out of the comparison, in sentences; none where none is."""
    rows: dict[tuple[str, ...], list[CommonRows]] = {}
    without: dict[str, None] = {}
    named = runs.drop_duplicates("run_id").set_index("run_id")
    for place, shared in common_rows(store, runs).items():
        rows.setdefault(place[:3], []).append(shared)
        for run_id in shared.without:
            run = named.loc[run_id]
            name = run["head"] if isinstance(run["head"], str) and run["head"] else run["method"]
            reads = full_name(run["feature_set"], run["source_model"])
            name = f"{name} on {reads}" if reads else name
            without[f"{_words(place[:3])}: {name} lacks more than half of the rows, and is left out."] = None
    notes = []
    for place, all_shared in rows.items():
        counts = [
            f"{sum(s.left_out(part) for s in all_shared)} of {sum(s.rows[part] for s in all_shared)} {word}"
            for part, word in PARTS.items()
            if any(s.left_out(part) for s in all_shared)
        ]
        if counts:
            notes.append(
                f"{_words(place)}: {' and '.join(counts)} rows are left out, of which not all methods say "
                "something."
            )
    return [*notes, *without]


def _words(place: Sequence[Any]) -> str:
    """Name a target and its split.

    >>> _words(("emt_alloys", "volume", "random", 0, 0))
    'emt_alloys/volume, random-0-0'
    """
    dataset, prop, *split = place
    return f"{dataset}/{prop}, {'-'.join(map(str, split))}"
