"""Sheets of Excel that people write, read whole and with the line of what is wrong."""

import zipfile
from datetime import date
from pathlib import Path
from typing import Any

from core.archive import MAX_RATIO
from core.errors import StrataError
from core.lazy import need

_LARGEST = 2**30  # bytes, unpacked


def read_excel(path: Path) -> list[tuple[int, list[str]]]:
    """Return row numbers and cells, as text, of the rows of the first sheet that are not empty.

    Numbers are written as Python reads them back to the same float. All rows are as wide as the first.

    Raises `StrataError` naming the file, and the row where there is one: no readable .xlsx, one that unpacks
    to far more than its size, a cell beyond the columns of the first row, and a formula whose value was never
    computed, which a table saved by another program than Excel may hold.
    """
    openpyxl = need("openpyxl", "excel")
    _refuse_bomb(path)
    try:
        book = openpyxl.load_workbook(path, data_only=True)
        formulas = openpyxl.load_workbook(path)
    except Exception as error:  # noqa: BLE001  # openpyxl raises whatever a broken file makes it raise
        raise StrataError(f"{path} cannot be read as .xlsx: {error}") from None
    if not book.worksheets:
        raise StrataError(f"{path}: no sheet in it")
    found = []
    rows = zip(book.worksheets[0].iter_rows(), formulas.worksheets[0].iter_rows(), strict=True)
    width = 0
    for number, (values, written) in enumerate(rows, 1):
        for value, cell in zip(values, written, strict=True):
            if value.value is None and cell.data_type == "f":
                raise StrataError(
                    f"{path}, row {number}: {cell.coordinate} holds a formula without a value; open the file "
                    "in Excel, save it, and try again"
                )
        cells = [_text(cell.value) for cell in values]
        if not any(cells):
            continue
        if not width:
            width = max(place for place, cell in enumerate(cells, 1) if cell)
        if any(cells[width:]):
            raise StrataError(f"{path}, row {number}: a cell beyond the {width} columns of the first row")
        found.append((number, cells[:width]))
    return found


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))  # Excel knows no whole numbers
    return value.isoformat() if isinstance(value, date) else str(value).strip()


def _refuse_bomb(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
    except (OSError, zipfile.BadZipFile) as error:
        raise StrataError(f"{path} cannot be read as .xlsx: {error}") from None
    if size > _LARGEST or size > MAX_RATIO * max(path.stat().st_size, 1):
        raise StrataError(f"{path}: unpacks to {size:,} bytes, far more than its size; save it as .csv")
