"""From shards to one contiguous float32 array, aligned to the ids that were asked for."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from etl.errors import StrataError
from featurestore.log import Snapshot
from featurestore.schema import WIDTH

_READERS = 4  # shards read at a time: decoding releases the interpreter's lock


class Rows(NamedTuple):
    """Rows of one shard that are wanted, and where they go."""

    path: Path
    rows: NDArray[np.int64]
    places: NDArray[np.int64]


def locate(snapshot: Snapshot, extraction: str, structure_ids: pa.Array) -> tuple[list[Rows], pa.Array]:
    """Find the shard and row of every id; return those, and the ids that have no vectors.

    Only the id columns are read. An id that lies in the table twice raises `StrataError`.
    """
    paths, known, rows = [], [], []
    for shard, path in zip(snapshot.shards, snapshot.paths, strict=True):
        if shard.rows and shard.provenance.get("extraction_id", extraction) == extraction:
            ids = read_columns(path, ["structure_id", "extraction_id"])
            mine = np.flatnonzero(pc.equal(ids["extraction_id"], extraction).to_numpy())
            paths.append(path)
            known.append(ids["structure_id"].combine_chunks().take(pa.array(mine)))
            rows.append(mine)
    if not known:
        return [], structure_ids
    everything = pa.chunked_array(known).combine_chunks()
    if pc.count_distinct(everything).as_py() != len(everything):
        raise StrataError(f"{snapshot.folder}: some structures lie twice under extraction {extraction}")
    found = pc.index_in(structure_ids, value_set=everything)
    absent = structure_ids.filter(found.is_null())
    at = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    starts = np.cumsum([0, *map(len, rows)])
    wanted = []
    for path, mine, start, end in zip(paths, rows, starts, starts[1:], strict=False):
        places = np.flatnonzero((at >= start) & (at < end))
        if places.size:
            wanted.append(Rows(path, mine[at[places] - start], places))
    return wanted, absent


def gather(wanted: Sequence[Rows], columns: Sequence[str], length: int) -> NDArray[np.float32]:
    """Read the columns of located rows into a (length, 256 × columns) array; shards are read side by side."""
    out = np.empty((length, WIDTH * len(columns)), np.float32)

    def fill(part: Rows) -> None:
        table = read_columns(part.path, columns)
        for j, name in enumerate(columns):
            _place(table[name], part, out[:, WIDTH * j : WIDTH * (j + 1)])

    with ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(fill, wanted))
    return out


def _place(column: pa.ChunkedArray, part: Rows, out: NDArray[np.float32]) -> None:
    """Copy one checkpoint's wanted rows; a chunk of the column is a plain array of floats, not copied."""
    start = 0
    for chunk in column.chunks:
        values = chunk.flatten().to_numpy(zero_copy_only=True).reshape(-1, WIDTH)
        inside = (part.rows >= start) & (part.rows < start + len(values))
        out[_span(part.places[inside])] = values[_span(part.rows[inside] - start)]
        start += len(values)


def _span(indices: NDArray[np.int64]) -> NDArray[np.int64] | slice:
    """Return consecutive indices as a slice, which is copied at once; others as they are."""
    if indices.size and (np.diff(indices) == 1).all():
        return slice(indices[0], indices[-1] + 1)
    return indices


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Read columns of one shard, checking the checksum of every page.

    Raises `StrataError` naming the shard where a page is not what was written.
    """
    try:
        return pq.ParquetFile(path, page_checksum_verification=True, memory_map=True).read(
            columns=list(columns), use_threads=False
        )
    except (OSError, pa.ArrowException) as error:
        raise StrataError(
            f"{path}: the shard is corrupt ({error}); restore it (dvc checkout, or a copy) or drop it and "
            "extract it again"
        ) from error
