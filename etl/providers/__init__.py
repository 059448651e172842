"""Providers: one module for each kind of source; every one turns a card into a stream of records."""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from core.composition import Composition
from core.errors import StrataError, unknown
from core.params import Ingest
from core.structure import InvalidStructure, Structure
from etl.cards import DatasetCard

PROVIDERS = ("ase_collections", "emt", "folder", "hopv", "jarvis", "matminer")


@dataclass(frozen=True, slots=True)
class Record:
    """One record as the provider has it: its structure, or the reason why there is none.

    `values` go by the provider's column names and are not yet checked.
    """

    entry_id: str
    structure: Structure | Composition | None
    values: Mapping[str, object]
    error: InvalidStructure | None = None


class Provider(Protocol):
    """What a provider module offers."""

    def records(self, card: DatasetCard, path: Path | None, limits: Ingest) -> Iterator[Record]:
        """Yield the records of a card in the source's own order; `path` is its raw file, if it has one."""
        ...


def get(name: str) -> Provider:
    """Return a provider by its name; an unknown one raises `StrataError` with the nearest."""
    if name not in PROVIDERS:
        raise unknown("provider", name, PROVIDERS)
    return cast("Provider", importlib.import_module(f"etl.providers.{name}"))


def from_row(card: DatasetCard, row: Mapping[str, Any], number: int, where: str) -> Record:
    """Make a record of one row of a published table, as the card says where things stand.

    A structure that cannot be read becomes the record's `error`; a missing id raises `StrataError`. With a
    library on the card, or without a column of structures, the record has none yet: see `etl.join`.
    """
    if card.id_column is None:
        raise StrataError(f"the card of {card.name} names no id_column")
    if not isinstance(row, Mapping):
        raise StrataError(
            f"{where}, record {number}: expected a mapping of columns, got {type(row).__name__}"
        )
    entry_id = row.get(card.id_column)
    if not isinstance(entry_id, str | int) or isinstance(entry_id, bool) or entry_id == "":
        raise StrataError(f"{where}, record {number}: column {card.id_column!r} holds {entry_id!r}, no id")
    if card.library or card.structure is None:
        return Record(str(entry_id), None, row)
    written = row.get(card.structure.column)
    values = {key: value for key, value in row.items() if key != card.structure.column}
    try:
        if written is None:
            raise InvalidStructure("no_structure", f"column {card.structure.column!r} is empty")
        read = Structure.from_jarvis if card.structure.format == "jarvis" else Structure.from_pymatgen
        structure = read(written, card.structure.aliases)
    except InvalidStructure as error:
        return Record(str(entry_id), None, values, error)
    return Record(str(entry_id), structure, values)


def needs_file(card: DatasetCard, path: Path | None) -> Path:
    """The raw file, which a provider of published files cannot do without."""
    if path is None:
        raise StrataError(
            f"dataset {card.name}: provider {card.provider} reads a file, but the card has no source"
        )
    return path
