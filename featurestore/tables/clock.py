"""A logical number for every commit of a store, so that their order depends on no clock."""

import time
from contextlib import suppress
from pathlib import Path

from core.errors import StrataError
from featurestore.tables import log
from featurestore.tables.layout import StoreLayout
from featurestore.tables.places import storage_of
from featurestore.tables.schema import KINDS

_known: dict[Path, int] = {}  # root → the largest number that this process knows of


class LogicalClock:
    """Gives numbers larger than those of all commits of the store that are known here (a Lamport clock)."""

    def __init__(self, folder: Path) -> None:
        self._layout = StoreLayout.around(folder)
        self._root = self._layout.root.resolve()
        self._storage = storage_of(self._root)
        self._looked = float("-inf")

    def next(self, own: int) -> int:
        """Return the number of the next commit; `own`: the largest in the table that is written to."""
        if time.monotonic() - self._looked > self._storage.look_every:
            self._known(max(self._storage.each(_newest, self._tables()), default=0))
            self._looked = time.monotonic()
        return self._known(own, step=1)

    def _known(self, number: int, step: int = 0) -> int:
        _known[self._root] = max(_known.get(self._root, 0), number) + step
        return _known[self._root]

    def _tables(self) -> list[Path]:
        found = self._storage.each(self._layout.tables, KINDS)
        return [folder for tables in found for folder in tables]


def _newest(folder: Path) -> int:
    with suppress(StrataError):  # another table's damage is not ours to complain of
        number = log.newest_number(folder)
        entry = log.read_entry(folder, number) if number else None
        return max(number, entry.seen if entry else 0)
    return 0
