"""CSV tables that people write, read whole and with the line of what is wrong."""

import csv
import io
from pathlib import Path

from core.errors import StrataError


def read_csv(path: Path) -> list[tuple[int, list[str]]]:
    """Return line numbers and cells, without spaces around them, of the rows that are not empty.

    All rows have as many cells as the first. Raises `StrataError` naming the file, and the line where there
    is one: not UTF-8, another number of cells, a cell of more than 131,072 characters.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise StrataError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        byte = path.read_bytes()[error.start]
        raise StrataError(
            f"{path}: not UTF-8 at byte {error.start} (0x{byte:02x}); save the file as UTF-8"
        ) from None
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except csv.Error as error:
        raise StrataError(f"{path}, line {reader.line_num}: {error}; is a quotation mark open?") from None
    for line, row in rows:
        if len(row) != len(rows[0][1]):
            raise StrataError(
                f"{path}, line {line}: {len(row)} cells, where the first line has {len(rows[0][1])}"
            )
    return rows
