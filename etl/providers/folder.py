"""A user's own data: structure files with a table, formulas, an extended XYZ, an ASE database, a frame."""

from collections.abc import Iterator
from pathlib import Path

from core.errors import StrataError
from core.params import Ingest
from etl.cards import DatasetCard
from etl.limits import label_of
from etl.own.ase_files import DATABASE, XYZ
from etl.own.formula_table import FORMULAS
from etl.own.frame import FRAME
from etl.own.kind import Columns, Kind
from etl.own.structure_folder import FOLDER
from etl.own.table_rows import ENDINGS
from etl.providers import Record, needs_file
from featurestore.columns import NULL_TOKENS

MOST_CLASSES = 100


def records(card: DatasetCard, path: Path | None, limits: Ingest) -> Iterator[Record]:
    """Yield the records of a folder or file, in its order. See docs/your-data.md for what it may be.

    A structure that cannot be read becomes the record's `error`. A molecule without a cell is boxed with
    `limits.vacuum`. Raises `StrataError` naming file and line for a table that cannot be understood.
    """
    path = needs_file(card, path)
    yield from _kind(path).records(card, path, limits)


def columns(path: Path) -> Columns:
    """Look which columns a user's data has, reading as little of it as that takes."""
    if not path.exists():
        raise StrataError(f"{path.absolute()} does not exist")
    return _kind(path).columns(path)


def labels(path: Path, column: str) -> list[str]:
    """Return the different labels of a column, in their order. Raises `StrataError` for fewer than two."""
    cells = (values.get(column) for values in _kind(path).values(path))
    found = {label_of(cell) for cell in cells if not (isinstance(cell, str) and cell in NULL_TOKENS)} - {None}
    if not 1 < len(found) <= MOST_CLASSES:
        raise StrataError(
            f"{path}, column {column!r}: {len(found)} different labels; a class has 2 to {MOST_CLASSES}"
        )
    return sorted(map(str, found))


def _kind(path: Path) -> Kind:
    if path.is_dir():
        return FOLDER
    if path.exists() and not path.is_file():  # a pipe has no end
        raise StrataError(f"{path.absolute()} is neither a folder nor a regular file")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] in ([".xyz"], [".extxyz"]):
        return XYZ
    if suffixes and suffixes[-1] in ENDINGS:
        return FORMULAS
    if suffixes[-1:] == [".db"]:
        return DATABASE
    if suffixes[-1:] == [".parquet"] or ".json" in suffixes[-2:]:
        return FRAME
    raise StrataError(
        f"{path}: not a kind of data that is known; give a folder with id_prop.csv and structure files, a "
        "table of formulas (.csv, .xlsx), an extended XYZ (.xyz, .extxyz), an ASE database (.db) or a data "
        "frame (.parquet, .json, .json.gz)"
    )
