"""The answer to a query, on the screen or in a file."""

import csv
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from core.errors import StrataError, unknown

SHOWN_ROWS = 200
_SHOWN_NUMBERS = 3  # of a vector
_NARROWEST = 10  # characters a column needs on a screen
_PIPE_WIDTH = 10_000  # what reads a pipe does not wrap


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print one titled table."""
    _console().print(_table(columns, rows, title))


def print_answer(relation: Any) -> None:
    """Print the first rows as a table with vectors shortened; rows too wide for the screen, one by one."""
    console, columns = _console(), relation.columns
    rows = relation.limit(SHOWN_ROWS + 1).fetchall()
    if len(columns) * _NARROWEST <= console.width:
        console.print(_table(columns, rows[:SHOWN_ROWS]))
    else:
        for i, row in enumerate(rows[:SHOWN_ROWS], 1):
            console.print(_table(("column", f"row {i}"), list(zip(columns, row, strict=True))))
    if len(rows) > SHOWN_ROWS:
        console.print(f"the first {SHOWN_ROWS} rows; for all of them add --format csv -o FILE")


def _console() -> Any:
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_WIDTH)


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(*map(escape, columns), title=title, title_justify="left")
    for row in rows:
        table.add_row(*(escape(short(value)) for value in row))
    return table


def short(value: Any) -> str:
    """Write one value for a table.

    >>> short([0.25] * 256), short(None), short(0.1 + 0.2)
    ('[0.25, 0.25, 0.25, … 256]', '', '0.3')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        shown = ", ".join(map(short, value[:_SHOWN_NUMBERS]))
        return f"[{shown}]" if len(value) <= _SHOWN_NUMBERS else f"[{shown}, … {len(value)}]"
    return str(value)


def size_text(n: int) -> str:
    """Write a number of bytes for people.

    >>> size_text(999), size_text(23_500_000)
    ('999 B', '23.5 MB')
    """
    size, unit = float(n), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], file: IO[str]) -> None:
    """Write rows as CSV: a missing value is empty, a vector a JSON list."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)


def _cell(value: Any) -> Any:
    return json.dumps(_plain(value)) if isinstance(value, list | tuple | dict) else value


def write_json(columns: Sequence[str], rows: Iterable[Sequence[Any]], file: IO[str]) -> None:
    """Write rows as one JSON array of objects, one row per line; NaN and infinities become null."""
    file.write("[")
    for i, row in enumerate(rows):
        record = {name: _plain(value) for name, value in zip(columns, row, strict=True)}
        file.write((",\n" if i else "\n") + json.dumps(record, ensure_ascii=False))
    file.write("\n]\n")


def _plain(value: Any) -> Any:
    """Return what JSON can say of a value."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    return value if isinstance(value, str | int | bool | None) else str(value)


def write_file(relation: Any, form: str, path: Path) -> None:
    """Write a relation's rows to a file: csv, json or parquet; an old file is replaced at the end."""
    if not path.parent.is_dir():
        raise StrataError(f"cannot write {path}: there is no folder {path.parent}")
    temporary = path.with_name(f".{path.name}.part")
    try:
        if form == "parquet":
            import pyarrow.parquet as pq

            pq.write_table(relation.to_arrow_table(), temporary)
        else:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                write_text(relation, form, file)
        temporary.replace(path)
    except OSError as error:
        raise StrataError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(relation: Any, form: str, file: IO[str]) -> None:
    """Write a relation's rows as csv or json to an open text file."""
    writers = {"csv": write_csv, "json": write_json}
    if form not in writers:
        raise unknown("format", form, [*writers, "parquet", "table"])
    writers[form](relation.columns, relation.iter_rows(), file)
