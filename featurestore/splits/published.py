"""Splits that came with a dataset, as `ingest` kept them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import StrataError
from featurestore.query.store import FeatureStore
from featurestore.splits.draws import NONE, TEST, TRAIN, VAL, Parts, draw_validation

FEWEST_FOLDS = 3  # one to test, one for validation, one to train on


@dataclass(frozen=True, slots=True)
class Split:
    """A published split: the part of each entry, or the number of its fold, and the hash of what said so."""

    part_of: dict[str, str]
    sha256: str

    def drawn(self, entry_ids: Sequence[str], groups: NDArray[np.int64], seed: int) -> list[Parts]:
        """Return the parts of each entry, '' where the split does not name it, an array for each fold.

        Of folds each is the test part once, with the next one for validation. A split without a validation
        part gets one of its training part, drawn by `groups` (n,) and the seed; nothing else depends on them.

        Raises `StrataError` where a part would be empty.
        """
        folds = sorted({part for part in self.part_of.values() if part.isdigit()}, key=int)
        if folds:
            return self._by_fold(entry_ids, folds)
        found = np.array([self.part_of.get(entry, NONE) for entry in entry_ids], dtype="<U5")
        if VAL not in self.part_of.values() and (found == TRAIN).any():
            found = draw_validation(found, groups, seed)
        for name in (TRAIN, VAL, TEST):
            if not (found == name).any():
                raise StrataError(f"none of {len(entry_ids)} entries lies in the published part {name}")
        return [found]

    def _by_fold(self, entry_ids: Sequence[str], folds: Sequence[str]) -> list[Parts]:
        found = np.array([self.part_of.get(entry, NONE) for entry in entry_ids])
        for fold in folds:
            if not (found == fold).any():
                raise StrataError(f"none of {len(entry_ids)} entries lies in fold {fold} of its own split")
        named = np.where(found == NONE, NONE, TRAIN).astype("<U5")
        return [
            np.where(found == fold, TEST, np.where(found == after, VAL, named))
            for fold, after in zip(folds, [*folds[1:], folds[0]], strict=True)
        ]


def find(store: FeatureStore, dataset: str, property_name: str) -> Split | None:
    """Return the published split of a property, None where the store has none."""
    rows = store.sql(
        "SELECT entry_id, part FROM stored_published WHERE dataset = ? AND property = ?",
        [dataset, property_name],
    ).fetchall()
    if not rows:
        return None
    shards = store.sql(
        """SELECT provenance FROM shards WHERE "table" = 'published' AND dataset = ?""", [dataset]
    ).fetchall()
    facts = next(item for (text,) in shards if (item := json.loads(text)).get("property") == property_name)
    return Split(dict(rows), facts["file_sha256"])


def absent(what: str) -> StrataError:
    """Build the error for a dataset, or a dataset's property, whose published split the store has not."""
    return StrataError(
        f"the store has no published split of {what}; where one was published, ingest again with the file "
        "at hand, or give your own table a column split (train, val, test, or the number of a fold)"
    )
