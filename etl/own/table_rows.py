"""The rows of a table that a user wrote, as text: a CSV, or the first sheet of an Excel file."""

from pathlib import Path

from core.csv_file import read_csv
from core.errors import StrataError
from core.excel_file import read_excel

ENDINGS = (".csv", ".xlsx")

Rows = list[tuple[int, list[str]]]  # line numbers and cells


def read_rows(path: Path) -> Rows:
    """Return line numbers and cells of the rows that are not empty; all have as many cells as the first.

    Raises `StrataError` naming the file, and the line where there is one.
    """
    rows = read_excel(path) if path.suffix.lower() == ".xlsx" else read_csv(path)
    if not rows:
        raise StrataError(f"{path}: the table is empty")
    return rows
