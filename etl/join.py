"""Structures for tables that have none: looked up by id in libraries, or the composition of a formula."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from core.archive import read_records
from core.composition import Composition
from core.errors import StrataError, unknown
from core.structure import InvalidStructure, Structure
from etl.cards import DatasetCard, Library
from etl.providers import Record


def joined(records: Iterable[Record], card: DatasetCard, paths: Sequence[Path]) -> Iterator[Record]:
    """Give every record the structure that the first library has under its id.

    paths: the file of each of `card.library`. A record without an id, or with one that no library knows,
    gets the error `no_structure`. Libraries are read once, record by record.
    """
    if card.structure is None:
        raise StrataError(f"the card of {card.name} names no column with the ids of the structures")
    table = list(records)
    keys = [record.values.get(card.structure.column) for record in table]
    wanted = {key for key in keys if isinstance(key, str)}
    found = _look_up(wanted, card.structure.format, card.library, paths)
    for record, key in zip(table, keys, strict=True):
        match = found.get(key) if isinstance(key, str) else None
        if isinstance(match, Structure):
            yield dataclasses.replace(record, structure=match)
        elif match is not None:
            yield dataclasses.replace(record, error=match)
        else:
            names = ", ".join(path.name for path in paths)
            reason = f"{key!r} in column {card.structure.column!r} is the id of no structure in {names}"
            yield dataclasses.replace(record, error=InvalidStructure("no_structure", reason))


def or_composition(records: Iterable[Record], card: DatasetCard, where: str) -> Iterator[Record]:
    """Give every record that has no structure the composition that its formula says.

    A record with a structure, or with one that cannot be used, stays as it is, and so does one whose formula
    is missing; where a formula cannot be read, that is the record's error. Raises `StrataError` where no
    record has the card's `composition_column`.
    """
    column, aliases = card.composition_column, card.structure.aliases if card.structure else {}
    seen: set[str] = set()
    for record in records:
        seen.update(record.values)
        formula = record.values.get(column) if column else None
        absent = record.error is None or record.error.code == "no_structure"
        if record.structure is not None or not absent or formula is None or formula in card.null_tokens:
            yield record
            continue
        try:
            composition = Composition.from_formula(formula, aliases)
        except InvalidStructure as error:
            yield dataclasses.replace(record, error=error)
        else:
            yield dataclasses.replace(record, structure=composition, error=None)
    if column and seen and column not in seen:
        raise unknown("column", column, seen, where)


def _look_up(
    wanted: set[str], written_as: str, libraries: Sequence[Library], paths: Sequence[Path]
) -> dict[str, Structure | InvalidStructure]:
    found: dict[str, Structure | InvalidStructure] = {}
    reader = Structure.from_jarvis if written_as == "jarvis" else Structure.from_pymatgen
    for library, path in zip(libraries, paths, strict=True):
        for number, row in enumerate(read_records(path)):
            if not isinstance(row, dict) or library.id_column not in row or library.column not in row:
                raise StrataError(
                    f"{path}, record {number}: expected a mapping with {library.id_column!r} and "
                    f"{library.column!r}"
                )
            key = row[library.id_column]
            if key in wanted and key not in found:
                try:
                    found[key] = reader(row[library.column])
                except InvalidStructure as error:
                    found[key] = error
    return found
