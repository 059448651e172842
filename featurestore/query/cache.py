"""Answers of `matrix` kept beside the store, to be had again at the speed of one plain read.

A cache file is derived: its name is the hash of everything that decides its content (the shards of the
tables that were read, and the question), so it cannot go stale, and removing it loses nothing. It is
believed only where its key, its length and the sum over its bytes are what was written. Form: the rows
(ids, parts, targets) as an Arrow stream after its length, then the numbers as they lie in memory.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.atomic import failpoint, remove, sync_file
from featurestore.tables.log import Snapshot

CODE = 1  # raised by hand when the form of a cache file or the meaning of a matrix changes
FOLDER = ".cache"
MOST_BYTES = 4 << 30  # older answers make room for newer ones
_TEMPORARY = ".tmp-"
_LENGTH = 8  # bytes that hold the length of the part before the numbers
_BLOCK = 1 << 18  # numbers


def key_of(snapshots: Iterable[Snapshot], question: object) -> str:
    """Hash what decides an answer: the live shards and their rejects, and the question itself."""
    tables = [[asdict(shard) for shard in found.shards] for found in snapshots]
    return hashlib.sha256(json.dumps([CODE, tables, question]).encode()).hexdigest()


class MatrixCache:
    """The kept answers of one store."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER

    def get(self, key: str) -> tuple[NDArray[np.float32], pa.RecordBatch] | None:
        """Return the array and the rows beside it, or None."""
        path = self.folder / key
        try:
            with path.open("rb", buffering=0) as file:
                left = os.fstat(file.fileno()).st_size - _LENGTH
                length = int.from_bytes(file.read(_LENGTH), "little")
                if length > left:
                    return None
                beside = pa.ipc.open_stream(file.read(length)).read_next_batch()
                facts = beside.schema.metadata or {}
                rows = beside.replace_schema_metadata(None)
                width = int(facts[b"width"])
                if 4 * width * len(rows) != left - length:
                    return None
                X = np.empty((len(rows), width), np.float32)
                found = _sum(rows, _blocks_of(file, X))
            if facts[b"key"].decode() != key or facts[b"sum"].decode() != found:
                return None
            os.utime(path)  # what was used last goes last
        except (OSError, KeyError, ValueError, EOFError, StopIteration, pa.ArrowException):
            return None  # absent, cut short or damaged: the store itself answers
        return X, rows

    def put(self, key: str, X: NDArray[np.float32], rows: pa.RecordBatch) -> None:
        """Keep an answer; a store that cannot be written, or a full disk, is no error here."""
        if X.nbytes == 0 or X.nbytes > MOST_BYTES:
            return
        rows = rows.replace_schema_metadata(None)
        facts = {"key": key, "width": str(X.shape[1]), "sum": _sum(rows, _parts(np.ascontiguousarray(X)))}
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema.with_metadata(facts)) as writer:
            writer.write_batch(rows)
        head = sink.getvalue()
        temporary = self.folder / f"{_TEMPORARY}{os.getpid()}-{key}"
        try:
            self.folder.mkdir(exist_ok=True)
            with temporary.open("wb") as file:
                file.write(head.size.to_bytes(_LENGTH, "little"))
                file.write(head)
                file.write(np.ascontiguousarray(X).data)
                failpoint("cache_written")
                sync_file(file)
            temporary.replace(self.folder / key)
            failpoint("cache_replaced")
            self._make_room()
        except OSError:
            with suppress(OSError):
                remove(temporary)

    def clear(self) -> int:
        """Remove every kept answer, and what a killed process left; return the bytes that were freed."""
        freed = 0
        for path in self._files():
            freed += path.stat().st_size
            remove(path)
        return freed

    def _files(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.is_file()] if self.folder.is_dir() else []

    def _make_room(self) -> None:
        files = sorted(self._files(), key=lambda path: path.stat().st_mtime)
        total = sum(path.stat().st_size for path in files)
        for path in files:
            if total <= MOST_BYTES:
                break
            total -= path.stat().st_size
            remove(path)


def _parts(X: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    flat = X.reshape(-1)
    return (flat[i : i + _BLOCK] for i in range(0, len(flat), _BLOCK))


def _blocks_of(file: IO[bytes], X: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Fill X from a file, a block at a time while it is in the processor's cache."""
    for part in _parts(X):
        if file.readinto(part.view(np.uint8)) != part.nbytes:  # type: ignore[attr-defined]
            raise EOFError
        yield part


def _sum(rows: pa.RecordBatch, parts: Iterable[NDArray[np.float32]]) -> str:
    """Sum the numbers' bytes as 64-bit integers, overflow and all, beside a checksum of the rows.

    Any single flipped bit changes it. A number without a partner counts by itself.
    """
    total = sum(
        int(part[: part.size // 2 * 2].view(np.uint64).sum())
        + int(part[part.size // 2 * 2 :].view(np.uint32).sum())
        for part in parts
    )
    return f"{total & 0xFFFFFFFFFFFFFFFF:x}-{zlib.crc32(rows.serialize()):x}"
