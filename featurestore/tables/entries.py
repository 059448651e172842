"""What a log consists of: entries of shards added and removed, and how one is written down and checked."""

import hashlib
import json
import re
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import StrataError, check_name

FORMAT = 2  # 1: entries without format, seen, transaction and void; see docs/store-format.md
SHARD = re.compile(r"[0-9a-f]{64}\.parquet")


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
class Transaction:
    """Entries of several tables that are shown together or not at all."""

    id: str
    table: str  # the table of this entry, by its place under the store's root, such as entries/emt_alloys
    tables: Mapping[str, int]  # every table it spans → the number of its entry there


@dataclass(frozen=True, slots=True)
class Entry:
    """One committed step of a table's history."""

    version: int
    operation: str
    written_at: str  # ISO 8601, UTC; for people: the order is that of `seen`
    added: tuple[Shard, ...] = ()
    removed: tuple[str, ...] = ()  # paths of shards
    format: int = FORMAT
    seen: int = 0  # larger than that of every entry of the store its writer knew of; 0: format 1
    transaction: Transaction | None = None
    void: tuple[int, ...] = ()  # earlier entries of this table whose transactions were never completed


def now() -> str:
    """Return the present moment as the log writes it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def shard_name(sha256: str) -> str:
    """Return the file name of a shard: its own hash, never a name that a user chose."""
    return f"{sha256}.parquet"


def encode(entry: Entry) -> bytes:
    """Return the bytes of an entry's file: the entry and its own hash."""
    return sealed("entry", asdict(entry))


def sealed(name: str, body: Mapping[str, Any]) -> bytes:
    """Return JSON of one object and the hash of its text."""
    text = json.dumps(body)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{{"{name}": {text}, "sha256": "{digest}"}}'.encode()


def unsealed(name: str, content: bytes) -> dict[str, Any]:
    """Return what `sealed` wrote; raises `ValueError` where it is something else."""
    raw = json.loads(content)
    if not isinstance(raw, dict) or set(raw) != {name, "sha256"} or not isinstance(raw[name], dict):
        raise ValueError(f"no {name} in it")
    if raw["sha256"] != hashlib.sha256(json.dumps(raw[name]).encode()).hexdigest():
        raise ValueError("its hash does not match its content")
    return dict(raw[name])


def decode(path: Path, content: bytes, version: int) -> Entry:
    """Read an entry's file back, checking its hash, its number and every name in it.

    Raises `StrataError` naming the file.
    """
    try:
        body = unsealed("entry", content)
        check_format(body.get("format", 1))
        if body["version"] != version:
            raise ValueError(f"it says that it is entry {body['version']}")
        body["added"] = tuple(map(shard_of, body["added"]))
        body["removed"] = tuple(map(_checked_name, body["removed"]))
        body["void"] = tuple(map(int, body.get("void", ())))
        body["transaction"] = _transaction(body.get("transaction"), version)
        return Entry(**{"format": 1, **body})
    except NewerFormatError as error:
        raise StrataError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, StrataError) as error:
        raise StrataError(
            f"{path}: this log entry is corrupt ({error}); restore the folder (dvc checkout, or a copy)"
        ) from error


class NewerFormatError(StrataError):
    """The store was written by a later version than this one."""


def check_format(number: object) -> None:
    """Raise `NewerFormatError` for a format that this version does not know."""
    if not isinstance(number, int) or number < 1:
        raise ValueError(f"format {number!r} is none")
    if number > FORMAT:
        raise NewerFormatError(
            f"it has format {number}, and this version of strata reads up to {FORMAT}; update strata"
        )


def shard_of(raw: Mapping[str, Any]) -> Shard:
    """Build a shard from JSON; its path must be its hash, so that no log leads to another file."""
    shard = Shard(**{**raw, "rejects": tuple(Reject(*reject) for reject in raw["rejects"])})
    if _checked_name(shard.path) != shard_name(shard.sha256):
        raise ValueError(f"the shard {shard.path} is not named by its hash")
    return shard


def _checked_name(path: object) -> str:
    if not isinstance(path, str) or not SHARD.fullmatch(path):
        raise ValueError(
            f"{str(path)[:100]!r} is not the name of a shard: 64 hexadecimal digits and .parquet"
        )
    return path


def _transaction(raw: Mapping[str, Any] | None, version: int) -> Transaction | None:
    if raw is None:
        return None
    found = Transaction(**raw)
    for table, number in found.tables.items():
        for part in table.split("/"):
            check_name(part, "table")
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"{number!r} is no number of an entry")
    if found.tables.get(found.table) != version:
        raise ValueError(f"its transaction does not have it as entry {version} of {found.table}")
    return found
