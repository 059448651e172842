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

_FIRST = 8  # bytes of an id
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
    """Where each row of some shards lies: structure `ids[i]` in row `rows[i]` of some shard.

    Made by `Index.of`; sorted once, so that a question costs what it asks for and not what the store holds.
    """

    ids: NDArray[np.bytes_]  # structure_id, shard after shard
    order: NDArray[np.int64]  # places in `ids`, sorted by id; equal ones in their order
    rows: NDArray[np.int64]
    shards: tuple[tuple[Path, pq.FileMetaData], ...]
    starts: NDArray[np.int64]  # where each shard's ids start, and the end of the last
    has_repeats: bool  # an id lies in several rows

    @classmethod
    def of(
        cls,
        ids: Sequence[pa.Array],
        rows: Sequence[NDArray[np.int64]],
        shards: Sequence[tuple[Path, pq.FileMetaData]],
    ) -> "Index":
        """Build it from the ids of each shard and the rows in which they lie."""
        names = np.concatenate([np.empty(0, "S1"), *map(_bytes_of, ids)])
        order, has_repeats = _sorted(names)
        starts = np.cumsum([0, *map(len, ids)])
        places = np.concatenate([np.empty(0, np.int64), *rows])
        return cls(names, order, places, tuple(shards), starts, has_repeats)

    def places(self, structure_ids: pa.Array) -> NDArray[np.int64]:
        """Return the place of every id among `ids`, its first one; -1 where it is not there."""
        asked = _bytes_of(structure_ids)
        at = np.full(len(asked), -1, np.int64)
        if len(self.ids):
            turn, _ = _sorted(asked)  # asked in order, neighbours are found where the last one was
            found = np.searchsorted(self.ids, asked[turn], sorter=self.order)
            near = self.order[np.minimum(found, len(self.ids) - 1)]
            there = self.ids[near] == asked[turn]
            at[turn[there]] = near[there]
        return at

    def parts(self, at: NDArray[np.int64]) -> list[Rows]:
        """Return the rows of each shard that places among `ids` mean; places below 0 are passed over."""
        by_shard = np.argsort(at, kind="stable")
        bounds = np.searchsorted(at, self.starts, sorter=by_shard)
        return [
            Rows(*shard, self.rows[at[chosen]], chosen)
            for shard, start, end in zip(self.shards, bounds, bounds[1:], strict=False)
            if len(chosen := np.sort(by_shard[start:end]))
        ]

    def locate(self, structure_ids: pa.Array) -> tuple[list[Rows], pa.Array]:
        """Find the shard and row of every id; return those, and the ids that have no vectors."""
        at = self.places(structure_ids)
        return self.parts(at), structure_ids.filter(pa.array(at < 0))


def _sorted(names: NDArray[np.bytes_]) -> tuple[NDArray[np.int64], bool]:
    """Return the order of names, equal ones as they lie, and whether there are equal ones.

    Their first eight bytes are sorted as numbers, which is fast; those that begin alike then by all bytes.
    """
    if not len(names):
        return np.empty(0, np.int64), False
    wide = names.astype(f"S{max(names.itemsize, _FIRST)}", copy=False)
    letters = wide.view(np.uint8).reshape(len(names), -1)[:, :_FIRST]
    numbers = np.ascontiguousarray(letters).view(">u8").ravel().astype(np.uint64)
    order = np.argsort(numbers)
    alike = numbers[order[1:]] == numbers[order[:-1]]
    among = np.append(alike, False) | np.append(False, alike)
    some = np.sort(order[among])
    some = some[np.argsort(names[some], kind="stable")]
    order[among] = some
    return order, bool((names[some[1:]] == names[some[:-1]]).any())


def _bytes_of(ids: pa.Array) -> NDArray[np.bytes_]:
    return np.array(ids.cast(pa.binary()).to_pylist(), dtype=np.bytes_)


def index(snapshot: Snapshot, extraction: str) -> Index:
    """Read which structures an extraction has; only the id columns are read.

    Raises `StrataError` where a structure lies in the table twice.
    """
    mine = [
        path
        for shard, path in zip(snapshot.shards, snapshot.paths, strict=True)
        if shard.rows and shard.provenance.get("extraction_id", extraction) == extraction
    ]
    known, rows, footers = [], [], []
    with ThreadPoolExecutor(_READERS) as pool:
        for ids, footer in pool.map(_read_ids, mine):
            chosen = np.flatnonzero(pc.equal(ids["extraction_id"], extraction).to_numpy())
            known.append(ids["structure_id"].combine_chunks().take(pa.array(chosen)))
            rows.append(chosen)
            footers.append(footer)
    found = Index.of(known, rows, list(zip(mine, footers, strict=True)))
    if found.has_repeats:
        raise StrataError(f"{snapshot.folder}: some structures lie twice under extraction {extraction}")
    return found


def _read_ids(path: Path) -> tuple[pa.Table, pq.FileMetaData]:
    with _explained(path):
        file = readable(path)
        return _columns(file, ["structure_id", "extraction_id"]), pq.read_metadata(file)


def index_structures(snapshots: Sequence[Snapshot]) -> Index:
    """Read where every structure of some tables lies; of one that lies in several rows, the first counts."""
    paths = [path for found in snapshots for path in found.paths]
    with ThreadPoolExecutor(_READERS) as pool:
        read = pool.map(lambda path: read_columns(path, ["structure_id"])["structure_id"], paths)
        known = [ids.combine_chunks() for ids in read]
    rows = [np.arange(len(ids)) for ids in known]
    return Index.of(known, rows, [(path, None) for path in paths])  # none needs the footer of such a shard


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


def stream(
    wanted: Sequence[Rows],
    column: Column,
    look: Callable[[NDArray[np.int64], NDArray[np.float32]], None],
) -> None:
    """Show the vectors of located rows to `look(places, vectors)`, a shard at a time and never all at once.

    vectors: (n, width), overwritten by the next shard's. Several threads call `look`, in no order of shards.
    """

    def show(mine: Sequence[Rows]) -> None:
        buffer = np.empty((max((len(part.rows) for part in mine), default=0), column.stop), np.float32)
        for part in mine:
            vectors = buffer[: len(part.rows)]
            gather([part._replace(places=np.arange(len(part.rows)))], [column], vectors)
            look(part.places, vectors)

    with ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(show, [wanted[number::_READERS] for number in range(_READERS)]))


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
