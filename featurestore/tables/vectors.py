"""From shards to one contiguous float32 array, aligned to the ids that were asked for."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.errors import StrataError
from featurestore.tables.log import Snapshot
from featurestore.tables.pages import CorruptPageError, load, plain_pages
from featurestore.tables.places import readable
from featurestore.tables.ranges import Piece, Ranges

_READERS = 2  # shards read at a time: checksums and copies release the interpreter's lock


class Column(NamedTuple):
    """A column of vectors, and the columns of a matrix that it fills."""

    name: str
    start: int
    stop: int


class Rows(NamedTuple):
    """Rows of one shard that are wanted, and where they go."""

    path: Path
    footer: pq.FileMetaData
    rows: NDArray[np.int64]
    places: NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Index:
    """Where each vector of one extraction lies: structure `ids[i]` in row `rows[i]` of some shard."""

    ids: pa.Array  # structure_id, shard after shard
    rows: NDArray[np.int64]
    shards: tuple[tuple[Path, pq.FileMetaData], ...]
    starts: NDArray[np.int64]  # where each shard's ids start, and the end of the last

    def locate(self, structure_ids: pa.Array) -> tuple[list[Rows], pa.Array]:
        """Find the shard and row of every id; return those, and the ids that have no vectors."""
        found = pc.index_in(structure_ids, value_set=self.ids)
        absent = structure_ids.filter(found.is_null())
        at = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        wanted = []
        for shard, start, end in zip(self.shards, self.starts, self.starts[1:], strict=False):
            places = np.flatnonzero((at >= start) & (at < end))
            if places.size:
                wanted.append(Rows(*shard, self.rows[at[places]], places))
        return wanted, absent


def index(snapshot: Snapshot, extraction: str) -> Index:
    """Read which structures an extraction has; only the id columns are read.

    Raises `StrataError` where a structure lies in the table twice.
    """
    mine = [
        path
        for shard, path in zip(snapshot.shards, snapshot.paths, strict=True)
        if shard.rows and shard.provenance.get("extraction_id", extraction) == extraction
    ]
    known, rows, footers = [pa.array([], pa.string())], [np.empty(0, np.int64)], []
    with ThreadPoolExecutor(_READERS) as pool:
        for ids, footer in pool.map(_read_ids, mine):
            chosen = np.flatnonzero(pc.equal(ids["extraction_id"], extraction).to_numpy())
            known.append(ids["structure_id"].combine_chunks().take(pa.array(chosen)))
            rows.append(chosen)
            footers.append(footer)
    everything = pa.chunked_array(known).combine_chunks()
    if pc.count_distinct(everything).as_py() != len(everything):
        raise StrataError(f"{snapshot.folder}: some structures lie twice under extraction {extraction}")
    starts = np.cumsum([len(ids) for ids in known])
    return Index(everything, np.concatenate(rows), tuple(zip(mine, footers, strict=True)), starts)


def _read_ids(path: Path) -> tuple[pa.Table, pq.FileMetaData]:
    with _explained(path):
        file = readable(path)
        return _columns(file, ["structure_id", "extraction_id"]), pq.read_metadata(file)


def gather(wanted: Sequence[Rows], columns: Sequence[Column], out: NDArray[np.float32]) -> None:
    """Read the columns of located rows into their places in `out` (n, d); shards are read side by side.

    Raises `StrataError` naming the shard where a page is not what was written.
    """

    def fill(part: Rows) -> None:
        buffer = bytearray()
        with _explained(part.path), _opened(part.path) as file:
            for column in columns:
                width = column.stop - column.start
                blocks = _blocks(part, file, column.name, width, buffer)
                _place(blocks, part, out[:, column.start : column.stop])

    if len(wanted) == 1:
        fill(wanted[0])
    else:
        with ThreadPoolExecutor(_READERS) as pool:
            list(pool.map(fill, wanted))


Block = tuple[int, Callable[[], NDArray[np.float32]]]  # a number of rows, and how to read them


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes] | Ranges]:
    file = readable(path)
    with file.open("rb") if isinstance(file, Path) else file as opened:
        yield opened


def _blocks(
    part: Rows, file: IO[bytes] | Ranges, name: str, width: int, buffer: bytearray
) -> Iterator[Block]:
    """Go through one checkpoint's column of a shard; from afar, a column chunk comes in one request."""
    leaves = part.footer.schema
    leaf = next(i for i in range(len(leaves)) if leaves.column(i).path.split(".")[0] == name)
    for group in range(part.footer.num_row_groups):
        chunk = part.footer.row_group(group).column(leaf)
        source: int | Piece = (
            file.piece(chunk.data_page_offset, chunk.total_compressed_size)
            if isinstance(file, Ranges)
            else file.fileno()
        )
        pages = plain_pages(source, chunk, width)
        if pages is not None:
            yield from ((page.rows, partial(load, source, page, width, buffer)) for page in pages)
        else:
            shard = _parquet(readable(part.path))
            for block in shard.read_row_group(group, columns=[name], use_threads=False)[name].chunks:
                values = block.flatten().to_numpy(zero_copy_only=True).reshape(-1, width)
                yield len(values), partial(np.asarray, values)


def _place(blocks: Iterator[Block], part: Rows, out: NDArray[np.float32]) -> None:
    """Copy one checkpoint's wanted rows to their places; blocks without any are not read."""
    start = 0
    for length, read in blocks:
        inside = np.flatnonzero((part.rows >= start) & (part.rows < start + length))
        if inside.size:
            out[_span(part.places[inside])] = read()[_span(part.rows[inside] - start)]
        start += length


def _span(indices: NDArray[np.int64]) -> NDArray[np.int64] | slice:
    """Return consecutive indices as a slice, which is copied at once; others as they are."""
    if indices.size and (np.diff(indices) == 1).all():
        return slice(indices[0], indices[-1] + 1)
    return indices


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Read columns of one shard, checking the checksum of every page.

    Raises `StrataError` naming the shard where a page is not what was written.
    """
    with _explained(path):
        return _columns(readable(path), columns)


def _columns(file: Path | Ranges, columns: Sequence[str]) -> pa.Table:
    return _parquet(file).read(columns=list(columns), use_threads=False)


def _parquet(file: Path | Ranges) -> pq.ParquetFile:
    is_here = isinstance(file, Path)
    return pq.ParquetFile(file, page_checksum_verification=True, memory_map=is_here, pre_buffer=not is_here)


@contextmanager
def _explained(path: Any) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise StrataError(
            f"{path} is not there any more: since the store was opened, `strata store gc` removed it or the "
            "file was lost; open the store again"
        ) from None
    except (OSError, pa.ArrowException, CorruptPageError) as error:
        raise StrataError(
            f"{path}: the shard is corrupt ({error}); `strata store verify --repair` drops it, so that the "
            "next extract computes it again, or restore it (dvc checkout, or a copy)"
        ) from error
