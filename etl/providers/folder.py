"""A user's own data: structure files with a table, formulas, an extended XYZ, an ASE database, a frame."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from core.archive import read_json
from core.csv_file import read_csv
from core.errors import StrataError
from core.lazy import need
from core.params import Ingest
from core.structure import InvalidStructure, Structure
from core.structure_files import check_declared, read_structures
from core.text import parse_number
from etl.cards import DatasetCard
from etl.limits import is_limit, label_of
from etl.providers import Record, needs_file
from featurestore.columns import NULL_TOKENS

MOST_CLASSES = 100
TABLE = "id_prop.csv"  # as alignn and cgcnn have it
COMPOSITION_NAMES = ("formula", "composition")  # in capitals, too
ID_NAMES = ("id", "entry_id", "material_id", "jid", "mp_id", "name", "index")
_SUFFIXES = ("", ".cif", ".vasp", ".poscar", ".xyz", ".extxyz", ".pdb")
_STRUCTURE_SUFFIXES = frozenset(_SUFFIXES[1:])


class Columns(NamedTuple):
    """What a user's data offers: columns with values, and where ids, structures, formulas stand, if there."""

    values: list[str]
    named: bool  # False: the table has no header, and `values` are names given here, in its order
    id_column: str | None = None
    structure_column: str | None = None
    composition_column: str | None = None


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


class _Kind(NamedTuple):
    columns: Callable[[Path], Columns]
    values: Callable[[Path], Iterator[Mapping[str, object]]]
    records: Callable[[DatasetCard, Path, Ingest], Iterator[Record]]


def _kind(path: Path) -> _Kind:
    if path.is_dir():
        return _Kind(_table_columns, _table_values, _table_records)
    if path.exists() and not path.is_file():  # a pipe has no end
        raise StrataError(f"{path.absolute()} is neither a folder nor a regular file")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] in ([".xyz"], [".extxyz"]):
        return _Kind(_xyz_columns, lambda path: map(_frame_values, _frames(path)), _xyz_records)
    if suffixes[-1:] == [".csv"]:
        return _Kind(_formula_columns, _formula_values, _formula_records)
    if suffixes[-1:] == [".db"]:
        return _Kind(_ase_columns, lambda path: map(_ase_values, _ase_rows(path)), _ase_records)
    if suffixes[-1:] == [".parquet"] or ".json" in suffixes[-2:]:
        return _Kind(_frame_columns, _frame_rows, _frame_records)
    raise StrataError(
        f"{path}: not a kind of data that is known; give a folder with {TABLE} and structure files, a table "
        "of formulas (.csv), an extended XYZ (.xyz, .extxyz), an ASE database (.db) or a data frame "
        "(.parquet, .json, .json.gz)"
    )


# --- a folder: id_prop.csv and structure files ---


def _table_file(folder: Path) -> Path:
    named = folder / TABLE
    if named.is_file():
        return named
    found = sorted(folder.glob("*.csv"))
    if len(found) != 1:
        raise StrataError(
            f"{folder}: expected {TABLE} (or one .csv file) in it, found {len(found)} .csv files"
        )
    return found[0]


def _csv(path: Path) -> list[tuple[int, list[str]]]:
    rows = read_csv(path)
    if not rows:
        raise StrataError(f"{path}: the table is empty")
    return rows


def _table(folder: Path) -> tuple[list[str], bool, list[tuple[int, list[str]]]]:
    """Column names after the first, whether the table names them, and its rows with their line numbers."""
    path = _table_file(folder)
    rows = _csv(path)
    width = len(rows[0][1])
    if width < 2:
        raise StrataError(
            f"{path}, line {rows[0][0]}: expected a file name and a value, separated by a comma"
        )
    header = rows[0][1][1:]
    if not all(_is_value(cell) for cell in header):
        _refuse_twice(header, path)
        return header, True, rows[1:]
    count = width - 1
    return ["value"] if count == 1 else [f"value_{i}" for i in range(1, count + 1)], False, rows


def _refuse_twice(header: Sequence[str], path: Path) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise StrataError(f"{path}: two columns are named {', '.join(map(repr, twice))}; rename one")


def _is_value(cell: str) -> bool:
    if cell in NULL_TOKENS or is_limit(cell):
        return True
    try:
        parse_number(cell)
    except ValueError:
        return False
    return True


def _table_columns(path: Path) -> Columns:
    names, named, _ = _table(path)
    return Columns(names, named)


def _table_values(path: Path) -> Iterator[dict[str, str]]:
    names, _, rows = _table(path)
    return (dict(zip(names, cells, strict=True)) for _, (_, *cells) in rows)


def _table_records(card: DatasetCard, path: Path, limits: Ingest) -> Iterator[Record]:
    names, _, rows = _table(path)
    table = _table_file(path)
    for line, (name, *cells) in rows:
        if not name or "/" in name or "\\" in name or "\0" in name or name in (".", ".."):
            raise StrataError(f"{table}, line {line}: {name!r} is not the name of a file in {path}")
        file = next((path / f"{name}{end}" for end in _SUFFIXES if (path / f"{name}{end}").is_file()), None)
        values = dict(zip(names, cells, strict=True))
        suffix = Path(name).suffix
        entry_id = name[: -len(suffix)] if suffix.lower() in _STRUCTURE_SUFFIXES else name
        if file is None:
            reason = f"{table}, line {line}: {path} has no structure file named {name}"
            yield Record(entry_id, None, values, InvalidStructure("no_structure", reason))
            continue
        yield _record(entry_id, values, partial(_only, file, path, card, limits))


def _only(file: Path, folder: Path, card: DatasetCard, limits: Ingest) -> Structure:
    if not file.resolve().is_relative_to(folder.resolve()):  # a folder that somebody sent
        raise InvalidStructure("unreadable", f"{file} is a link that leads out of {folder}; copy the file")
    aliases = card.structure.aliases if card.structure else {}
    found = read_structures(file, limits.vacuum, aliases)
    if len(found) > 1:
        raise InvalidStructure("unreadable", f"{file} holds {len(found)} structures for one row of the table")
    return found[0][1]


def _record(entry_id: str, values: Mapping[str, object], read: Callable[[], Structure]) -> Record:
    try:
        return Record(entry_id, read(), values)
    except InvalidStructure as error:
        return Record(entry_id, None, values, error)


# --- a table of formulas, without structures ---


def _formula_columns(path: Path) -> Columns:
    names = _csv(path)[0][1]
    _refuse_twice(names, path)
    formula = next((name for name in names if name.lower() in COMPOSITION_NAMES), None)
    if formula is None:
        raise StrataError(
            f"{path}: a table without structure files needs a header with a column "
            f"{' or '.join(COMPOSITION_NAMES)}; its first line is {', '.join(names)}"
        )
    values = [name for name in names if name != formula]
    return Columns(values, True, _first_of(ID_NAMES, values), composition_column=formula)


def _formula_values(path: Path) -> Iterator[dict[str, str]]:
    (_, names), *rows = _csv(path)
    return (dict(zip(names, cells, strict=True)) for _, cells in rows)


def _formula_records(card: DatasetCard, path: Path, limits: Ingest) -> Iterator[Record]:  # noqa: ARG001
    (_, names), *rows = _csv(path)
    for number, (line, cells) in enumerate(rows):
        values = dict(zip(names, cells, strict=True))
        entry_id = _entry_id(card, values, f"{path.stem}-{number}", f"{path}, line {line}")
        yield Record(entry_id, None, values)  # its formula is read where those of published tables are


# --- one extended XYZ file ---


def _frames(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        try:
            check_declared(lines)
        except InvalidStructure as error:
            raise StrataError(f"{path}: not an extended XYZ: {error}") from None
    frames = need("ase.io", "data").iread(path, index=":", format="extxyz")
    number = 0
    while True:
        try:
            yield next(frames)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001  # ASE raises whatever a broken file makes it raise
            raise StrataError(f"{path}, frame {number}: not an extended XYZ: {error!r}") from None
        number += 1


def _frame_values(atoms: Any) -> dict[str, object]:
    """Numbers and words of the comment line; ASE keeps some of them with a calculator."""
    return dict(atoms.info) | dict(getattr(atoms.calc, "results", {}))


def _xyz_columns(path: Path) -> Columns:
    first = next(_frames(path), None)
    if first is None:
        raise StrataError(f"{path}: no frames in it")
    names = list(_frame_values(first))
    return Columns(names, True, _first_of(ID_NAMES, names))


def _xyz_records(card: DatasetCard, path: Path, limits: Ingest) -> Iterator[Record]:
    for number, atoms in enumerate(_frames(path)):
        values = _frame_values(atoms)
        entry_id = _entry_id(card, values, f"{path.stem}-{number}", f"{path}, frame {number}")
        yield _record(entry_id, values, partial(Structure.from_ase, atoms, limits.vacuum))


# --- an ASE database ---


def _ase_rows(path: Path) -> Iterator[Any]:
    import sqlite3

    try:
        yield from need("ase.db", "data").connect(str(path), use_lock_file=False).select()
    except sqlite3.DatabaseError as error:
        raise StrataError(f"{path}: not an ASE database: {error}") from None


def _ase_values(row: Any) -> dict[str, object]:
    return dict(row.key_value_pairs) | ({"energy": row.energy} if "energy" in row else {})


def _ase_columns(path: Path) -> Columns:
    names: dict[str, None] = {}
    for row in _ase_rows(path):
        names |= dict.fromkeys(_ase_values(row))
    if not names:
        raise StrataError(f"{path}: no rows with key-value pairs in it")
    return Columns(list(names), True, _first_of(ID_NAMES, names))


def _ase_records(card: DatasetCard, path: Path, limits: Ingest) -> Iterator[Record]:
    for row in _ase_rows(path):
        values = _ase_values(row)
        absent = dict.fromkeys((item.column for item in card.properties.values()), None)
        entry_id = _entry_id(card, values, str(row.id), f"{path}, row {row.id}")
        yield _record(entry_id, absent | values, partial(Structure.from_ase, row.toatoms(), limits.vacuum))


# --- a data frame ---


def _frame_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, or of a JSON document in one of the orientations of pandas."""
    if path.suffix.lower() == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            for batch in pq.ParquetFile(path).iter_batches(1024):
                yield from batch.to_pylist()
        except pa.ArrowInvalid as error:
            raise StrataError(f"{path}: not a Parquet file: {error}") from None
        return
    document = read_json(path)
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        rows = document["data"]
        if "columns" in document:
            rows = [dict(zip(document["columns"], row, strict=True)) for row in rows]
    elif isinstance(document, dict) and all(isinstance(column, dict) for column in document.values()):
        labels = list(next(iter(document.values()), {}))
        rows = [{name: column.get(label) for name, column in document.items()} for label in labels]
    else:
        rows = document
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise StrataError(f"{path}: expected a table as pandas writes it (records, columns, split or table)")
    yield from rows


def _frame_columns(path: Path) -> Columns:
    for row in _frame_rows(path):
        structure = next((name for name, cell in row.items() if _written_as(_loaded(cell))), None)
        if structure is not None:
            names = [name for name in row if name != structure]
            return Columns(names, True, _first_of(ID_NAMES, names), structure)
    raise StrataError(
        f"{path}: no column with structures; expected pymatgen's or jarvis-tools' dictionaries, or their JSON"
    )


def _frame_records(card: DatasetCard, path: Path, limits: Ingest) -> Iterator[Record]:  # noqa: ARG001
    if card.structure is None:
        raise StrataError(f"the card of {card.name} names no column with structures")
    where, aliases = card.structure.column, card.structure.aliases
    for number, row in enumerate(_frame_rows(path)):
        values = {name: cell for name, cell in row.items() if name != where}
        entry_id = _entry_id(card, values, f"{path.stem}-{number}", f"{path}, row {number}")
        yield _record(entry_id, values, partial(_structure, row.get(where), aliases))


def _structure(cell: object, aliases: Mapping[str, str]) -> Structure:
    if cell is None:
        raise InvalidStructure("no_structure", "the row has none")
    written = _loaded(cell)
    kind = _written_as(written)
    if kind is None:
        raise InvalidStructure(
            "unreadable", f"{str(cell)[:60]!r} is no structure of pymatgen or jarvis-tools"
        )
    read = Structure.from_jarvis if kind == "jarvis" else Structure.from_pymatgen
    return read(written, aliases)  # type: ignore[arg-type]  # _written_as knows it for a mapping


def _loaded(cell: object) -> object:
    if isinstance(cell, str) and cell.lstrip().startswith("{"):
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            return cell
    return cell


def _written_as(cell: object) -> str | None:
    if not isinstance(cell, Mapping):
        return None
    if "lattice_mat" in cell:
        return "jarvis"
    return "pymatgen" if "sites" in cell else None


def _first_of(wanted: Sequence[str], names: Sequence[str] | Mapping[str, object]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _entry_id(card: DatasetCard, values: Mapping[str, object], otherwise: str, where: str) -> str:
    if card.id_column is None:
        return otherwise
    found = values.get(card.id_column)
    if not isinstance(found, str | int) or isinstance(found, bool) or found == "":
        raise StrataError(f"{where}: {card.id_column!r} holds {found!r}, no id")
    return str(found)
