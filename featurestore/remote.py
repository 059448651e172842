"""A store on an object store or any other place that fsspec reaches: asked from afar, or copied.

Shards never change and are named by their hash, so a copy fetches only what it lacks and checks each file.
"""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.atomic import remove
from core.errors import StrataError
from core.lazy import need
from featurestore.query.sources import Source, read_sources
from featurestore.query.views import Table, connect, read_tables
from featurestore.tables import log
from featurestore.tables.checkpoints import checkpoint_path
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import LOG, Log
from featurestore.tables.schema import KINDS

_PART = ".tmp-pull-"


@contextmanager
def ask(url: str, at: int | str | None = None, **options: Any) -> Iterator[Any]:
    """Give a DuckDB connection with the views of docs/sql.md over a store that stays where it is.

        with ask("s3://bucket/store") as connection:
            connection.sql("SELECT entry_id, value FROM targets WHERE property = 'n'").df()

    DuckDB reads, through fsspec, only the columns that a query names. `options` go to fsspec (`key`,
    `secret`, `client_kwargs`, …). Raises `StrataError` where no store is there. Shards are not checked
    against their hashes: `pull` does that.
    """
    files, root = _open(url, options)
    with tempfile.TemporaryDirectory() as folder:
        layout = StoreLayout(Path(folder))
        _copy_logs(files, root, layout.root)
        tables, commits = read_tables(layout, at, check=False)

        def located(path: Path) -> str:
            return str(files.unstrip_protocol(f"{root}/{path.relative_to(layout.root).as_posix()}"))

        sources = _sources(files, root, layout, tables)
        connection = connect(layout, tables, sources, commits=commits, located=located, filesystem=files)
        try:
            yield connection
        finally:
            connection.close()


def pull(url: str, folder: str | Path, kinds: Iterable[str] = KINDS, **options: Any) -> tuple[int, int]:
    """Copy the live shards of a store that are not in `folder` yet; return how many, and their bytes.

    `kinds` are tables, such as ("entries", "targets", "features"). A table is seen in the copy once all
    of its shards are there. Raises `StrataError` for bytes that are not what was committed, naming the
    shard; the others are kept, so that asking again goes on.
    """
    files, root = _open(url, options)
    count = size = 0
    with tempfile.TemporaryDirectory() as temporary:
        far, near = StoreLayout(Path(temporary)), Path(folder)
        _copy_logs(files, root, far.root)
        # All logs are read, and what they name is checked, before the first file is written.
        found = [log.read(table) for kind in kinds for table in far.tables(kind)]
        for table in found:
            name = table.folder.relative_to(far.root)
            for shard in table.snapshot().shards:
                place = near / name / shard.path
                if not (place.is_file() and place.stat().st_size == shard.bytes):
                    _fetch(files, f"{root}/{name.as_posix()}/{shard.path}", place, shard.sha256)
                    count, size = count + 1, size + shard.bytes
            _adopt_log(table, near / name / LOG)
    return count, size


def _open(url: str, options: dict[str, Any]) -> tuple[Any, str]:
    fsspec: Any = need("fsspec", "pipeline")
    try:
        files, root = fsspec.core.url_to_fs(url, **options)
    except (ValueError, ImportError) as error:
        raise StrataError(f"{url} cannot be opened: {error}") from None
    root = str(root).rstrip("/")
    if not files.isdir(root):
        raise StrataError(f"there is no store at {url}")
    return files, root


def _copy_logs(files: Any, root: str, into: Path) -> None:
    """Copy the small files that say what belongs to each table."""
    found = [path for path in files.find(root) if f"/{LOG}/" in path and path.endswith(".json")]
    if not found:
        raise StrataError(f"{files.unstrip_protocol(root)} is no store: no table in it has a log")
    contents = files.cat(found)
    for path in found:
        place = into / path[len(root) :].lstrip("/")
        if not place.resolve().is_relative_to(into.resolve()):
            raise StrataError(f"{path} would lie outside the store")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(contents[path] if isinstance(contents, dict) else contents)


def _sources(files: Any, root: str, layout: StoreLayout, tables: list[Table]) -> dict[str, Source]:
    """Fetch the few rows that say what the vectors are."""
    snapshots = [table.snapshot for table in tables if table.kind == "extractions"]
    for snapshot in snapshots:
        for shard in snapshot.shards:
            name = (snapshot.folder / shard.path).relative_to(layout.root).as_posix()
            _fetch(files, f"{root}/{name}", snapshot.folder / shard.path, shard.sha256)
    return read_sources(snapshots)


def _fetch(files: Any, source: str, place: Path, sha256: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f"{_PART}{place.name}")
    digest = hashlib.sha256()
    try:
        with files.open(source, "rb") as far, part.open("wb") as near:
            while block := far.read(1 << 20):
                digest.update(block)
                near.write(block)
        if digest.hexdigest() != sha256:
            raise StrataError(f"{source}: its bytes have SHA-256 {digest.hexdigest()}, the log says {sha256}")
        part.replace(place)
    except FileNotFoundError:
        raise StrataError(f"{source} is missing, yet the log names it") from None
    finally:
        remove(part)


def _adopt_log(far: Log, place: Path) -> None:
    """Bring the copied log to where its shards now are; one that went another way is not overwritten.

    It ends before the first transaction that is not complete: the copy may lack the tables that say so.
    """
    source = far.folder / LOG
    upto = min(far.undecided(), default=far.version + 1) - 1
    place.mkdir(parents=True, exist_ok=True)
    for number in range(1, log.newest_number(place.parent) + 1):
        path = log.entry_path(place.parent, number)
        theirs = source / path.name
        if not theirs.exists() or theirs.read_bytes() != path.read_bytes():
            raise StrataError(
                f"{path} is not the entry of that number in the store that is copied: the two went separate "
                "ways; copy it into a folder of its own"
            )
    checkpoint = [checkpoint_path(source, far.base.version)] if far.base.version else []
    for path in [*(log.entry_path(far.folder, number) for number in range(1, upto + 1)), *checkpoint]:
        target = place / path.name
        if not target.exists():
            part = target.with_name(f"{_PART}{path.name}")
            part.write_bytes(path.read_bytes())
            part.replace(target)
