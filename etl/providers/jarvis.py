"""jarvis-tools' figshare files: a zip with one JSON list of flat records."""

from collections.abc import Iterator
from pathlib import Path

from etl.archive import read_json
from etl.cards import DatasetCard
from etl.errors import StrataError
from etl.params import Ingest
from etl.providers import Record, from_row, needs_file


def records(card: DatasetCard, path: Path | None, limits: Ingest) -> Iterator[Record]:  # noqa: ARG001
    """Yield the records of a file such as `jdft_3d-12-12-2022.json.zip`, in its order."""
    path = needs_file(card, path)
    rows = read_json(path)
    if not isinstance(rows, list):
        raise StrataError(f"{path}: expected a JSON list of records, got {type(rows).__name__}")
    for number in range(len(rows)):
        row, rows[number] = rows[number], None  # a record is freed once it is read: the list is large
        yield from_row(card, row, number, str(path))
