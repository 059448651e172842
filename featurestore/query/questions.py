"""What may be asked of a store by SQL: questions only, and of which files."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

from core.errors import StrataError

_SKIPPED = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"  # by DuckDB, between words
_EXPLAIN = re.compile(rf"{_SKIPPED}EXPLAIN\b", re.IGNORECASE | re.DOTALL)
_OPTIONS = re.compile(rf"{_SKIPPED}(?:ANALYZE\b|\([^()]*\)(?={_SKIPPED}\w))", re.IGNORECASE | re.DOTALL)


def check_question(connection: Any, query: str) -> None:
    """Raise `StrataError` unless `query` is one question: a SELECT, or the explanation of one.

    EXPLAIN ANALYZE runs what it explains, so that this must be a question too.
    """
    statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise StrataError(f"one question at a time, please: {len(statements)} statements were given")
    kind = statements[0].type
    if kind is duckdb.StatementType.EXPLAIN:
        check_question(connection, _explained(statements[0].query))
    elif kind is not duckdb.StatementType.SELECT:
        raise StrataError(
            f"only questions (SELECT) are answered, and this is {kind.name}; "
            "write results with --format and -o"
        )


def _explained(query: str) -> str:
    """Return what an EXPLAIN explains."""
    start = _EXPLAIN.match(query)
    if start is None:
        raise StrataError("this EXPLAIN is not understood; write it as EXPLAIN ANALYZE SELECT …")
    options = _OPTIONS.match(query, start.end())
    return query[(options or start).end() :]


class Closed:
    """Stands where the connection of a store was, once the store is closed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __getattr__(self, name: str) -> Any:
        raise StrataError(f"the store {self._path} is closed; open it again to ask it")


def lock(connection: Any, folders: Iterable[Path | str] | None = None) -> None:
    """Fix a connection's settings for good; with `folders`, no file outside of them can be read."""
    if folders is not None:
        listed = ", ".join("'" + str(folder).replace("'", "''") + "'" for folder in folders)
        connection.execute(f"SET allowed_directories = [{listed}]")
        connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
