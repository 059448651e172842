"""An in-memory DuckDB over the committed shards: what `schema.sql` stands on is registered here."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from core.errors import StrataError
from featurestore.query import pointer
from featurestore.query.far_files import file_system
from featurestore.query.source_views import statements, stored
from featurestore.query.sources import Source, refuse_older_layout
from featurestore.tables.address import address
from featurestore.tables.checkpoints import Checkpoint
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import (
    Entry,
    Log,
    Shard,
    Snapshot,
    history,
    newest_number,
    read,
    read_entry,
    timeline,
)
from featurestore.tables.places import storage_of
from featurestore.tables.schema import GROWN, KINDS, SCHEMAS, widest
from featurestore.tables.storage import LOCAL

_text, _count, _number = pa.string(), pa.int64(), pa.int64()
_SHARDS = pa.schema(
    {
        "number": _number,
        "filename": _text,
        "table": _text,
        "dataset": _text,
        "keys": pa.list_(_text),
        "rows": _count,
        "bytes": _count,
        "sha256": _text,
        "provenance": _text,
    }
)
_REJECTS = pa.schema(dict.fromkeys(("table", "dataset", "id", "code", "message", "extraction_id"), _text))
_LOG = pa.schema(
    {
        "n": _number,
        "table": _text,
        "dataset": _text,
        "version": _number,
        "operation": _text,
        "written_at": pa.timestamp("us"),
        **dict.fromkeys(("shards_added", "rows_added", "bytes_added"), _count),
        **dict.fromkeys(("shards_removed", "rows_removed", "bytes_removed"), _count),
        "rejects": _count,
    }
)
_EXTRACTIONS = pa.schema({"extraction_id": _text, "provenance": _text, "environments": pa.list_(_text)})
_GROWN = {
    "stored_runs",
    *(f"stored_{kind}" for kind in GROWN),
}  # tables with shards that were written before a column was added
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "python_enable_replacements": "false",  # a query sees tables, not our variables
    "autoinstall_known_extensions": "false",  # nor does an address in it make DuckDB fetch anything
    "autoload_known_extensions": "false",
}
_READINGS = 20  # of all logs, while writers commit
_ENVIRONMENT = ("torch", "numpy", "platform")  # what may move the last digits of a vector


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the store as it is being read."""

    kind: str
    dataset: str | None
    snapshot: Snapshot
    source_model: str | None = None


@dataclass(frozen=True, slots=True)
class Commits:
    """The commits of a store up to the moment, or version, at which it is being read."""

    versions: Mapping[Path, int]  # table → the number of its newest entry

    @classmethod
    def of(cls, layout: StoreLayout) -> "Commits":
        """Return the commits of a store as it is now, without reading them."""
        folders = _folders(layout)
        return cls(dict(zip(folders, storage_of(layout.root).each(newest_number, folders), strict=True)))

    def __len__(self) -> int:
        return sum(self.versions.values())

    def read(self) -> list[tuple[Path, Entry]]:
        """Read them all, in the order of the store; of a long history that takes a while."""
        whole = {folder: entries[: self.versions[folder]] for folder, entries in _histories(self.versions)}
        return timeline(whole)


def read_tables(
    layout: StoreLayout, at: int | str | None = None, *, check: bool = True
) -> tuple[list[Table], Commits]:
    """Read every table's log; return the tables at store version `at` and the commits up to it.

    The store's version counts the commits of all its tables, as the view `log` numbers them; `at` may also be
    a moment, as `version_at` takes it, or the file of a pointer. A transaction is seen in all of its tables
    or in none. `check` false leaves out whether the shards are there, where only the logs are at hand.
    """
    refuse_older_layout(layout)
    storage = storage_of(layout.root)
    if at is not None:
        return _tables_at(layout, at, check=check)
    for left in reversed(range(_READINGS)):
        folders = _folders(layout)
        logs = dict(zip(folders, storage.each(read, folders), strict=True))
        commits = Commits({folder: log.version for folder, log in logs.items()})
        if left and any(storage.each(lambda log: _transaction_since(log.folder, log.version), logs.values())):
            continue
        found = {folder: log.snapshot(commits.versions) for folder, log in logs.items()}
        try:
            if check:
                storage.each(Snapshot.check, found.values())
        except StrataError:
            if left and any(newest_number(folder) != log.version for folder, log in logs.items()):
                continue  # a shard was joined and collected meanwhile
            raise
        break
    return [_table(layout, snapshot) for snapshot in found.values()], commits


def _folders(layout: StoreLayout) -> list[Path]:
    """Return the folders of all tables, in the order of the kinds."""
    found = storage_of(layout.root).each(layout.tables, KINDS)
    return [folder for tables in found for folder in tables]


def _histories(folders: Iterable[Path]) -> list[tuple[Path, list[Entry]]]:
    there = list(folders)
    return list(zip(there, storage_of(there[0]).each(history, there), strict=True)) if there else []


def _transaction_since(folder: Path, version: int) -> bool:
    """Tell whether a table has got an entry of a transaction since its log was read up to `version`.

    Another table, read later, may show that transaction already: then all are read again.
    """
    while (entry := read_entry(folder, version + 1)) is not None:
        if entry.transaction is not None:
            return True
        version += 1
    return False


def _tables_at(layout: StoreLayout, at: int | str, *, check: bool) -> tuple[list[Table], Commits]:
    histories = dict(_histories(_folders(layout)))
    pointed = pointer.read(at) if isinstance(at, str) and pointer.is_pointer(at) else None
    if pointed is None:
        versions = _versions_at(layout, histories, at)
    else:
        versions = {f: pointed.version(layout.root, f, len(entries)) for f, entries in histories.items()}
    moment = at if pointed else f"version {sum(versions.values())}"
    snapshots = {}
    for folder, entries in histories.items():
        log = Log(folder, Checkpoint(), tuple(entries[: versions[folder]]))
        found = log.snapshot(versions)
        try:
            if check:
                found.check()
        except StrataError:
            collected = [entry for entry in entries[versions[folder] :] if entry.operation == "gc"]
            if not collected:
                raise
            raise StrataError(
                f"{layout.root} can no longer be opened at {moment}: `strata store gc` of "
                f"{collected[0].written_at[:19]} removed shards of {folder} that it needs"
            ) from None
        snapshots[folder] = found
    if pointed is not None:
        pointed.check(layout.root, snapshots)
    return [_table(layout, found) for found in snapshots.values()], Commits(versions)


def _versions_at(
    layout: StoreLayout, histories: Mapping[Path, list[Entry]], at: int | str
) -> dict[Path, int]:
    """Return how many entries of each table belong to the store's version, or moment, `at`."""
    commits = timeline(histories)
    number = version_at(commits, at) if isinstance(at, str) else at
    if not 0 <= number <= len(commits):
        raise StrataError(f"{layout.root} has versions 0 to {len(commits)}; there is no version {number}")
    upto = Counter(folder for folder, _ in commits[:number])
    return {folder: upto[folder] for folder in histories}


def _table(layout: StoreLayout, found: Snapshot) -> Table:
    folder = found.folder
    return Table(layout.kind_of(folder), layout.dataset_of(folder), found, layout.source_of(folder))


def version_at(commits: Sequence[tuple[Path, Entry]], at: str) -> int:
    """Return the store's version at a number, or at a moment in ISO 8601, without a zone in UTC.

    A moment means the commits before the first one that was written later: their order is the log's own, and
    a clock that was set back does not change what a moment means. Raises `StrataError` for another text.
    """
    if at.isdecimal():
        return int(at)
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise StrataError(
            f"--at {at!r} is neither a version, such as 12, nor a moment, such as 2030-01-31T12:00, nor the "
            "file of a pointer, such as store.json"
        ) from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    late = (n for n, (_, entry) in enumerate(commits) if datetime.fromisoformat(entry.written_at) > moment)
    return next(late, len(commits))


def connect(
    layout: StoreLayout,
    tables: list[Table],
    sources: Mapping[str, Source],
    *,
    commits: Commits | None = None,
    located: Callable[[Path], str] = address,
    filesystem: Any = None,
) -> Any:
    """Return an in-memory DuckDB connection with the views of `schema.sql`.

    The view `log` is empty without `commits`; `register_log` fills it. `located` says where DuckDB finds a
    shard, and `filesystem` (of fsspec) how it gets there, where shards do not lie under the layout's root.
    """
    connection = duckdb.connect(config=_SETTINGS)
    if filesystem is None and storage_of(layout.root) is not LOCAL:
        filesystem = file_system()
    if filesystem is not None:
        connection.register_filesystem(filesystem)
    connection.execute("SET TimeZone = 'UTC'")  # what is printed must not depend on the machine
    for kind in SCHEMAS:
        paths = [located(path) for table in tables if table.kind == kind for path in table.snapshot.paths]
        _register_shards(connection, f"stored_{kind}", paths, widest(kind))
    for source in sources:
        paths = [
            located(path)
            for table in tables
            if table.kind == "features" and table.source_model == source
            for path in table.snapshot.paths
        ]
        _register_shards(connection, stored(source).strip('"'), paths, sources[source].schema)
    shards = [(table, shard) for table in tables for shard in table.snapshot.shards]
    _register(
        connection,
        "stored_shards",
        _SHARDS,
        (
            {
                "number": number,
                "filename": located(table.snapshot.folder / shard.path),
                "table": table.kind,
                "dataset": table.dataset,
                "keys": list(shard.keys),
                "rows": shard.rows,
                "bytes": shard.bytes,
                "sha256": shard.sha256,
                "provenance": json.dumps(dict(shard.provenance)),
            }
            for number, (table, shard) in enumerate(shards)
        ),
    )
    _register(
        connection,
        "stored_rejects",
        _REJECTS,
        (
            {
                "table": table.kind,
                "dataset": table.dataset,
                "id": reject.entry_id,
                "code": reject.code,
                "message": reject.message,
                "extraction_id": shard.provenance.get("extraction_id"),
            }
            for table, shard in shards
            for reject in shard.rejects
        ),
    )
    _register(connection, "stored_provenance", _EXTRACTIONS, _extraction_rows(shards))
    register_log(connection, layout, commits)
    for statement in statements(sources):
        connection.execute(statement)
    connection.execute(files("featurestore.query").joinpath("schema.sql").read_text(encoding="utf-8"))
    return connection


def register_log(connection: Any, layout: StoreLayout, commits: Commits | None) -> None:
    """Fill what the view `log` stands on; that reads every entry, and few questions need it."""
    rows = _log_rows(layout, commits.read()) if commits else ()
    _register(connection, "stored_log", _LOG, rows)


def _register_shards(connection: Any, name: str, paths: list[str], schema: pa.Schema) -> None:
    if paths:
        shards = connection.read_parquet(
            paths, filename=True, file_row_number=True, union_by_name=name in _GROWN
        )
        added = [f for f in schema if f.nullable and f.name not in shards.columns]
        if added:
            nulls = [
                f"NULL::{'DOUBLE' if pa.types.is_floating(f.type) else 'VARCHAR'} AS {f.name}" for f in added
            ]
            shards = shards.project(", ".join(["*", *nulls]))
        shards.create_view(name)
        return
    empty = pa.schema([*schema, pa.field("file_row_number", pa.int64()), pa.field("filename", pa.string())])
    connection.register(name, empty.empty_table())


def _register(connection: Any, name: str, schema: pa.Schema, rows: Iterable[Mapping[str, Any]]) -> None:
    connection.register(name, pa.Table.from_pylist(list(rows), schema=schema))


def _extraction_rows(shards: list[tuple[Table, Shard]]) -> Iterable[dict[str, Any]]:
    """Say of each extraction where it came from, and every environment that computed some of it."""
    facts: dict[str, dict[str, str]] = {}
    environments: dict[str, set[str]] = {}
    for _, shard in shards:
        name = shard.provenance.get("extraction_id")
        if name is not None:
            facts.setdefault(name, {}).update(shard.provenance)
            known = [f"{key} {shard.provenance[key]}" for key in _ENVIRONMENT if key in shard.provenance]
            environments.setdefault(name, set()).add(", ".join(known) or "not recorded")
    for name, provenance in facts.items():
        yield {
            "extraction_id": name,
            "provenance": json.dumps(provenance),
            "environments": sorted(environments[name]),
        }


def _log_rows(layout: StoreLayout, commits: list[tuple[Path, Entry]]) -> Iterable[dict[str, Any]]:
    written = {(folder, shard.path): shard for folder, entry in commits for shard in entry.added}
    for n, (folder, entry) in enumerate(commits, 1):
        removed = [written[folder, path] for path in entry.removed]
        yield {
            "n": n,
            "table": layout.kind_of(folder),
            "dataset": layout.dataset_of(folder),
            "version": entry.version,
            "operation": entry.operation,
            "written_at": datetime.fromisoformat(entry.written_at).replace(tzinfo=None),
            "shards_added": len(entry.added),
            "rows_added": sum(shard.rows for shard in entry.added),
            "bytes_added": sum(shard.bytes for shard in entry.added),
            "shards_removed": len(removed),
            "rows_removed": sum(shard.rows for shard in removed),
            "bytes_removed": sum(shard.bytes for shard in removed),
            "rejects": sum(len(shard.rejects) for shard in entry.added),
        }
