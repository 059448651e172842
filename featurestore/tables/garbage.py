"""What lies in a table's folder and belongs to no live part of it."""

from collections.abc import Iterable
from pathlib import Path

from core.atomic import UNFINISHED
from featurestore.tables import log
from featurestore.tables.log import LOG, Shard
from featurestore.tables.places import storage_of


def garbage(folder: Path, live: Iterable[Shard], older_than: float) -> tuple[list[Path], list[Path]]:
    """Return shards that no live entry names, and what killed writers did not finish.

    Only those are returned that became so `older_than` seconds ago or earlier, by the file system's clock: a
    shard when it was written, or when a log entry removed it.
    """
    storage = storage_of(folder)
    now = storage.clock(folder)
    ages = {
        place / name: now - at
        for place in (folder, folder / LOG)
        for name, at in storage.modified(place).items()
    }
    removed = {
        path: ages.get(log.entry_path(folder, entry.version), 0.0)
        for entry in log.history(folder)
        for path in entry.removed
    }
    past = [
        path
        for path in log.past_shards(folder, live)
        if min(ages.get(path, 0.0), removed.get(path.name, older_than)) >= older_than
    ]
    unfinished = [
        path for path, age in ages.items() if path.name.startswith(UNFINISHED) and age >= older_than
    ]
    return past, unfinished
