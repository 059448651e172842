"""What a writer has gathered and not yet committed, and what it means for the table as it stands."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from featurestore.tables.entries import Shard
from featurestore.tables.log import Snapshot
from featurestore.tables.shards import Chunk, rewrite, write_chunks


class Change(NamedTuple):
    """What a log entry says: shards that come, and paths of shards that go."""

    added: tuple[Shard, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass
class Gathered:
    """Chunks to add, and the keys that stay."""

    folder: Path
    schema: pa.Schema
    keys: set[str] = field(default_factory=set)  # of the chunks to add
    _wanted: set[str] | None = None  # live keys that stay; None: all of them
    _chunks: dict[str, Chunk] = field(default_factory=dict)  # to be written
    _written: list[Shard] = field(default_factory=list)  # to be named by the log

    def add(self, key: str, chunk: Chunk) -> None:
        """Remember a chunk; `write` writes it."""
        self.keys.add(key)
        self._chunks[key] = chunk

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
        return Change(tuple(added), tuple(shard.path for shard in gone))
