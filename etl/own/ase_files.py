"""Files of ASE that a user brings: an extended XYZ with values in its comment lines, and a database."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from core.errors import StrataError
from core.lazy import need
from core.params import Ingest
from core.structure import InvalidStructure, Structure
from core.structure_files import check_declared
from etl.cards import DatasetCard
from etl.own.kind import ID_NAMES, Columns, Kind, entry_id_of, first_of, record_of
from etl.providers import Record


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
    return Columns(names, True, first_of(ID_NAMES, names))


def _xyz_records(card: DatasetCard, path: Path, limits: Ingest) -> Iterator[Record]:
    for number, atoms in enumerate(_frames(path)):
        values = _frame_values(atoms)
        entry_id = entry_id_of(card, values, f"{path.stem}-{number}", f"{path}, frame {number}")
        yield record_of(entry_id, values, partial(Structure.from_ase, atoms, limits.vacuum))


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
    return Columns(list(names), True, first_of(ID_NAMES, names))


def _ase_records(card: DatasetCard, path: Path, limits: Ingest) -> Iterator[Record]:
    for row in _ase_rows(path):
        values = _ase_values(row)
        absent = dict.fromkeys((item.column for item in card.properties.values()), None)
        entry_id = entry_id_of(card, values, str(row.id), f"{path}, row {row.id}")
        yield record_of(entry_id, absent | values, partial(Structure.from_ase, row.toatoms(), limits.vacuum))


XYZ = Kind(_xyz_columns, lambda path: map(_frame_values, _frames(path)), _xyz_records)
DATABASE = Kind(_ase_columns, lambda path: map(_ase_values, _ase_rows(path)), _ase_records)
