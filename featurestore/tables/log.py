"""The numbered log of a table: what was added and removed, in order; the table is what it says.

A table is a folder of immutable shards and a folder `_log` of entries 00000001.json, 00000002.json, …
An entry becomes visible whole or not at all (see `featurestore.tables.writer`), so readers take no lock.
"""

import hashlib
import json
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import StrataError

LOG = "_log"
_ENTRY = re.compile(r"(\d{8})\.json")
_SHARD = re.compile(r"[0-9a-f]{64}\.parquet")
_MAGIC = b"PAR1"


class Reject(NamedTuple):
    """A record that was left out, and why."""

    entry_id: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Shard:
    """One immutable Parquet file as the log knows it."""

    keys: Mapping[str, int]  # key of each input chunk → its rows, in the order they lie in the file
    path: str  # name inside the table's folder: its SHA-256
    bytes: int
    sha256: str
    rows: int
    rejects: tuple[Reject, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(
        default_factory=dict
    )  # key → its rejects, where there are several keys

    def part(
        self, keys: Container[str]
    ) -> "tuple[list[slice], dict[str, int], list[Reject], dict[str, int]]":
        """Return what belongs to some of its keys: slices of rows, keys, rejects, rejects by key."""
        slices: list[slice] = []
        kept: dict[str, int] = {}
        rejects: list[Reject] = []
        rejected: dict[str, int] = {}
        row = reject = 0
        for key, rows in self.keys.items():
            count = self.rejected.get(key, 0) if len(self.keys) > 1 else len(self.rejects)
            if key in keys:
                slices.append(slice(row, row + rows))
                kept[key] = rows
                rejects += self.rejects[reject : reject + count]
                rejected[key] = count
            row, reject = row + rows, reject + count
        return slices, kept, rejects, rejected


@dataclass(frozen=True, slots=True)
class Entry:
    """One committed step of a table's history."""

    version: int
    operation: str
    written_at: str  # ISO 8601, UTC; for people: the order is the number's
    added: tuple[Shard, ...] = ()
    removed: tuple[str, ...] = ()  # paths of shards


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
        for shard in self.shards:
            _check_shard(self.folder / shard.path, shard)


def _check_shard(path: Path, shard: Shard) -> None:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size != shard.bytes:
                raise StrataError(
                    f"{path}: {size:,} bytes, the log says {shard.bytes:,}: the shard is truncated or "
                    "changed; restore it (dvc checkout, or a copy) or drop it (strata store verify --repair) "
                    "and compute it again"
                )
            file.seek(-8, 2)
            end = file.read(8)
            footer = int.from_bytes(end[:4], "little")
            if end[4:] != _MAGIC or footer + 12 > size:
                raise StrataError(f"{path}: no Parquet footer at its end: the shard is corrupt; restore it")
    except FileNotFoundError:
        raise StrataError(
            f"{path} is missing: the log names it, {shard.rows:,} rows would be lost; restore it "
            "(dvc checkout, or a copy) or drop it (strata store verify --repair) and compute it again"
        ) from None


def history(folder: Path) -> list[Entry]:
    """Read a table's log, oldest first; a table that does not exist yet has an empty one.

    Raises `StrataError` when a number is missing or an entry is not what was written.
    """
    log = Path(folder) / LOG
    if not log.is_dir():
        return []
    found = sorted(int(match[1]) for path in log.iterdir() if (match := _ENTRY.fullmatch(path.name)))
    if found != list(range(1, len(found) + 1)):
        gap = next(i for i, number in enumerate(found, 1) if i != number)
        raise StrataError(
            f"{entry_path(folder, gap)} is missing, yet entry {found[-1]} exists: the log has a gap and the "
            "table cannot be trusted; restore the folder (dvc checkout, or a copy)"
        )
    return [_read(entry_path(folder, number), number) for number in found]


def snapshot(folder: Path, at: int | None = None) -> Snapshot:
    """Return the table as it stands, or as it stood after log entry `at`."""
    return replay(folder, history(folder), at)


def replay(folder: Path, entries: list[Entry], at: int | None = None) -> Snapshot:
    """Apply the first `at` entries of a history (all of them by default)."""
    if at is not None and not 0 <= at <= len(entries):
        raise StrataError(f"{folder} has log entries 1 to {len(entries)}; there is no entry {at}")
    live: dict[str, Shard] = {}
    used = entries[:at]
    for entry in used:
        for path in entry.removed:
            live.pop(path, None)
        live.update((shard.path, shard) for shard in entry.added)
    return Snapshot(Path(folder), len(used), tuple(live.values()))


def timeline(histories: Mapping[Path, list[Entry]]) -> list[tuple[Path, Entry]]:
    """Merge the logs of several tables by moment; each keeps its own order even if a clock went back."""
    stamped = []
    for folder, entries in histories.items():
        moments = accumulate((entry.written_at for entry in entries), max)
        stamped += [
            (moment, folder, entry.version, entry) for moment, entry in zip(moments, entries, strict=True)
        ]
    return [(folder, entry) for _, folder, _, entry in sorted(stamped, key=lambda row: row[:3])]


def entry_path(folder: Path, version: int) -> Path:
    """Return where log entry `version` lies."""
    return Path(folder) / LOG / f"{version:08d}.json"


def shard_name(sha256: str) -> str:
    """Return the file name of a shard: its own hash, never a name that a user chose."""
    return f"{sha256}.parquet"


def unnamed_shards(folder: Path, entries: Iterable[Entry]) -> list[Path]:
    """Return the shards in a folder that no log entry, old or new, ever named."""
    named = {shard.path for entry in entries for shard in entry.added}
    return [path for path in folder.iterdir() if _SHARD.fullmatch(path.name) and path.name not in named]


def past_shards(folder: Path, live: Iterable[Shard]) -> list[Path]:
    """Return the shards in a folder that are not live: only earlier versions need them."""
    named = {shard.path for shard in live}
    return [path for path in folder.iterdir() if _SHARD.fullmatch(path.name) and path.name not in named]


def now() -> str:
    """Return the present moment as the log writes it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def encode(entry: Entry) -> bytes:
    """Return the bytes of an entry's file: the entry and its own hash."""
    body = asdict(entry)
    return json.dumps({"entry": body, "sha256": _digest(body)}).encode()


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body).encode()).hexdigest()


def _read(path: Path, version: int) -> Entry:
    try:
        raw = json.loads(path.read_bytes())
        body = raw["entry"]
        if raw["sha256"] != _digest(body) or body["version"] != version:
            raise ValueError("its hash does not match its content")
        return Entry(
            **{**body, "added": tuple(map(_shard, body["added"])), "removed": tuple(body["removed"])}
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StrataError(
            f"{path}: this log entry is corrupt ({error}); restore the folder (dvc checkout, or a copy)"
        ) from error


def _shard(raw: Mapping[str, Any]) -> Shard:
    return Shard(**{**raw, "rejects": tuple(Reject(*reject) for reject in raw["rejects"])})
