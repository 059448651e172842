"""What lies in a table's folder and belongs to no live part of it."""

from collections.abc import Iterable
from pathlib import Path

from core.atomic import UNFINISHED
from featurestore.tables import log
from featurestore.tables.log import LOG, Shard
from featurestore.tables.storage import LOCAL, age, clock_of


def garbage(folder: Path, live: Iterable[Shard], older_than: float) -> tuple[list[Path], list[Path]]:
    """Return shards that no live entry names, and what killed writers did not finish.

    Only those are returned that became so `older_than` seconds ago or earlier, by the file system's clock: a
    shard when it was written, or when a log entry removed it.
    """
    now = clock_of(folder)
    removed = {
        path: age(log.entry_path(folder, entry.version), now)
        for entry in log.history(folder)
        for path in entry.removed
    }
    past = [
        path
        for path in log.past_shards(folder, live)
        if min(age(path, now), removed.get(path.name, older_than)) >= older_than
    ]
    unfinished = [
        place / name
        for place in (folder, folder / LOG)
        for name in LOCAL.names(place)
        if name.startswith(UNFINISHED) and age(place / name, now) >= older_than
    ]
    return past, unfinished
