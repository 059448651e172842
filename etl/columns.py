"""The stage `columns`: a table of a user's own columns becomes vectors beside those of the networks."""

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from core.errors import StrataError, check_name, unknown
from core.params import Columns, Params
from etl.extract import keep_description
from featurestore.columns import BACKBONE, OwnColumns, checkpoint_of, extraction_of, read_own_columns
from featurestore.query.store import FeatureStore, open_store
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import Reject
from featurestore.tables.schema import EXTRACTIONS, features_schema
from featurestore.tables.shards import Chunk
from featurestore.tables.writer import TableWriter
from zoo.hub import list_models


@dataclass(frozen=True, slots=True)
class ColumnsReport:
    """What was read: structures with a vector, ids that are unknown, and what lacks."""

    name: str
    dataset: str
    columns: tuple[str, ...]
    structures: int
    unknown_ids: tuple[str, ...]
    lacking: dict[str, int]  # code → structures without a vector

    def __str__(self) -> str:
        lines = [
            f"{self.name}, of {self.dataset}: {', '.join(self.columns)} for {self.structures:,} structures"
        ]
        if self.unknown_ids:
            lines.append(
                f"left out: {len(self.unknown_ids):,} rows whose id {self.dataset} does not have "
                f"(first: {self.unknown_ids[0]})"
            )
        lines += [f"without a vector, {code}: {n:,} structures" for code, n in sorted(self.lacking.items())]
        return "\n".join(lines)


def keep_columns(name: str, params: Params, store_root: str | Path) -> ColumnsReport:
    """Read the table that `params.columns` names so into the store; what it held before is replaced.

    Structures without a value for every column get no vector, and a row among the rejects that says why:
    `no_columns` (no row in the table), `missing_value`, or `differing_values` (two entries of one structure).

    Raises `StrataError` for an unknown name, a bad table, and a table none of whose ids is known.
    """
    if name not in params.columns:
        raise unknown("table of columns", name, params.columns, "params.yaml, columns")
    asked = params.columns[name]
    check_name(name, "table of columns")
    if name in {*list_models(), *params.extract.source_models}:
        raise StrataError(f"params.yaml, columns: {name} is a source model; give the table another name")
    layout = StoreLayout(Path(store_root))
    store = open_store(store_root)
    entries = _entries(store, asked.dataset)
    given = read_own_columns(Path(asked.table), asked.columns, asked.id_column)
    known = {row[asked.by == "structure"] for row in entries}
    strangers = tuple(i for i in given.ids if i not in known)
    if len(strangers) == len(given.ids):
        raise StrataError(
            f"{asked.table}: none of its {len(given.ids):,} ids is the {asked.by}_id of an entry of "
            f"{asked.dataset} (first: {given.ids[0]}); columns.{name}.by and id_column say what the ids are"
        )
    extraction = extraction_of(name, asked.dataset, given.names)
    found, rejects = _by_structure(entries, given, by_structure=asked.by == "structure")
    table = _table(name, extraction, given, found)
    _write(layout, name, asked, given, extraction, Chunk(table, tuple(rejects), _facts(name, extraction)))
    lacking: dict[str, int] = defaultdict(int)
    for reject in rejects:
        lacking[reject.code] += 1
    return ColumnsReport(name, asked.dataset, given.names, len(found), strangers, dict(lacking))


def _entries(store: FeatureStore, dataset: str) -> list[tuple[str, str]]:
    """Return entry_id and structure_id of every entry, in the provider's order."""
    if dataset not in store.datasets():
        raise unknown("dataset", dataset, store.datasets(), str(store.path))
    query = "SELECT entry_id, structure_id FROM entries WHERE dataset = ? ORDER BY position"
    return [(entry, structure) for entry, structure in store.sql(query, [dataset]).fetchall()]


def _by_structure(
    entries: list[tuple[str, str]], given: OwnColumns, *, by_structure: bool
) -> tuple[dict[str, int], list[Reject]]:
    """Find the row of each structure's vector in the table, and say why the others have none."""
    rows: dict[str, set[int]] = {structure: set() for _, structure in entries}
    for entry, structure in entries:
        at = given.place.get(structure if by_structure else entry)
        if at is not None:
            rows[structure].add(at)
    found, rejects = {}, []
    for structure, places in rows.items():
        whole = sorted(at for at in places if not given.lacking(at))
        if not places:
            rejects.append(Reject(structure, "no_columns", "no row in the table of columns"))
        elif not whole:
            lacks = ", ".join(given.lacking(min(places)))
            rejects.append(Reject(structure, "missing_value", f"{given.ids[min(places)]} has no {lacks}"))
        elif any(not np.array_equal(given.values[at], given.values[whole[0]]) for at in whole):
            names = ", ".join(given.ids[at] for at in whole)
            rejects.append(Reject(structure, "differing_values", f"one structure, other values: {names}"))
        else:
            found[structure] = whole[0]
    return found, rejects


def _table(name: str, extraction: str, given: OwnColumns, found: dict[str, int]) -> pa.Table:
    checkpoint = checkpoint_of(given.names)
    schema = features_schema((), (checkpoint,))
    flat = pa.array(np.ascontiguousarray(given.values[list(found.values())]).reshape(-1), pa.float32())
    columns = {
        "structure_id": pa.array(list(found), pa.string()),
        "extraction_id": pa.array([extraction] * len(found), pa.string()),
        "source_model": pa.array([name] * len(found), pa.string()),
        "prediction": pa.array([np.nan] * len(found), pa.float32()),
        checkpoint.name: pa.FixedSizeListArray.from_arrays(flat, type=schema.field(checkpoint.name).type),
    }
    return pa.Table.from_arrays([columns[field.name] for field in schema], schema=schema)


def _facts(name: str, extraction: str) -> dict[str, str]:
    return {"source_model": name, "extraction_id": extraction}


def _write(
    layout: StoreLayout, name: str, asked: Columns, given: OwnColumns, extraction: str, chunk: Chunk
) -> None:
    key = hashlib.sha256(json.dumps([extraction, list(chunk.rejects)]).encode())
    key.update(json.dumps(chunk.table["structure_id"].to_pylist()).encode())
    key.update(np.ascontiguousarray(given.values).data)
    facts = {"dataset": asked.dataset, "columns": ",".join(given.names)}
    row = {
        "source_model": name,
        "extraction_id": extraction,
        "backbone": BACKBONE,
        "is_default": False,
        "counts": [],
        "checkpoints": [checkpoint_of(given.names)._asdict()],
        "provenance": json.dumps(facts, sort_keys=True),
    }
    with (
        TableWriter(layout.extractions(name), EXTRACTIONS, "columns") as described,
        TableWriter(layout.features(name), chunk.table.schema, "columns", alone=True) as writer,
    ):
        writer.replace({key.hexdigest(): chunk})
        keep_description(described, row)
