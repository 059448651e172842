"""Tables of a user's own columns: numbers beside the vectors of networks, a row per entry or structure.

Such a table is kept like the vectors of a source model: one checkpoint, `columns_0`, that has the columns
side by side. Which dataset it belongs to and what its columns are called stand with it.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.csv_file import read_csv
from core.errors import StrataError, check_name, unknown
from core.text import parse_number
from featurestore.tables.schema import Checkpoint

BACKBONE = "columns"  # what the table `extractions` says of such a table
_LARGEST = float(np.finfo(np.float32).max)
NULL_TOKENS = ("", "na", "NA", "N/A", "nan", "NaN", "None", "null")  # missing values in a user's own table


@dataclass(frozen=True, eq=False)
class OwnColumns:
    """Rows of a table: `ids` (n,), each once; `values` (n, d) float32 by `names`, NaN: missing."""

    ids: tuple[str, ...]
    names: tuple[str, ...]
    values: NDArray[np.float32]

    @cached_property
    def place(self) -> dict[str, int]:
        """Where each id's row is."""
        return {name: row for row, name in enumerate(self.ids)}

    def lacking(self, row: int) -> list[str]:
        """Return the columns that have no value in a row."""
        return [name for name, value in zip(self.names, self.values[row], strict=True) if np.isnan(value)]


def checkpoint_of(names: Sequence[str]) -> Checkpoint:
    """Return the one checkpoint that a table of these columns has."""
    return Checkpoint(f"{BACKBONE}_0", BACKBONE, 0, len(names))


def extraction_of(table: str, dataset: str, names: Sequence[str]) -> str:
    """Name what the vectors of a table mean; values may change under it, as those of a run are hashed."""
    key = {"backbone": BACKBONE, "table": table, "dataset": dataset, "columns": list(names)}
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def read_own_columns(path: Path, names: Sequence[str] = (), id_column: str | None = None) -> OwnColumns:
    """Read a CSV with a header, or a Parquet file.

    names: the columns that are wanted; none: all but the ids. id_column: None means the first.

    Raises `StrataError` naming the file, the row and the column: an id that is missing or stands twice, what
    is no finite number, columns that are unknown, unnamed or named twice.
    """
    if not path.is_file():
        raise StrataError(f"{path} does not exist; give a table with a column of ids, as .csv or .parquet")
    kinds = {".csv": _csv_rows, ".parquet": _parquet_rows}
    if path.suffix.lower() not in kinds:
        raise StrataError(f"{path}: a table of columns is a .csv with a header or a .parquet")
    header, rows = kinds[path.suffix.lower()](path)
    if len(header) < 2:
        raise StrataError(f"{path}: expected a column of ids and columns of numbers, found {len(header)}")
    for name in header:
        check_name(name, f"{path}: column")
        if header.count(name) > 1:
            raise StrataError(f"{path}: column {name} stands in it twice")
    ids_at = header.index(_known(id_column or header[0], header, path))
    wanted = [_known(name, header, path) for name in names or [n for n in header if n != header[ids_at]]]
    if header[ids_at] in wanted:
        raise StrataError(f"{path}: column {header[ids_at]} has the ids, and cannot be a feature too")
    places = [header.index(name) for name in wanted]
    ids: dict[str, str] = {}
    values = []
    for where, row in rows:
        name = "" if row[ids_at] is None else str(row[ids_at]).strip()
        if not name:
            raise StrataError(f"{path}, {where}: no id in column {header[ids_at]}")
        if name in ids:
            raise StrataError(f"{path}, {where}: id {name} stands in {ids[name]} already; keep one of them")
        ids[name] = where
        values.append([_number(row[at], f"{path}, {where}, column {header[at]}") for at in places])
    if not ids:
        raise StrataError(f"{path}: no rows")
    return OwnColumns(tuple(ids), tuple(wanted), np.array(values, np.float32).reshape(len(ids), -1))


def _known(name: str, header: Sequence[str], path: Path) -> str:
    if name not in header:
        raise unknown("column", name, header, str(path))
    return name


def _number(cell: Any, where: str) -> float:
    """Read one cell; NaN where it is empty or says that the value is missing."""
    if cell is None or (isinstance(cell, str) and cell.strip() in NULL_TOKENS):
        return np.nan
    try:
        value = parse_number(cell) if isinstance(cell, str) else float(cell)
    except (TypeError, ValueError):
        raise StrataError(
            f"{where}: {str(cell)[:60]!r} is no number; missing values are left empty"
        ) from None
    if not (np.isnan(value) or abs(value) <= _LARGEST):
        raise StrataError(f"{where}: {value} is beyond what is kept (single precision); scale the column")
    return value


def _csv_rows(path: Path) -> tuple[list[str], Iterator[tuple[str, list[Any]]]]:
    rows = read_csv(path)
    header = rows[0][1] if rows else []
    return header, ((f"line {line}", list(row)) for line, row in rows[1:])


def _parquet_rows(path: Path) -> tuple[list[str], Iterator[tuple[str, list[Any]]]]:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise StrataError(f"{path} cannot be read as Parquet: {error}") from None
    columns = [column.to_pylist() for column in table.columns]
    rows = zip(*columns, strict=True) if columns else iter(())
    return list(table.column_names), ((f"row {i}", list(row)) for i, row in enumerate(rows))
