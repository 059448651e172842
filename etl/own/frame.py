"""A user's data frame in a file: Parquet, or JSON as pandas writes it."""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from core.archive import read_json
from core.errors import StrataError
from core.params import Ingest
from core.structure import InvalidStructure, Structure
from etl.cards import DatasetCard
from etl.own.kind import (
    COMPOSITION_NAMES,
    ID_NAMES,
    INDEX_OF_PANDAS,
    Columns,
    Kind,
    composition_of,
    entry_id_of,
    first_of,
    is_index,
    record_of,
)
from etl.providers import Record


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file, or of a JSON document in one of the orientations of pandas."""
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


def _columns(path: Path) -> Columns:
    names: list[str] = []
    for row in _rows(path):
        names = list(row)
        structure = next((name for name, cell in row.items() if _written_as(_loaded(cell))), None)
        if structure is not None:
            return _offered(names, structure)
    formula = composition_of(names)
    if formula is not None:
        return _offered(names, formula)._replace(structure_column=None, composition_column=formula)
    raise StrataError(
        f"{path}: no column with structures (pymatgen's or jarvis-tools' dictionaries, or their JSON), and "
        f"none named {' or '.join(COMPOSITION_NAMES)}; its columns are {', '.join(map(str, names)) or 'none'}"
    )


def _offered(names: list[str], structure: str) -> Columns:
    values = [name for name in names if name != structure and not is_index(name)]
    return Columns(values, True, first_of((*ID_NAMES, INDEX_OF_PANDAS), values), structure)


def _records(card: DatasetCard, path: Path, limits: Ingest) -> Iterator[Record]:  # noqa: ARG001
    for number, row in enumerate(_rows(path)):
        entry_id = entry_id_of(card, row, f"{path.stem}-{number}", f"{path}, row {number}")
        if card.structure is None:
            yield Record(entry_id, None, row)  # its formula is read where those of published tables are
            continue
        where, aliases = card.structure.column, card.structure.aliases
        values = {name: cell for name, cell in row.items() if name != where}
        yield record_of(entry_id, values, partial(_structure, row.get(where), aliases))


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


FRAME = Kind(_columns, _rows, _records)
