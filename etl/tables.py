"""Checked records and cards as the tables that the store keeps, and the keys of their shards."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from core.composition import Composition
from core.structure import Structure
from etl.cards import DatasetCard
from featurestore.tables.log import Reject
from featurestore.tables.schema import DATASETS, GROWN, SCHEMAS


@dataclass(slots=True)
class Chunk:
    """The rows of some consecutive records, on their way to the three tables."""

    entries: list[tuple[str, str, int]] = field(default_factory=list)  # entry, structure, position
    # property, entry, structure, value
    targets: list[tuple[str, str, str, float]] = field(default_factory=list)
    structures: list[tuple[str, Structure | Composition]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


def chunk_table(name: str, card: DatasetCard, chunk: Chunk) -> pa.Table:
    """Return the rows of a chunk for one of the tables entries, targets and structures."""
    schema = SCHEMAS[name]
    columns: dict[str, Sequence[object]]
    if name == "entries":
        entries, structures, positions = _columns(chunk.entries, 3)
        columns = {"entry_id": entries, "structure_id": structures, "position": positions}
    elif name == "targets":
        properties, entries, structures, values = _columns(chunk.targets, 4)
        units = [card.properties[str(item)].unit for item in properties]
        columns = {
            "property": properties,
            "entry_id": entries,
            "structure_id": structures,
            "value": values,
            "unit": units,
        }
    else:
        found = [structure for _, structure in chunk.structures]
        cells = [_cell(structure) for structure in found]
        columns = {
            "structure_id": [structure_id for structure_id, _ in chunk.structures],
            "formula": [structure.formula for structure in found],
            "n_atoms": [structure.n_atoms for structure in found],
            "volume": [volume for volume, _, _ in cells],
            "lattice": [lattice for _, lattice, _ in cells],
            "numbers": [structure.numbers for structure in found],
            "frac_coords": [coords for _, _, coords in cells],
        }
    if "dataset" in schema.names:
        columns["dataset"] = [card.name] * len(columns["structure_id"])
    return pa.table([pa.array(columns[item.name], item.type) for item in schema], schema=schema)


def _cell(structure: Structure | Composition) -> tuple[float, np.ndarray, np.ndarray]:
    """Volume, lattice (9,) and coordinates (3 n,); of a composition 0, zeros and none."""
    if isinstance(structure, Composition):
        return 0.0, np.zeros(9), np.zeros(0)
    return structure.volume, structure.lattice.ravel(), structure.frac_coords.ravel()


def _columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def card_table(card: DatasetCard) -> pa.Table:
    """Return the one row of the table `datasets`: what a card says of a dataset."""
    scales = {name: item.scale for name, item in card.properties.items() if item.scale}
    own = ("dataset", "properties")
    row = {name: getattr(card, name) for name in DATASETS.names if name not in own}
    properties = [
        {
            "name": name,
            "unit": item.unit,
            "description": item.description,
            "origin": item.origin,
            "paper_name": item.paper_name,
        }
        for name, item in card.properties.items()
    ]
    row |= {"dataset": card.name, "properties": properties}
    if not scales:
        return pa.Table.from_pylist([row], DATASETS)
    return pa.Table.from_pylist([row | {"scales": json.dumps(scales)}], GROWN["datasets"])


def key_of(index: int, content: pa.Table, rejects: Sequence[Reject], provenance: Mapping[str, str]) -> str:
    """Return the key of a shard: its place and a hash of all that it is made of."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, content.schema) as stream:
        stream.write_table(content.combine_chunks())
    digest = hashlib.sha256(sink.getvalue())
    digest.update(json.dumps([list(rejects), dict(provenance)], sort_keys=True).encode())
    return f"{index:05d}-{digest.hexdigest()}"
