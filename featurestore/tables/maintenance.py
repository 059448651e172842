"""Care of a store: look at every byte, drop what is bad, join small shards, remove what nothing names.

`verify` reads and changes nothing; `repair`, `compact` and `gc` write under each table's lock.
"""

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import StrataError
from featurestore.query.cache import MatrixCache
from featurestore.tables import log
from featurestore.tables.address import address, located
from featurestore.tables.checkpoints import checkpoint_numbers, checkpoint_path, read_checkpoint
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import LOG, Log, Shard
from featurestore.tables.models import DamagedModel, damaged_models
from featurestore.tables.places import readable, storage_of
from featurestore.tables.schema import GROWN, KINDS, SCHEMAS, features_schema, widest
from featurestore.tables.shards import TARGET_ROWS
from featurestore.tables.transactions import Together
from featurestore.tables.writer import AGE, TableWriter


@dataclass(frozen=True, slots=True)
class Damage:
    """A live shard that is not what was committed."""

    table: Path
    shard: Shard
    what: str

    def __str__(self) -> str:
        return f"{self.table / self.shard.path}: {self.what} ({self.shard.rows:,} rows)"


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` read and found.

    strays: shards that no log entry names, left by a killed writer or named by an entry that was lost.
    young: the same, but so new that a writer may be about to name them. lost: what is said of entries whose
    counterparts in other tables are not there.
    """

    shards: int
    bytes: int
    damages: tuple[Damage, ...]
    strays: tuple[Path, ...] = ()
    young: tuple[Path, ...] = ()
    lost: tuple[str, ...] = ()
    models: int = 0
    damaged_models: tuple[DamagedModel, ...] = ()


def tables_of(root: str | Path, kinds: Iterable[str] = KINDS) -> list[tuple[str, Path]]:
    """Return the kind and folder of every table of a store; raises `StrataError` where there is none."""
    layout = StoreLayout(Path(root))
    if not storage_of(layout.root).is_folder(layout.root):
        raise StrataError(f"there is no store at {address(layout.root.resolve())}")
    return [(kind, folder) for kind in kinds for folder in layout.tables(kind)]


def schema_of(kind: str, folder: Path) -> pa.Schema:
    """Return the columns of a table; those of vectors are its source model's own, and stand in its shards."""
    if kind in SCHEMAS:
        return widest(kind) if kind in GROWN and _has_grown(kind, folder) else SCHEMAS[kind]
    for path in log.snapshot(folder).paths:
        with suppress(OSError, pa.ArrowException):  # a damaged one says nothing, another one may
            return pq.read_schema(readable(path)).remove_metadata()
    return features_schema((), ())


def _has_grown(kind: str, folder: Path) -> bool:
    """Tell whether a shard of a table has the columns that few tables need; a damaged one does not say."""
    for path in log.snapshot(folder).paths:
        with suppress(OSError, pa.ArrowInvalid):
            if set(pq.read_schema(readable(path)).names) == set(widest(kind).names):
                return True
    return False


def verify(root: str | Path, kinds: Iterable[str] = KINDS, older_than: float = AGE) -> Verified:
    """Read every byte of every live shard, and of fitted models, and compare it with its hash in the log.

    older_than: seconds from which on a shard that no entry names is no longer taken for one that a writer is
    about to commit.

    Raises `StrataError` where a log itself is damaged: it says what belongs to the table, so that it
    has to be restored and cannot be repaired.
    """
    logs = [log.read(folder, whole=True) for _, folder in tables_of(root, kinds)]
    for whole in logs:
        _check_checkpoints(whole)
    found = [(whole.folder, shard) for whole in logs for shard in whole.snapshot().shards]
    damages = [
        Damage(folder, shard, what)
        for folder, shard in found
        if (what := damage_of(folder, shard)) is not None
    ]
    unnamed = [path for whole in logs for path in log.unnamed_shards(whole.folder, whole.entries)]
    moment = time.time()  # not that of the storage: asking for it would write
    written = {
        folder / name: at
        for folder in dict.fromkeys(path.parent for path in unnamed)
        for name, at in storage_of(folder).modified(folder).items()
    }
    there = [path for path in unnamed if path in written]
    strays = tuple(path for path in there if moment - written[path] >= older_than)
    young = tuple(path for path in there if path not in strays)
    lost = tuple(message for whole in logs for message in _lost(whole))
    models = damaged_models(root) if "runs" in kinds else (0, ())
    size = sum(shard.bytes for _, shard in found)
    return Verified(len(found), size, tuple(damages), strays, young, lost, *models)


def _check_checkpoints(whole: Log) -> None:
    """Raise `StrataError` where a checkpoint is damaged or is not what the entries say."""
    place = whole.folder / LOG
    for number in checkpoint_numbers(storage_of(place).names(place)):
        found = read_checkpoint(place, number)
        if found.shards != log.replay(whole.folder, whole.entries, number, hidden=whole.undecided()).shards:
            raise StrataError(
                f"{checkpoint_path(place, number)} does not say what the entries say; delete it: the entries "
                "are what counts"
            )


def _lost(whole: Log) -> list[str]:
    """Say which other tables lack an entry that a transaction of this one counts on."""
    return [
        f"{log.entry_path(whole.folder, number)} counts on entries of other tables that are not there "
        f"({', '.join(sorted(transaction.tables))}): nothing of it is shown. It was "
        "killed, and the stage completes it when it runs again, or the end of a log was lost: restore it"
        for number in sorted(whole.undecided())
        if (transaction := whole.entries[number - 1].transaction) is not None
    ]


def damage_of(folder: Path, shard: Shard) -> str | None:
    """Say what is wrong with one shard, or return None: size first, then the hash of all its bytes."""
    path = folder / shard.path
    try:
        size = storage_of(path).size(path)
        if size != shard.bytes:
            return f"{size:,} bytes, the log says {shard.bytes:,}"
        found = storage_of(path).sha256(path)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if found == shard.sha256 else f"SHA-256 {found[:16]}…, the log says {shard.sha256[:16]}…"


def require_sound(root: str | Path, kinds: Iterable[str], dataset: str | None = None) -> None:
    """Raise `StrataError` naming the first shard of these tables whose bytes are not what was committed.

    With `dataset`, tables of other datasets are left out.
    """
    layout = StoreLayout(Path(root))
    for kind in kinds:
        for folder in layout.tables(kind):
            if dataset is not None and layout.dataset_of(folder) not in (None, dataset):
                continue
            for shard in log.snapshot(folder).shards:
                what = damage_of(folder, shard)
                if what is not None:
                    raise StrataError(
                        f"{Damage(folder, shard, what)}: damaged since it was committed. Restore it (dvc "
                        "checkout --force, or a copy; a damaged DVC cache needs dvc pull), or drop it with "
                        "`strata store verify --repair` and run the pipeline again"
                    )


def repair(root: str | Path, damages: Iterable[Damage]) -> dict[Path, int]:
    """Drop damaged shards from their logs, one entry a table; return how many rows each table lost.

    The stage that wrote them computes them again. Their files stay until `gc`.
    """
    by_table: dict[Path, list[Shard]] = {}
    for damage in damages:
        by_table.setdefault(damage.table, []).append(damage.shard)
    kinds = {folder: kind for kind, folder in tables_of(root)}
    for folder, shards in by_table.items():
        _refuse_link(located(root), folder)
        with TableWriter(
            folder, schema_of(kinds[folder], folder), "repair", damaged=True, alone=True
        ) as writer:
            writer.drop(shards)
    return {folder: sum(shard.rows for shard in shards) for folder, shards in by_table.items()}


def drop_runs(damaged: Iterable[DamagedModel]) -> dict[Path, int]:
    """Drop the runs of damaged models, and their predictions, so that their stage makes them again."""
    by_table: dict[Path, set[str]] = {}
    for item in damaged:
        by_table.setdefault(item.runs, set()).add(item.run_id)
    for folder, run_ids in by_table.items():
        other = folder.with_name("predictions")
        kept = schema_of("predictions", other)
        with (
            TableWriter(folder, SCHEMAS["runs"], "repair", damaged=True, alone=True) as runs,
            TableWriter(other, kept, "repair", damaged=True, alone=True) as predictions,
            Together(predictions, runs),
        ):
            for writer in (predictions, runs):
                writer.retain(writer.committed.keys() - run_ids)
    return {folder: len(run_ids) for folder, run_ids in by_table.items()}


def _own_tables(root: str | Path, kinds: Iterable[str]) -> list[tuple[str, Path]]:
    """Return the tables that lie in this store, having made sure that none is a link to another's."""
    found = tables_of(root, kinds)
    for _, folder in found:
        _refuse_link(located(root), folder)
    return found


def _refuse_link(root: Path, folder: Path) -> None:
    real = folder.resolve()
    if real != root.resolve() / folder.relative_to(root):
        raise StrataError(
            f"{folder} is a link to {real}, which belongs to another store: look after it there, nothing was "
            "changed here"
        )


def compact(
    root: str | Path, kinds: Iterable[str] = KINDS, rows: int = TARGET_ROWS
) -> dict[Path, tuple[int, int]]:
    """Join neighbouring small shards of each table into ones of up to `rows` rows.

    Keys, rejects and provenance stay with their rows. Old snapshots can be read until `gc`. Returns the
    numbers of shards before and after, of the tables where that changed.
    """
    if rows < 1:
        raise StrataError(f"a shard has one row at least, got {rows}")
    changed = {}
    for kind, folder in _own_tables(root, kinds):
        with TableWriter(folder, schema_of(kind, folder), "compact", alone=True) as writer:
            before = len(writer.shards)
            writer.join(rows)
            if len(writer.shards) != before:
                changed[folder] = before, len(writer.shards)
    return changed


def gc(root: str | Path, older_than: float = AGE) -> tuple[int, int]:
    """Remove shards that only the past names, and derived caches; return how many files and bytes.

    Spared is what became garbage less than `older_than` seconds ago: a writer may be about to name it, and a
    reader may have opened the store as it was. After it, earlier versions of the changed tables can no longer
    be opened.
    """
    files = size = 0
    for kind, folder in _own_tables(root, KINDS):
        with TableWriter(folder, schema_of(kind, folder), "gc", alone=True) as writer:
            freed = writer.collect(older_than)
            files, size = files + len(freed), size + sum(freed)
    return files, size + MatrixCache(located(root)).clear()
