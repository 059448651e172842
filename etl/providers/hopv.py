"""The Harvard organic photovoltaic dataset in jarvis-tools' format: an entry a conformer."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from core.params import Ingest
from etl.cards import DatasetCard
from etl.providers import Record, jarvis


def records(card: DatasetCard, path: Path | None, limits: Ingest) -> Iterator[Record]:
    """Yield the conformers in the file's order.

    Conformers may share the id of their molecule: the second is named ID-2, the third ID-3, and so on.
    """
    seen: Counter[str] = Counter()
    for record in jarvis.records(card, path, limits):
        seen[record.entry_id] += 1
        count = seen[record.entry_id]
        named = record.entry_id if count == 1 else f"{record.entry_id}-{count}"
        yield dataclasses.replace(record, entry_id=named)
