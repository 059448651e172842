"""A user's table of formulas, without structures: a CSV or an Excel file with a header."""

from collections.abc import Iterator
from pathlib import Path

from core.errors import StrataError
from core.params import Ingest
from etl.cards import DatasetCard
from etl.own.kind import (
    COMPOSITION_NAMES,
    ID_NAMES,
    Columns,
    Kind,
    composition_of,
    entry_id_of,
    first_of,
    is_index,
    refuse_twice,
)
from etl.own.table_rows import read_rows
from etl.providers import Record


def _columns(path: Path) -> Columns:
    names = read_rows(path)[0][1]
    refuse_twice(names, path)
    formula = composition_of(names)
    if formula is None:
        raise StrataError(
            f"{path}: a table without structure files needs a header with a column "
            f"{' or '.join(COMPOSITION_NAMES)}; its first line is {', '.join(names)}. A table of structure "
            "files lies in one folder with them: give the folder"
        )
    values = [name for name in names if name != formula and not is_index(name)]
    return Columns(values, True, first_of(ID_NAMES, values), composition_column=formula)


def _values(path: Path) -> Iterator[dict[str, str]]:
    (_, names), *rows = read_rows(path)
    return (dict(zip(names, cells, strict=True)) for _, cells in rows)


def _records(card: DatasetCard, path: Path, limits: Ingest) -> Iterator[Record]:  # noqa: ARG001
    (_, names), *rows = read_rows(path)
    for number, (line, cells) in enumerate(rows):
        values = dict(zip(names, cells, strict=True))
        entry_id = entry_id_of(card, values, f"{path.stem}-{number}", f"{path}, line {line}")
        yield Record(entry_id, None, values)  # its formula is read where those of published tables are


FORMULAS = Kind(_columns, _values, _records)
