"""matminer's datasets: a gzipped pandas table in `split` orientation, structures as pymatgen dictionaries."""

from collections.abc import Iterator
from pathlib import Path

from core.archive import read_json
from core.errors import StrataError
from core.params import Ingest
from etl.cards import DatasetCard
from etl.providers import Record, from_row, needs_file


def records(card: DatasetCard, path: Path | None, limits: Ingest) -> Iterator[Record]:  # noqa: ARG001
    """Yield the records of a file such as `dielectric_constant.json.gz`, in its order.

    The label of a row stands in the column `index`, where the table has no column of that name.
    """
    path = needs_file(card, path)
    table = read_json(path)
    if not isinstance(table, dict) or not {"columns", "data"} <= table.keys():
        raise StrataError(f"{path}: expected a table with 'columns' and 'data', as pandas writes it")
    columns, rows = table["columns"], table["data"]
    labels = table.get("index", range(len(rows)))
    if len(labels) != len(rows):
        raise StrataError(f"{path}: {len(labels)} labels for {len(rows)} rows")
    for number in range(len(rows)):
        row, rows[number] = rows[number], None  # a record is freed once it is read: the list is large
        if len(row) != len(columns):
            raise StrataError(f"{path}, record {number}: {len(row)} values for {len(columns)} columns")
        named = {"index": labels[number]} | dict(zip(columns, row, strict=True))
        yield from_row(card, named, number, str(path))
