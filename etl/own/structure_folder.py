"""A user's folder: a table, and a structure file for each of its rows, beside it or in folders below."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from core.errors import StrataError
from core.params import Ingest
from core.structure import InvalidStructure, Structure
from core.structure_files import SUFFIXES, is_structure_file, read_structures
from core.text import parse_number
from etl.cards import DatasetCard
from etl.limits import is_limit
from etl.own.kind import Columns, Kind, is_index, record_of, refuse_twice
from etl.own.table_rows import ENDINGS, Rows, read_rows
from etl.providers import Record
from featurestore.columns import NULL_TOKENS

TABLE = "id_prop"  # as alignn and cgcnn have it
_SUFFIXES = ("", *SUFFIXES)


class Files:
    """The structure files of a folder and of those below it, found by what a table calls them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._below: dict[str, list[Path]] | None = None

    def find(self, name: str) -> Path | None:
        """Return the file of that name, with or without suffix; None where there is none.

        name: of a file in the folder, or its path from there, or of the only one so called in the folders
        below. Raises `InvalidStructure` where several are called so.
        """
        found = next((self.folder / f"{name}{end}" for end in _SUFFIXES if self._is_file(name, end)), None)
        if found is not None or "/" in name:
            return found
        several = self._by_name().get(name, [])
        if len(several) > 1:
            listed = " and ".join(path.relative_to(self.folder).as_posix() for path in several[:2])
            raise InvalidStructure("unreadable", f"{name} may be {listed}; say which in the table")
        return several[0] if several else None

    def _is_file(self, name: str, end: str) -> bool:
        try:
            return (self.folder / f"{name}{end}").is_file()
        except OSError:  # a name that is too long for any file
            return False

    def _by_name(self) -> dict[str, list[Path]]:
        if self._below is None:
            self._below = {}
            for path in structures_below(self.folder):
                for name in dict.fromkeys((path.name, path.stem)):
                    self._below.setdefault(name, []).append(path)
        return self._below


def structures_below(folder: Path) -> list[Path]:
    """Return the structure files in the folders below one, hidden ones left out, in the order of names."""
    found = (path for path in folder.glob("*/**/*") if is_structure_file(path) and path.is_file())
    return sorted(
        path for path in found if not any(part[0] == "." for part in path.relative_to(folder).parts)
    )


def table_file(folder: Path) -> Path:
    """Return the table of a folder: id_prop.csv (or .xlsx), or the only one there is."""
    for end in ENDINGS:
        if (folder / f"{TABLE}{end}").is_file():
            return folder / f"{TABLE}{end}"
    for end in ENDINGS:
        found = sorted(path for path in folder.glob(f"*{end}") if path.name[:1] not in "~.")
        if len(found) == 1:
            return found[0]
        if found:
            break
    raise StrataError(
        f"{folder}: expected {TABLE}.csv (or one .csv or .xlsx file) in it, found {len(found)} {end} files"
    )


def _table(folder: Path) -> tuple[list[str], bool, Rows]:
    """Column names after the first, whether the table names them, and its rows with their line numbers."""
    path = table_file(folder)
    rows = _without_index(read_rows(path), folder)
    width = len(rows[0][1])
    if width < 2:
        raise StrataError(
            f"{path}, line {rows[0][0]}: expected a file name and a value, separated by a comma"
        )
    header = rows[0][1][1:]
    if not all(_is_value(cell) for cell in header):
        refuse_twice(header, path)
        return header, True, rows[1:]
    count = width - 1
    return ["value"] if count == 1 else [f"value_{i}" for i in range(1, count + 1)], False, rows


def _without_index(rows: Rows, folder: Path) -> Rows:
    """Take away a first column in which pandas has numbered the rows."""
    cells = [cells[0] for _, cells in rows]
    if len(rows) < 2 or len(rows[0][1]) < 3 or not is_index(cells[0]):
        return rows
    if not all(cell.isascii() and cell.isdigit() for cell in cells[1:]) or Files(folder).find(cells[1]):
        return rows
    return [(line, cells[1:]) for line, cells in rows]


def _is_value(cell: str) -> bool:
    if cell in NULL_TOKENS or is_limit(cell):
        return True
    try:
        parse_number(cell)
    except ValueError:
        return False
    return True


def _columns(path: Path) -> Columns:
    names, named, _ = _table(path)
    return Columns(names, named)


def _values(path: Path) -> Iterator[dict[str, str]]:
    names, _, rows = _table(path)
    return (dict(zip(names, cells, strict=True)) for _, (_, *cells) in rows)


def _records(card: DatasetCard, path: Path, limits: Ingest) -> Iterator[Record]:
    names, _, rows = _table(path)
    table, files = table_file(path), Files(path)
    for line, (written, *cells) in rows:
        name = written.replace("\\", "/").removeprefix("./")  # as Windows writes it
        parts = name.split("/")
        if "\0" in name or any(part in ("", ".", "..") for part in parts):
            raise StrataError(f"{table}, line {line}: {written!r} is not the name of a file in {path}")
        values = dict(zip(names, cells, strict=True))
        suffix = PurePosixPath(name).suffix
        entry_id = name[: -len(suffix)] if suffix.lower() in SUFFIXES else name
        yield record_of(entry_id, values, partial(_read, files, name, f"{table}, line {line}", card, limits))


def _read(files: Files, name: str, where: str, card: DatasetCard, limits: Ingest) -> Structure:
    file, folder = files.find(name), files.folder
    if file is None:
        raise InvalidStructure("no_structure", f"{where}: {folder} has no structure file named {name}")
    if not file.resolve().is_relative_to(folder.resolve()):  # a folder that somebody sent
        raise InvalidStructure("unreadable", f"{file} is a link that leads out of {folder}; copy the file")
    aliases = card.structure.aliases if card.structure else {}
    found = read_structures(file, limits.vacuum, aliases)
    if len(found) > 1:
        raise InvalidStructure("unreadable", f"{file} holds {len(found)} structures for one row of the table")
    return found[0][1]


FOLDER = Kind(_columns, _values, _records)
