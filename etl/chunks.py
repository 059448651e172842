"""How the structures of `extract` are cut into chunks and tasks, and what becomes of a chunk.

The bits of a vector depend on which structures lie in a batch with it, and batches are cut inside of a task.
So a task is the same list of structures whatever engine does it, and however many workers there are.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from core.structure import InvalidStructure
from featurestore.tables.log import Reject
from zoo.backbones.engine import Extracted

TASK = 64  # structures that go through the engine together
T = TypeVar("T")


def cut(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Cut a sequence into pieces of `size`; the last may be shorter.

    >>> cut("abcde", 2)
    ['ab', 'cd', 'e']
    """
    return [items[i : i + size] for i in range(0, len(items), size)]


def key_of(extraction: str, ids: Sequence[str]) -> str:
    """Return the key under which a chunk is committed."""
    return hashlib.sha256("".join([extraction, *ids]).encode()).hexdigest()


def joined(parts: Sequence[Extracted]) -> Extracted:
    """Put what a network says of tasks one after another."""
    errors: dict[int, InvalidStructure] = {}
    start = 0
    for part in parts:
        errors |= {start + i: error for i, error in part.errors.items()}
        start += len(part.prediction)
    return Extracted(
        _side([part.counts for part in parts]),
        np.concatenate([part.prediction for part in parts]),
        _side([part.vectors for part in parts]),
        errors,
    )


def rows_of(
    ids: Sequence[str], result: Extracted, schema: pa.Schema, extraction: str, source_model: str
) -> tuple[pa.Table, list[Reject]]:
    """Return the rows that a table of vectors gets for structures, and the rejects."""
    kept = np.array([i for i in range(len(ids)) if i not in result.errors], np.int64)
    columns: dict[str, pa.Array] = {
        "structure_id": pa.array([ids[i] for i in kept], pa.string()),
        "extraction_id": pa.array([extraction] * len(kept), pa.string()),
        "source_model": pa.array([source_model] * len(kept), pa.string()),
        **{column: pa.array(values[kept]) for column, values in result.counts.items()},
        "prediction": pa.array(result.prediction[kept]),
    }
    for checkpoint, vectors in result.vectors.items():
        flat = pa.array(np.ascontiguousarray(vectors[kept]).reshape(-1))
        columns[checkpoint] = pa.FixedSizeListArray.from_arrays(flat, type=schema.field(checkpoint).type)
    table = pa.Table.from_arrays([columns[f.name] for f in schema], schema=schema)
    rejects = [Reject(ids[i], error.code, str(error)) for i, error in sorted(result.errors.items())]
    return table, rejects


def angles_of(result: Extracted) -> int:
    """Count the angles of what was extracted; 0 for a network without."""
    return int(result.counts["n_angles"].sum()) if "n_angles" in result.counts else 0


def _side(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
