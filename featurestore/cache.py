"""Answers of `matrix` kept beside the store, to be had again at the speed of one plain read.

A cache file is derived: its name is the hash of everything that decides its content (the shards of the
tables that were read, and the question), so it cannot go stale, and removing it loses nothing. It is
believed only where its key, its length and the sum over its bytes are what was written.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.durable import failpoint, remove, sync_file
from featurestore.log import Snapshot

CODE = 1  # raised by hand when the form of a cache file or the meaning of a matrix changes
FOLDER = ".cache"
MOST_BYTES = 4 << 30  # older answers make room for newer ones
_TEMPORARY = ".tmp-"
_COLUMN = "X"


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
        path = self.folder / f"{key}.arrow"
        try:
            with pa.memory_map(str(path)) as source:
                reader = pa.ipc.open_file(source)
                facts = {name.decode(): text.decode() for name, text in reader.schema.metadata.items()}
                if facts.pop("key") != key or reader.num_record_batches != 1:
                    return None
                rows = reader.get_batch(0)
                flat = rows[_COLUMN].flatten().to_numpy(zero_copy_only=True)
                width = rows.schema.field(_COLUMN).type.list_size
                beside = rows.drop_columns(_COLUMN).replace_schema_metadata(None)
                if facts.pop("sum") != _sum(flat, beside):
                    return None
                X = flat.reshape(-1, width).copy()
            os.utime(path)  # what was used last goes last
        except (OSError, KeyError, AttributeError, pa.ArrowException):
            return None  # absent, cut short or damaged: the store itself answers
        return X, beside

    def put(self, key: str, X: NDArray[np.float32], rows: pa.RecordBatch) -> None:
        """Keep an answer; a store that cannot be written, or a full disk, is no error here."""
        if X.nbytes == 0 or X.nbytes > MOST_BYTES:
            return
        flat = np.ascontiguousarray(X).reshape(-1)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat), X.shape[1])
        beside = rows.replace_schema_metadata(None)
        batch = beside.append_column(_COLUMN, vectors)
        batch = batch.replace_schema_metadata({"key": key, "sum": _sum(flat, beside)})
        temporary = self.folder / f"{_TEMPORARY}{os.getpid()}-{key}"
        try:
            self.folder.mkdir(exist_ok=True)
            with temporary.open("wb") as file:
                with pa.ipc.new_file(file, batch.schema) as writer:
                    writer.write_batch(batch)
                failpoint("cache_written")
                sync_file(file)
            temporary.replace(self.folder / f"{key}.arrow")
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


def _sum(flat: NDArray[np.float32], beside: pa.RecordBatch) -> str:
    """Sum the bytes as 64-bit integers, overflow and all: any single flipped bit changes it."""
    even = len(flat) // 2 * 2
    rest = zlib.crc32(beside.serialize(), zlib.crc32(flat[even:].tobytes()))
    return f"{int(flat[:even].view(np.uint64).sum()):x}-{rest:x}"
