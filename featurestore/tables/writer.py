"""Shards and their commit: all of a chunk is in the table, or nothing of it.

The steps, each of which may be the last before a power cut: take the lock; clear what an earlier
writer left; write the shard under a temporary name; flush it; rename it to its hash; flush the
folder; write the log entry under a temporary name; flush it; hard-link it to the next number, which
fails if that exists. The link is the commit.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from core.atomic import (
    HashingFile,
    explained,
    failpoint,
    read_only,
    remove,
    sha256_file,
    signals_held,
    sync_file,
    sync_folder,
)
from core.errors import StrataError
from featurestore.tables import log
from featurestore.tables.lock import WriterLock
from featurestore.tables.log import LOG, Entry, Reject, Shard
from featurestore.tables.schema import completed, is_vector
from featurestore.tables.vectors import read_columns

METADATA = "strata."  # prefix of our keys in a shard's Parquet metadata
_TEMPORARY = ".tmp-"


class TableWriter:
    """The one writer of a table; use it as a context manager.

        with TableWriter(layout.targets("emt_alloys"), TARGETS, "ingest") as writer:
            writer.commit(key, table)

    Entering takes the table's lock and fails at once where another process holds it or the folder
    cannot be written, before anything is computed. It also fails where a live shard is missing or cut
    short, unless `damaged` says that the caller comes to drop it.
    """

    def __init__(self, folder: Path, schema: pa.Schema, operation: str, *, damaged: bool = False) -> None:
        self.folder = Path(folder)
        self.schema = schema
        self.operation = operation
        self._damaged = damaged
        self._lock = WriterLock(self.folder, operation)
        self._snapshot = log.Snapshot(self.folder, 0)

    def __enter__(self) -> Self:
        try:
            (self.folder / LOG).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise read_only(self.folder, error) from error
        self._lock.acquire()
        try:
            if not (os.access(self.folder, os.W_OK) and os.access(self.folder / LOG, os.W_OK)):
                raise read_only(self.folder, PermissionError(13, os.strerror(13)))
            entries = log.history(self.folder)
            self._clear(entries)
            self._snapshot = log.replay(self.folder, entries)
            if not self._damaged:
                self._snapshot.check()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()

    @property
    def committed(self) -> dict[str, Shard]:
        """Return the live shard of every committed key."""
        return self._snapshot.by_key

    def commit(
        self,
        key: str,
        table: pa.Table,
        rejects: Sequence[Reject] = (),
        provenance: Mapping[str, str] | None = None,
    ) -> bool:
        """Add one chunk; return False, having done nothing, where `key` is committed already.

        `table` has the writer's columns and no NULL in those that do not allow it; it may have no
        rows, where all its records were rejected. `provenance` goes into the log and into the
        shard's own metadata. The same input gives the same bytes.

        Raises `StrataError` for a table of another schema and for a full or read-only disk; what
        was committed before is kept.
        """
        if key in self._snapshot.by_key:
            return False
        facts = dict(sorted((provenance or {}).items()))
        self._check(table)
        with signals_held():
            shard = self._write_shard({key: table.num_rows}, table, tuple(map(Reject._make, rejects)), facts)
            self._append(added=(shard,))
        return True

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Return the live shards in order."""
        return self._snapshot.shards

    def retain(self, keys: Iterable[str]) -> None:
        """Drop every live key that is not named, in one log entry; none: no entry.

        A shard that was joined from several chunks is written anew with those that stay.
        """
        wanted = set(keys)
        changed = [shard for shard in self.shards if not wanted.issuperset(shard.keys)]
        with signals_held():
            added = [self._rewrite([shard], wanted) for shard in changed if not wanted.isdisjoint(shard.keys)]
            self._replace(changed, added)

    def drop(self, shards: Iterable[Shard]) -> None:
        """Drop whole shards, in one log entry; their chunks are no longer committed."""
        with signals_held():
            self._replace(list(shards), [])

    def join(self, groups: Iterable[Sequence[Shard]]) -> None:
        """Write each group of shards, which must have one provenance, as one shard; in one log entry."""
        groups = list(groups)
        with signals_held():
            added = [self._rewrite(group, {key for shard in group for key in shard.keys}) for group in groups]
            self._replace([shard for group in groups for shard in group], added)

    def collect(self) -> list[int]:
        """Remove the shards that only earlier versions need; return their sizes. It is noted in the log."""
        past = log.past_shards(self.folder, self.shards)
        if not past:
            return []
        with signals_held():
            self._append()
            failpoint("collecting")
            sizes = [path.stat().st_size for path in past]
            for path in past:
                remove(path)
        return sizes

    def _replace(self, removed: Sequence[Shard], added: Sequence[Shard]) -> None:
        if removed:
            self._append(tuple(added), tuple(shard.path for shard in removed))

    def _rewrite(self, shards: Sequence[Shard], wanted: set[str]) -> Shard:
        """Write what belongs to the wanted keys of some shards as one shard; every byte is checked first."""
        tables, rejects = [], []
        keys: dict[str, int] = {}
        rejected: dict[str, int] = {}
        for shard in shards:
            path = self.folder / shard.path
            if sha256_file(path) != shard.sha256:
                raise StrataError(
                    f"{path} is not what was committed, so it is not copied; see: strata store verify"
                )
            table = completed(read_columns(path, self.schema.names), self.schema)
            slices, some, refused, counts = shard.part(wanted)
            tables += [table.slice(part.start, part.stop - part.start) for part in slices]
            rejects += refused
            keys |= some
            rejected |= counts
        whole = pa.concat_tables(tables).combine_chunks()
        return self._write_shard(keys, whole, tuple(rejects), shards[0].provenance, rejected)

    def _check(self, table: pa.Table) -> None:
        if not table.schema.equals(self.schema):
            raise StrataError(
                f"{self.folder}: the table to commit has columns\n{table.schema.remove_metadata()}\n"
                f"where\n{self.schema}\nis expected"
            )
        for field in self.schema:
            if not field.nullable and table[field.name].null_count:
                row = table[field.name].is_null().index(True).as_py()
                raise StrataError(f"{self.folder}: column {field.name} has no value in row {row}")

    def _clear(self, entries: Sequence[Entry]) -> None:
        """Remove what a killed writer left: under the lock, nobody else can be using it."""
        for place in (self.folder, self.folder / LOG):
            for path in place.glob(f"{_TEMPORARY}*"):
                remove(path)
        for path in log.unnamed_shards(self.folder, entries):
            remove(path)

    def _write_shard(
        self,
        keys: Mapping[str, int],
        table: pa.Table,
        rejects: tuple[Reject, ...],
        provenance: Mapping[str, str],
        rejected: Mapping[str, int] | None = None,
    ) -> Shard:
        temporary = self.folder / f"{_TEMPORARY}{os.getpid()}.parquet"
        facts = {f"{METADATA}{name}": text for name, text in provenance.items()}
        facts[f"{METADATA}keys"] = " ".join(keys)
        try:
            with explained(self.folder, table.nbytes), temporary.open("wb") as file:
                sink = HashingFile(file)
                write_parquet(table.replace_schema_metadata(dict(sorted(facts.items()))), sink)
                failpoint("shard_written")
                sync_file(file)
                failpoint("shard_flushed")
        except BaseException:
            remove(temporary)
            raise
        name = log.shard_name(sink.sha256)
        temporary.rename(self.folder / name)
        failpoint("shard_renamed")
        sync_folder(self.folder)
        counts = rejected if rejected and len(keys) > 1 else {}
        return Shard(keys, name, sink.bytes, sink.sha256, table.num_rows, rejects, provenance, counts)

    def _append(self, added: tuple[Shard, ...] = (), removed: tuple[str, ...] = ()) -> None:
        """Commit one log entry; the hard link at the end is the commit."""
        version = self._snapshot.version + 1
        entry = Entry(version, self.operation, log.now(), added, removed)
        content = log.encode(entry)
        temporary = self.folder / LOG / f"{_TEMPORARY}{os.getpid()}.json"
        final = log.entry_path(self.folder, version)
        try:
            with explained(self.folder, len(content)), temporary.open("wb") as file:
                file.write(content[: len(content) // 2])
                file.flush()
                failpoint("entry_partly_written")
                file.write(content[len(content) // 2 :])
                sync_file(file)
            failpoint("entry_flushed")
            os.link(temporary, final)
            failpoint("entry_linked")
            sync_folder(final.parent)
        except FileExistsError:
            raise StrataError(f"{final} exists already: something wrote it without the lock") from None
        finally:
            remove(temporary)
        failpoint("committed")
        live = [shard for shard in self._snapshot.shards if shard.path not in removed]
        self._snapshot = log.Snapshot(self.folder, version, (*live, *added))


def write_parquet(table: pa.Table, sink: object) -> None:
    """Write a shard's bytes: page checksums throughout, and vectors plain, to be read at memory speed."""
    flat = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
    lists = [
        field.name for field in table.schema if pa.types.is_nested(field.type) and not is_vector(field.type)
    ]
    packed = [*flat, *(path for name in lists for path in _leaves(table.schema.field(name)))]
    pq.write_table(
        table,
        sink,
        compression=dict.fromkeys(packed, "zstd"),  # of all but vectors: noise in a float32 does not pack
        use_dictionary=flat,
        write_statistics=flat,
        write_page_checksum=True,
    )


def _leaves(field: pa.Field) -> list[str]:
    """Return the Parquet paths of what a column of lists is made of."""
    inner = field.type.value_type
    if pa.types.is_struct(inner):
        return [f"{field.name}.list.element.{part.name}" for part in inner]
    return [f"{field.name}.list.element"]
