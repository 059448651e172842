"""The numbered log of a table: what was added and removed, in order; the table is what it says.

A table is a folder of immutable shards and a folder `_log` of entries 00000001.json, 00000002.json, …
An entry becomes visible whole or not at all (see `featurestore.tables.writer`), so readers take no lock.
docs/store-format.md is the specification.
"""

import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from core.errors import StrataError
from featurestore.tables.checkpoints import Checkpoint, checkpoint_numbers, newest_checkpoint
from featurestore.tables.entries import (
    SHARD,
    Entry,
    Reject,
    Shard,
    Transaction,
    decode,
    encode,
    now,
    shard_name,
)
from featurestore.tables.places import storage_of
from featurestore.tables.storage import is_torn

__all__ = [
    "LOG", "Entry", "Log", "Reject", "Shard", "Snapshot", "Transaction", "encode", "entry_path", "history",
    "newest_number", "now", "past_shards", "read", "read_entry", "replay", "shard_name", "snapshot",
    "timeline", "unnamed_shards",
]  # fmt: skip

LOG = "_log"
_ENTRY = re.compile(r"(\d{8})\.json")
_MAGIC = b"PAR1"
_LISTINGS = 5  # of a log that seems to have a gap


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A table as it stood after one log entry; version 0 is the empty table."""

    folder: Path
    version: int
    shards: tuple[Shard, ...] = ()

    @property
    def rejects(self) -> tuple[Reject, ...]:
        """Return the rejects of all live shards, in order."""
        return tuple(reject for shard in self.shards for reject in shard.rejects)

    @property
    def by_key(self) -> dict[str, Shard]:
        """Return the live shard of every committed key."""
        return {key: shard for shard in self.shards for key in shard.keys}

    @property
    def rows(self) -> int:
        """Return the number of rows in all live shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Return the size of all live shards."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def paths(self) -> list[Path]:
        """Return the live files, in the order they were added."""
        return [self.folder / shard.path for shard in self.shards]

    def check(self) -> None:
        """Compare every live shard's presence, size and end with the log.

        Raises `StrataError` naming the shard. Cheap: no shard is read through; a flipped byte inside
        a page shows when the page is read, or when the whole file is hashed.
        """
        sizes = storage_of(self.folder).sizes(self.folder) if self.shards else None
        for shard in self.shards:
            path = self.folder / shard.path
            if sizes is None:
                _check_shard(path, shard)
            elif shard.path not in sizes:
                raise _missing(path, shard)
            else:
                _check_size(path, shard, sizes[shard.path])


def _check_size(path: Path, shard: Shard, size: int) -> None:
    if size != shard.bytes:
        raise StrataError(
            f"{path}: {size:,} bytes, the log says {shard.bytes:,}: the shard is truncated or "
            "changed; restore it (dvc checkout, or a copy) or drop it (strata store verify --repair) "
            "and compute it again"
        )


def _missing(path: Path, shard: Shard) -> StrataError:
    return StrataError(
        f"{path} is missing: the log names it, {shard.rows:,} rows would be lost; restore it "
        "(dvc checkout, or a copy) or drop it (strata store verify --repair) and compute it again"
    )


def _check_shard(path: Path, shard: Shard) -> None:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            _check_size(path, shard, size)
            file.seek(-8, 2)
            end = file.read(8)
            footer = int.from_bytes(end[:4], "little")
            if end[4:] != _MAGIC or footer + 12 > size:
                raise StrataError(f"{path}: no Parquet footer at its end: the shard is corrupt; restore it")
    except FileNotFoundError:
        raise _missing(path, shard) from None


@dataclass(frozen=True, slots=True)
class Log:
    """A table's log as it was read: a checkpoint, which may be the empty table, and the entries after it."""

    folder: Path
    base: Checkpoint
    entries: tuple[Entry, ...]

    @property
    def version(self) -> int:
        """The number of the newest entry."""
        return self.base.version + len(self.entries)

    @property
    def seen(self) -> int:
        """The logical number of the newest entry; that of older stores is how many entries there are."""
        return max(self.entries[-1].seen if self.entries else self.base.seen, self.version)

    def undecided(self, upto: Mapping[Path, int] | None = None) -> set[int]:
        """Return the numbers of entries whose transactions are not complete, and that nobody made void.

        upto: table → the number of the newest entry that counts, where several logs were read together; a
        transaction is then complete by those entries alone. By default what is there now decides.
        """
        void = {number for entry in self.entries for number in entry.void}
        return {
            entry.version
            for entry in self.entries
            if entry.transaction is not None
            and entry.version not in void
            and not is_complete(self.folder, entry.transaction, upto)
        }

    def snapshot(self, upto: Mapping[Path, int] | None = None) -> Snapshot:
        """Return the table as it stands: what belongs to an incomplete transaction is left out."""
        return replay(self.folder, self.entries, base=self.base, hidden=self.undecided(upto))


def is_complete(folder: Path, transaction: Transaction, upto: Mapping[Path, int] | None = None) -> bool:
    """Tell whether every table of a transaction has its entry.

    A table that is not there at all, since only some tables were copied or pulled, is not waited for.
    """
    root = Path(folder).parents[transaction.table.count("/")]
    for table, number in transaction.tables.items():
        if table == transaction.table:
            continue
        other = root / table
        if not storage_of(other).is_folder(other / LOG):
            continue
        if upto is not None and number > upto.get(other, 0):
            return False
        entry = read_entry(other, number)
        if entry is None or entry.transaction is None or entry.transaction.id != transaction.id:
            return False
    return True


def read(folder: Path, *, whole: bool = False) -> Log:
    """Read a table's log: the newest checkpoint and the entries after it, or with `whole` every entry.

    A table that does not exist yet has an empty one. Raises `StrataError` when a number is missing or an
    entry is not what was written.
    """
    folder = Path(folder)
    newest, checkpoints = _listed(folder)
    base = Checkpoint() if whole else newest_checkpoint(folder / LOG, checkpoints)
    if checkpoints and checkpoints[0] > newest:
        raise StrataError(
            f"{entry_path(folder, newest + 1)} is missing, yet there is a checkpoint of entry "
            f"{checkpoints[0]}: the end of the log is lost; restore the folder (dvc checkout, or a copy)"
        )
    numbers = range(base.version + 1, newest + 1)
    entries = storage_of(folder).each(lambda number: _required(folder, number, newest), numbers)
    return Log(folder, base, tuple(entry for entry in entries if entry))


def history(folder: Path) -> list[Entry]:
    """Read every entry of a table's log, oldest first, also those of incomplete transactions."""
    return list(read(folder, whole=True).entries)


def snapshot(folder: Path, at: int | None = None) -> Snapshot:
    """Return the table as it stands, or as it stood after log entry `at`."""
    if at is None:
        return read(folder).snapshot()
    found = read(folder, whole=True)
    return replay(folder, found.entries, at, hidden=found.undecided())


def replay(
    folder: Path,
    entries: Sequence[Entry],
    at: int | None = None,
    *,
    base: Checkpoint | None = None,
    hidden: Collection[int] = (),
) -> Snapshot:
    """Apply the first `at` entries of a history (all of them by default) to `base`, by default nothing.

    hidden: numbers of entries that are left out, beside those that a later entry made void.
    """
    base = base or Checkpoint()
    if at is not None and not 0 <= at <= len(entries):
        raise StrataError(f"{folder} has log entries 1 to {len(entries)}; there is no entry {at}")
    live = {shard.path: shard for shard in base.shards}
    used = entries[:at]
    left_out = {*hidden, *(number for entry in used for number in entry.void)}
    for entry in used:
        if entry.version in left_out:
            continue
        for path in entry.removed:
            live.pop(path, None)
        live.update((shard.path, shard) for shard in entry.added)
    return Snapshot(Path(folder), base.version + len(used), tuple(live.values()))


def _listed(folder: Path) -> tuple[int, list[int]]:
    """Return the number of the newest entry, and those of the checkpoints, having made sure of all numbers.

    A folder that is listed while names are added may show a later one without an earlier one: so a name that
    is not in the list is opened before anybody complains.
    """
    log, storage = folder / LOG, storage_of(folder)
    for left in reversed(range(_LISTINGS)):
        names = storage.names(log)
        found = {int(name[:8]) for name in names if _ENTRY.fullmatch(name)}
        newest = max(found, default=0)
        gaps = sorted(set(range(1, newest + 1)) - found) if len(found) != newest else []
        gaps = [number for number in gaps if not storage.exists(entry_path(folder, number))]
        if not gaps:
            return newest, checkpoint_numbers(names)
        if left:
            time.sleep(0.01)
    raise StrataError(
        f"{entry_path(folder, gaps[0])} is missing, yet entry {newest} exists: the log has a gap and the "
        "table cannot be trusted; restore the folder (dvc checkout, or a copy)"
    )


def newest_number(folder: Path) -> int:
    """Return the number of the newest entry that is listed; 0: none."""
    names = storage_of(folder).names(Path(folder) / LOG)
    return max((int(name[:8]) for name in names if _ENTRY.fullmatch(name)), default=0)


def _required(folder: Path, number: int, newest: int) -> Entry | None:
    """Read an entry that was listed; None for a newest one that is torn, and so not committed."""
    path = entry_path(folder, number)
    try:
        content = storage_of(path).settled(path)
    except FileNotFoundError:
        if number == newest:  # it was torn, and a writer took it away
            return None
        raise StrataError(f"{path} is missing, yet entry {newest} exists: the log has a gap") from None
    try:
        return decode(path, content, number)
    except StrataError:
        if number == newest and is_torn(content):
            return None
        raise


def read_entry(folder: Path, number: int) -> Entry | None:
    """Read one entry; None where there is none, or only a torn one."""
    path = entry_path(folder, number)
    try:
        content = storage_of(path).read(path)
    except FileNotFoundError:
        return None
    try:
        return decode(path, content, number)
    except StrataError:
        if is_torn(content):
            return None
        raise


def timeline(histories: Mapping[Path, Sequence[Entry]]) -> list[tuple[Path, Entry]]:
    """Merge the logs of several tables in one order that no clock decides.

    Entries go by the logical number that their writers gave them, ties by the table's name. Those of older
    stores, which have none, come first, by moment, each table in its own order even if a clock went back.
    """
    placed = []
    for folder, entries in histories.items():
        moments = accumulate((entry.written_at for entry in entries), max)
        placed += [
            (entry.seen, "" if entry.seen else moment, folder, entry.version, entry)
            for moment, entry in zip(moments, entries, strict=True)
        ]
    return [(folder, entry) for *_, folder, _, entry in sorted(placed, key=lambda row: row[:4])]


def entry_path(folder: Path, version: int) -> Path:
    """Return where log entry `version` lies."""
    return Path(folder) / LOG / f"{version:08d}.json"


def unnamed_shards(folder: Path, entries: Iterable[Entry]) -> list[Path]:
    """Return the shards in a folder that no log entry, old or new, ever named."""
    named = {shard.path for entry in entries for shard in entry.added}
    return [path for path in _shards_in(folder) if path.name not in named]


def past_shards(folder: Path, live: Iterable[Shard]) -> list[Path]:
    """Return the shards in a folder that are not live: only earlier versions need them."""
    named = {shard.path for shard in live}
    return [path for path in _shards_in(folder) if path.name not in named]


def _shards_in(folder: Path) -> list[Path]:
    return [Path(folder) / name for name in sorted(storage_of(folder).names(folder)) if SHARD.fullmatch(name)]
