"""A pointer to a store as it stands: the number of each table's newest entry, and a hash of what is live.

A small file for git and DVC beside a store that they do not keep, such as one in an object store. Named as
`at`, it opens the store at exactly that moment, however far the logs have moved on, or says why it cannot.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.atomic import write_whole
from core.errors import StrataError, check_name
from featurestore.tables.address import address, parts_of
from featurestore.tables.log import Snapshot

SUFFIX = ".json"  # by which a pointer is told from a number or a moment
_FORMAT = 1
_LONGEST = 16 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a pointer says: place of a table under the root → number of its newest entry, and hash."""

    path: Path
    tables: Mapping[str, tuple[int, str]]

    def version(self, root: Path, folder: Path, entries: int) -> int:
        """Return the number of the newest entry of a table that counts; 0 for a table that is newer.

        entries: how many the table has. Raises `StrataError` where that is fewer.
        """
        number, _ = self.tables.get(_name(root, folder), (0, ""))
        if number > entries:
            raise StrataError(
                f"{self.path} names entry {number} of {folder}, which has {entries}: the end of its log is "
                "lost, or this is another store"
            )
        return number

    def check(self, root: Path, found: Mapping[Path, Snapshot]) -> None:
        """Raise `StrataError` where a table is not there, or is not what it was."""
        there = {_name(root, folder): snapshot for folder, snapshot in found.items()}
        for name, (number, sha256) in self.tables.items():
            if name not in there:
                raise StrataError(f"{self.path} names the table {name}, which {address(root)} does not have")
            if _hash(there[name]) != sha256:
                raise StrataError(
                    f"{self.path}: the table {name} of {address(root)} is not, at entry {number}, what it "
                    "was when the pointer was written: its log went another way, or this is another store"
                )


def is_pointer(at: object) -> bool:
    """Tell whether `at` names a pointer's file."""
    return isinstance(at, str) and at.endswith(SUFFIX)


def write(root: Path, tables: Mapping[Path, Snapshot], out: Path) -> None:
    """Write a pointer; of an unchanged store always the same bytes."""
    if out.suffix != SUFFIX:
        raise StrataError(f"a pointer's name ends in {SUFFIX}, got {out}")
    named = {
        _name(root, folder): {"version": snapshot.version, "sha256": _hash(snapshot)}
        for folder, snapshot in tables.items()
        if snapshot.version
    }
    facts: dict[str, Any] = {"pointer": _FORMAT}
    if parts_of(root) is not None:
        facts["store"] = address(root)
    facts["version"] = sum(item["version"] for item in named.values())
    write_whole(out, json.dumps(facts | {"tables": dict(sorted(named.items()))}, indent=1) + "\n")


def read(path: str | Path) -> Pointer:
    """Read a pointer; raises `StrataError` where the file is none."""
    path = Path(path)
    try:
        if path.stat().st_size > _LONGEST:
            raise ValueError("it is too large")
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["pointer"] != _FORMAT:
            raise ValueError(f"its format is {raw['pointer']!r}, and this version of strata reads {_FORMAT}")
        tables = {}
        for name, item in raw["tables"].items():
            for part in name.split("/"):
                check_name(part, "table")
            tables[name] = int(item["version"]), str(item["sha256"])
    except OSError as error:
        raise StrataError(f"{path} cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, StrataError) as error:
        raise StrataError(
            f"{path} is no pointer to a store ({error}); write one: strata store pointer"
        ) from None
    return Pointer(path, tables)


def _name(root: Path, folder: Path) -> str:
    return folder.relative_to(root).as_posix()


def _hash(snapshot: Snapshot) -> str:
    """Hash what the log says of the live shards, which names their own hashes."""
    text = json.dumps([asdict(shard) for shard in snapshot.shards], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
