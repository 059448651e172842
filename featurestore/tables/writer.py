"""Shards and their commit: all of a chunk is in the table, or nothing of it.

The steps, each of which may be the last before a power cut: write the shard under a temporary name; flush
it; rename it to its hash; flush the folder; write the log entry under a temporary name; flush it; hard-link
it to the next number, which fails if that exists. The link is the commit. Where another writer has taken the
number, the log is read again, the change is made to fit it, and the next number is tried: any number of
writers may add to one table.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from core.atomic import failpoint, signals_held
from core.errors import StrataError
from featurestore.tables import log
from featurestore.tables.checkpoints import EVERY, Checkpoint, write_checkpoint
from featurestore.tables.clock import LogicalClock
from featurestore.tables.garbage import garbage
from featurestore.tables.gathered import Change, Gathered, Newcomers, retracted
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import LOG, Entry, Reject, Shard, Snapshot, Transaction
from featurestore.tables.places import storage_of
from featurestore.tables.shards import Chunk, groups, rewrite, too_many_small
from featurestore.tables.storage import is_torn

AGE = 3600.0  # seconds that a file without a live name is left alone: a writer may be about to name it
_TRIES = 1000  # of one commit, each lost to another writer's
_TORN_FOR = 5.0  # seconds that an entry may look torn before its writer is taken for dead


class ConflictError(Exception):
    """Another writer has taken the number that a transaction had promised."""


class TableWriter:
    """A writer of a table; use it as a context manager.

        with TableWriter(layout.targets("emt_alloys"), TARGETS, "ingest") as writer:
            writer.commit(key, table)

    Entering fails at once where the folder cannot be written, before anything is computed, and where a live
    shard is missing or cut short, unless `damaged` says that the caller comes to drop it. `alone` takes the
    table's lock: the writer is the only one of those who ask to be, and the second is told who it is.
    `once` names a column, and a fact of the provenance: what another writer has added meanwhile with the same
    fact and a value of that column, as a row or as a reject, is left out of what is committed.
    """

    def __init__(
        self,
        folder: Path,
        schema: pa.Schema,
        operation: str,
        *,
        damaged: bool = False,
        alone: bool = False,
        once: tuple[str, str] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.schema = schema
        self.operation = operation
        self.alone = alone
        self.layout = StoreLayout.around(self.folder)
        self._damaged = damaged
        self._storage = storage_of(self.folder)
        self._lock = self._storage.lock(self.folder, operation)
        self._clock = LogicalClock(self.folder)
        self._gathering = self._joined = False
        self._once = once
        self._newcomers: Newcomers | None = None
        self._gathered = Gathered(self.folder, schema)
        self._snapshot = Snapshot(self.folder, 0)
        self._by_key: dict[str, Shard] | None = {}
        self._undecided: set[int] = set()
        self._seen = self._checkpoint = 0

    def __enter__(self) -> Self:
        self._storage.make_folder(self.folder / LOG)
        for folder in (self.folder, self.folder / LOG):
            self._storage.require_writable(folder)
        if self.alone:
            self._lock.acquire()
        try:
            self.read_again()
            if not self._damaged:
                self._snapshot.check()
            if self._once is not None:
                self._newcomers = Newcomers(self.folder, *self._once, self._snapshot)
                self.settle()
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
        if self._by_key is None:
            self._by_key = self._snapshot.by_key
        return self._by_key

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Return the live shards in order."""
        return self._snapshot.shards

    @property
    def version(self) -> int:
        """Return the number of the newest entry that this writer knows of."""
        return self._snapshot.version

    @property
    def name(self) -> str:
        """Return the table's place under the store's root."""
        return self.folder.relative_to(self.layout.root).as_posix()

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
        if key in self._gathered.keys or key in self.committed:
            return False
        self._check(table)
        facts = dict(sorted((provenance or {}).items()))
        with signals_held():
            self._gathered.add(key, Chunk(table, tuple(map(Reject._make, rejects)), facts))
            if not self._gathering:
                return self.flush()
            if not self._joined:
                self._gathered.write()
            return True

    def commit_shard(self, shard: Shard) -> bool:
        """Add what another process has written into the table's folder by `shards.write_chunks`.

        Returns False, having done nothing, where one of its keys is committed already. Raises `StrataError`
        where the file is not there or was cut short.
        """
        if not shard.keys.keys().isdisjoint(self._gathered.keys | self.committed.keys()):
            return False
        Snapshot(self.folder, 0, (shard,)).check()
        with signals_held():
            self._gathered.add_shard(shard)
            return True if self._gathering else self.flush()

    def retain(self, keys: Iterable[str]) -> None:
        """Drop every live key that is not named, in one log entry; none: no entry.

        A shard that was joined from several chunks is written anew with those that stay.
        """
        self._gathered.retain(keys)
        if not self._gathering:
            with signals_held():
                self.flush()

    def replace(self, chunks: Mapping[str, Chunk]) -> None:
        """Make the table hold exactly these chunks, in one log entry; those that are there are kept."""
        before, self._gathering = self._gathering, True
        try:
            self.retain(chunks)
            for key, (table, rejects, provenance) in chunks.items():
                self.commit(key, table, rejects, provenance)
            if not before:
                with signals_held():
                    self.flush()
        finally:
            if not before:
                self.gather_no_more()

    def drop(self, shards: Iterable[Shard]) -> None:
        """Drop whole shards, in one log entry; their chunks are no longer committed."""
        paths = {shard.path for shard in shards}
        with signals_held():
            self._append(
                lambda now: Change(removed=tuple(shard.path for shard in now.shards if shard.path in paths))
            )

    def retract(self, rejects: set[str]) -> None:
        """Drop the rejects of these ids, in one log entry; rows and other rejects of their shards stay."""
        with signals_held():
            self._append(lambda now: retracted(self.folder, now, rejects, self.schema))

    def join(self, rows: int) -> None:
        """Write neighbouring shards of one provenance as ones of up to `rows` rows, in one log entry."""
        self._join(groups(self.shards, rows))

    def collect(self, older_than: float = AGE) -> list[int]:
        """Remove what no live entry names; return the sizes of the shards. It is noted in the log.

        Spared is what became so less than `older_than` seconds ago: another writer may be about to name it,
        and a reader may have opened the table as it was. For a writer that is `alone`.
        """
        if not any(garbage(self.folder, self.shards, older_than)):
            return []
        with signals_held():
            self._append(lambda _: Change(), empty=True)
            self.read_again()  # what others have committed meanwhile
            past, unfinished = garbage(self.folder, self.shards, older_than)
            failpoint("collecting")
            sizes = [self._storage.size(path) for path in past]
            self._storage.each(self._storage.delete, (*past, *unfinished))
        return sizes

    def gather(self, *, joined: bool = False) -> None:
        """Keep what is committed and retained back until `flush`; `joined`: to be written as few shards."""
        self._gathering, self._joined = True, joined

    def gather_no_more(self) -> None:
        """Commit each chunk at once again; what was gathered and not flushed is forgotten."""
        self._gathering = self._joined = False
        self.settle()

    @property
    def has_changes(self) -> bool:
        """Tell whether what was gathered would change the table as this writer knows it."""
        self._gathered.write()
        return self._gathered.change(self._snapshot) != Change()

    def flush(self) -> bool:
        """Commit what was gathered, in one log entry; return False where there was nothing to do."""
        try:
            self._gathered.write()
            done = self._append(self._gathered.change)
        finally:
            self.settle()
        self.tidy()
        return done

    def append_member(self, transaction: Transaction) -> None:
        """Write what was gathered to the log as a member of a transaction; `settle` when all members are.

        The number of the entry is promised: `ConflictError` says that it was taken.
        """
        self._append(self._gathered.change, transaction)

    def settle(self) -> None:
        """Forget what was gathered: it is committed, or given up."""
        self._gathered = Gathered(self.folder, self.schema, self._newcomers)

    def tidy(self) -> None:
        """After a commit: write a checkpoint where one is due, and join small shards where there are many.

        The commit stands, whatever becomes of these; what fails is left for the next one.
        """
        with suppress(StrataError):
            if found := too_many_small(self.shards):
                self._join(found)
        with suppress(StrataError):
            if self.version - self._checkpoint >= EVERY and not self._undecided:
                write_checkpoint(self.folder / LOG, Checkpoint(self.version, self._seen, self.shards))
                self._checkpoint = self.version

    def read_again(self) -> None:
        """Read the log as it is now."""
        self._adopt(log.read(self.folder))

    def _adopt(self, found: log.Log) -> None:
        self._undecided = found.undecided()
        self._snapshot = found.snapshot()
        self._seen, self._checkpoint = found.seen, found.base.version
        self._by_key = None

    def _join(self, found: Sequence[Sequence[Shard]]) -> None:
        with signals_held():
            joined = [
                (
                    {shard.path for shard in group},
                    rewrite(self.folder, group, {key for shard in group for key in shard.keys}, self.schema),
                )
                for group in found
            ]

            def change(now: Snapshot) -> Change:
                live = {shard.path for shard in now.shards}
                still = [(paths, shard) for paths, shard in joined if paths <= live]
                removed = tuple(shard.path for shard in now.shards if any(shard.path in p for p, _ in still))
                return Change(tuple(shard for _, shard in still), removed)

            self._append(change)

    def _append(
        self,
        change_of: Callable[[Snapshot], Change],
        transaction: Transaction | None = None,
        *,
        empty: bool = False,
    ) -> bool:
        """Commit one log entry: what `change_of` says of the table as it stands; nothing: no entry."""
        for attempt in range(_TRIES):
            change = change_of(self._snapshot)
            if not empty and change == Change():
                return False
            entry = self._entry(change, transaction)
            if self.alone:
                self._lock.check()
            if self._storage.put_if_absent(log.entry_path(self.folder, entry.version), log.encode(entry)):
                failpoint("committed")
                self._follow(entry)
                return True
            if transaction is not None:
                raise ConflictError
            time.sleep(random.uniform(0, 0.001) * min(attempt, 20))  # noqa: S311 - so that writers fall apart
            before = self.version
            self.read_again()
            if self.version == before:
                self._clear_torn(log.entry_path(self.folder, before + 1))
        raise StrataError(
            f"{self.folder}: {_TRIES} tries of a commit were each overtaken by another writer's"
        )

    def _entry(self, change: Change, transaction: Transaction | None) -> Entry:
        for shard in change.added:
            if not self._storage.exists(self.folder / shard.path):
                raise StrataError(
                    f"{self.folder / shard.path} was removed before it was committed; run again"
                )
        return Entry(
            self.version + 1,
            self.operation,
            log.now(),
            change.added,
            change.removed,
            seen=self._clock.next(self._seen),
            transaction=transaction,
            void=tuple(sorted(self._undecided)) if self.alone else (),
        )

    def _follow(self, entry: Entry) -> None:
        """Bring what this writer knows of the table to the entry that it has just committed."""
        live = {shard.path: shard for shard in self._snapshot.shards if shard.path not in entry.removed}
        live |= {shard.path: shard for shard in entry.added}
        self._snapshot = Snapshot(self.folder, entry.version, tuple(live.values()))
        self._seen = entry.seen
        self._undecided -= set(entry.void)
        if entry.removed or self._by_key is None:
            self._by_key = None
        else:
            self._by_key |= {key: shard for shard in entry.added for key in shard.keys}

    def _clear_torn(self, path: Path) -> None:
        """Take away an entry whose writer was killed while it wrote, on a file system without hard links."""
        try:
            content = self._storage.settled(path, _TORN_FOR)
        except FileNotFoundError:
            return
        if not is_torn(content):
            return
        if self.alone:
            self._storage.delete(path)
            return
        lock = self._storage.lock(self.folder, self.operation)
        lock.acquire()
        try:
            self._storage.delete(path)
        finally:
            lock.release()

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
