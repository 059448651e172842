"""jarvis-tools' figshare files: a zip with one JSON list of flat records."""

from collections.abc import Iterator
from pathlib import Path

from core.archive import read_records
from core.params import Ingest
from etl.cards import DatasetCard
from etl.providers import Record, from_row, needs_file


def records(card: DatasetCard, path: Path | None, limits: Ingest) -> Iterator[Record]:  # noqa: ARG001
    """Yield the records of a file such as `jdft_3d-12-12-2022.json.zip`, in its order."""
    path = needs_file(card, path)
    for number, row in enumerate(read_records(path)):
        yield from_row(card, row, number, str(path))
