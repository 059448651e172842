"""What a writer has gathered and not yet committed, and what it means for the table as it stands."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from featurestore.tables.entries import Shard
from featurestore.tables.log import Snapshot
from featurestore.tables.shards import Chunk, rewrite, without, write_chunks
from featurestore.tables.vectors import read_columns


class Change(NamedTuple):
    """What a log entry says: shards that come, and paths of shards that go."""

    added: tuple[Shard, ...] = ()
    removed: tuple[str, ...] = ()


def retracted(folder: Path, now: Snapshot, rejects: set[str], schema: pa.Schema) -> Change:
    """Write the shards that hold rejects of some ids anew without them; chunks keep their keys."""
    added, removed = [], []
    for shard in now.shards:
        if rejects.isdisjoint(reject.entry_id for reject in shard.rejects):
            continue
        removed.append(shard.path)
        for key in shard.keys:
            one = shard if len(shard.keys) == 1 else rewrite(folder, [shard], {key}, schema)
            kept = without(folder, one, schema.names[0], rejects, schema)
            added += [] if kept is None else [kept]
    return Change(tuple(added), tuple(removed))


class Newcomers:
    """The ids that others have added to a table since a writer opened it.

    For tables in which an id stands once for each set of shards that agree in one fact of their provenance,
    such as a structure for each extraction, whatever keys it was committed under.
    """

    def __init__(self, folder: Path, column: str, fact: str, now: Snapshot) -> None:
        self.column = column
        self._folder, self._fact = folder, fact
        self._read = {shard.path for shard in now.shards}
        self._ids: dict[str | None, set[str]] = {}

    def pass_over(self, shard: Shard) -> None:
        """Take a shard for known: it is the writer's own."""
        self._read.add(shard.path)

    def among(self, shard: Shard, now: Snapshot) -> set[str]:
        """Return those ids that might be in `shard` too: rows and rejects of shards of the same fact."""
        for other in now.shards:
            if other.path in self._read:
                continue
            found = read_columns(self._folder / other.path, [self.column])[self.column].to_pylist()
            ids = self._ids.setdefault(other.provenance.get(self._fact), set())
            ids |= {*found, *(reject.entry_id for reject in other.rejects)}
            self._read.add(other.path)
        return self._ids.get(shard.provenance.get(self._fact), set())


@dataclass
class Gathered:
    """Chunks to add, and the keys that stay."""

    folder: Path
    schema: pa.Schema
    once: Newcomers | None = None
    keys: set[str] = field(default_factory=set)  # of the chunks to add
    _wanted: set[str] | None = None  # live keys that stay; None: all of them
    _chunks: dict[str, Chunk] = field(default_factory=dict)  # to be written
    _written: list[Shard] = field(default_factory=list)  # to be named by the log

    def add(self, key: str, chunk: Chunk) -> None:
        """Remember a chunk; `write` writes it."""
        self.keys.add(key)
        self._chunks[key] = chunk

    def add_shard(self, shard: Shard) -> None:
        """Remember a shard that is written already."""
        self.keys |= set(shard.keys)
        self._written.append(shard)

    def retain(self, keys: Iterable[str]) -> None:
        """Let only these keys stay, beside those that are added."""
        self._wanted = set(keys)

    def write(self) -> None:
        """Write what was remembered, neighbours of one provenance as one shard."""
        part: dict[str, Chunk] = {}
        for key, chunk in self._chunks.items():
            if part and next(iter(part.values())).provenance != chunk.provenance:
                self._written.append(write_chunks(self.folder, part))
                part = {}
            part[key] = chunk
        if part:
            self._written.append(write_chunks(self.folder, part))
        self._chunks = {}

    def __bool__(self) -> bool:
        return bool(self.keys) or self._wanted is not None

    def change(self, now: Snapshot) -> Change:
        """Say what is to be added and removed; a key that somebody else has added meanwhile is not added."""
        stays = self._wanted
        gone = [shard for shard in now.shards if stays is not None and not stays.issuperset(shard.keys)]
        added = [
            rewrite(self.folder, [shard], set(stays), self.schema)
            for shard in gone
            if stays is not None and not stays.isdisjoint(shard.keys)
        ]
        there = {key for shard in now.shards for key in shard.keys if stays is None or key in stays}
        for shard in self._written:
            new = set(shard.keys) - there
            if len(new) == len(shard.keys):
                added.append(shard)
            elif new:
                added.append(rewrite(self.folder, [shard], new, self.schema))
        if self.once is not None:
            added = [one for shard in added if (one := self._once(self.once, shard, now)) is not None]
        return Change(tuple(added), tuple(shard.path for shard in gone))

    def _once(self, newcomers: Newcomers, shard: Shard, now: Snapshot) -> Shard | None:
        """Return a shard without the ids that others have added meanwhile; None where none are left."""
        others = newcomers.among(shard, now)
        kept = without(self.folder, shard, newcomers.column, others, self.schema) if others else shard
        if kept is not None:
            newcomers.pass_over(kept)
        return kept
