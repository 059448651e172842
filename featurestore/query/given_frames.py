"""Frames of the caller beside the tables of a store, for one question."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from core.errors import StrataError

Frames = Mapping[str, Any]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def ask(connection: Any, query: str, params: Sequence[Any] | None, frames: Frames) -> Any:
    """Ask a question that may name frames as tables; returns its answer, which needs them no more.

    frames: name → a pandas frame (without its index) or an Arrow table. They are seen by this question alone;
    a variable that is not named here does not exist for SQL.

    Raises `StrataError` for a name that is none or stands for a table of the store, and for what is no frame.
    """
    values = list(params) if params else None
    if not frames:
        return connection.sql(query, params=values)
    taken = {name.casefold() for (name,) in connection.sql("SELECT view_name FROM duckdb_views()").fetchall()}
    tables = {name: _table(name, frame, taken) for name, frame in frames.items()}
    try:
        for name, table in tables.items():
            connection.register(name, table)
        answer = connection.sql(query, params=values).to_arrow_table()
    finally:
        for name in tables:
            connection.unregister(name)
    return connection.from_arrow(answer)


def _table(name: str, frame: Any, taken: set[str]) -> pa.Table:
    if not _NAME.fullmatch(name):
        raise StrataError(f"frame {name[:60]!r}: name it by letters, digits and _, as tables are in SQL")
    if name.casefold() in taken:
        raise StrataError(f"frame {name!r}: the store has a table of that name; choose another")
    if isinstance(frame, pa.Table):
        return frame
    if not (hasattr(frame, "columns") and hasattr(frame, "index")):
        raise StrataError(
            f"frame {name!r}: expected a pandas frame or an Arrow table, got {type(frame).__name__}"
        )
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise StrataError(f"frame {name!r} cannot be read as a table: {error}") from None
