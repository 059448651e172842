"""Splits that came with a dataset, as `ingest` kept them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import StrataError
from featurestore.query.store import FeatureStore
from featurestore.splits.draws import NONE, TEST, TRAIN, VAL, Parts


@dataclass(frozen=True, slots=True)
class Split:
    """A published split: the part of each entry, and the hash of the file that said so."""

    part_of: dict[str, str]
    sha256: str

    def parts(self, entry_ids: Sequence[str]) -> Parts:
        """Return the part of each entry, '' where the file does not name it.

        Raises `StrataError` where a part would be empty.
        """
        found = np.array([self.part_of.get(entry, NONE) for entry in entry_ids], dtype="<U5")
        for name in (TRAIN, VAL, TEST):
            if not (found == name).any():
                raise StrataError(f"none of {len(entry_ids)} entries lies in the published part {name}")
        return found


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
        "at hand"
    )
