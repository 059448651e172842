"""A user's own condition in SQL on the structures that are screened."""

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from core.errors import StrataError
from featurestore.query.questions import check_question

VIEW = "screened"  # what a condition is asked of


class Condition:
    """A condition such as `n_atoms < 20 AND chance > 0.5`, which may ask the views of the store as well.

    connection: of the open store. Its settings say which files a question may read. known: a table of what is
    known of structures before anything is predicted; predicted: a table with the columns that come with a
    prediction. Raises `StrataError` at once for what is no condition on the columns of both.
    """

    def __init__(self, connection: Any, text: str, known: pa.Schema, predicted: pa.Schema) -> None:
        self._connection, self._text = connection, text
        if not text.strip():
            raise StrataError("--where needs a condition, such as --where 'n_atoms < 20'")
        empty = pa.schema([*known, *predicted]).empty_table()
        try:
            check_question(connection, f"SELECT * FROM {VIEW} WHERE ({text}\n)")  # noqa: S608 - the user's own
            kinds = self._asked(empty, lambda table: list(map(str, table.project(text).types)))
            self._rows(empty)
        except duckdb.Error as error:
            raise self._unanswerable(error) from error
        if kinds != ["BOOLEAN"]:
            raise StrataError(
                f"--where {text!r} is no condition: that is true or false of a structure, such as n_atoms < "
                f"20, and this is {', '.join(kinds)}"
            )

    def of_known(self, known: pa.Table) -> np.ndarray | None:
        """Tell of each row whether it holds, (n,); None where that depends on predictions."""
        try:
            return self._rows(known)
        except duckdb.BinderException:
            return None
        except duckdb.Error as error:
            raise self._unanswerable(error) from error

    def of_predicted(self, rows: pa.Table) -> np.ndarray:
        """Tell the same of rows that have the columns of a prediction, too."""
        try:
            return self._rows(rows)
        except duckdb.Error as error:
            raise self._unanswerable(error) from error

    def _unanswerable(self, error: duckdb.Error) -> StrataError:
        return StrataError(f"--where {self._text!r} cannot be asked of the structures screened: {error}")

    def _rows(self, rows: pa.Table) -> np.ndarray:
        places = rows.append_column("_row", pa.array(np.arange(len(rows))))
        kept = self._asked(
            places, lambda table: table.filter(self._text).project("_row").fetchnumpy()["_row"]
        )
        mask = np.zeros(len(rows), bool)
        mask[kept.astype(np.int64)] = True
        return mask

    def _asked(self, rows: pa.Table, ask: Any) -> Any:
        self._connection.register(VIEW, rows)
        try:
            return ask(self._connection.table(VIEW))
        finally:
            self._connection.unregister(VIEW)
