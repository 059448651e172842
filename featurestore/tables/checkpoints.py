"""Checkpoints of a log: what the table is after an entry, so that not every entry has to be read.

A checkpoint is derived. One that is damaged or missing costs time and nothing else: the entries, which are
all kept, say the same.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from core.errors import StrataError
from featurestore.tables.entries import (
    FORMAT,
    NewerFormatError,
    Shard,
    check_format,
    sealed,
    shard_of,
    unsealed,
)
from featurestore.tables.places import storage_of

EVERY = 64  # entries
_NAME = re.compile(r"(\d{8})\.checkpoint\.json")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A table after entry `version`; without arguments, the empty table before any.

    Every transaction up to that entry is decided: complete, or void and left out.
    """

    version: int = 0
    seen: int = 0
    shards: tuple[Shard, ...] = ()


def checkpoint_path(log: Path, version: int) -> Path:
    """Return where the checkpoint after entry `version` lies; `log` is the folder of entries."""
    return log / f"{version:08d}.checkpoint.json"


def checkpoint_numbers(names: Iterable[str]) -> list[int]:
    """Return the numbers of the checkpoints among the names in a log, newest first."""
    return sorted((int(match[1]) for name in names if (match := _NAME.fullmatch(name))), reverse=True)


def newest_checkpoint(log: Path, numbers: Sequence[int]) -> Checkpoint:
    """Read the newest checkpoint that is sound; the empty table where there is none."""
    for number in numbers:
        try:
            return read_checkpoint(log, number)
        except NewerFormatError:
            raise
        except (StrataError, FileNotFoundError):
            continue  # an older one, or the entries themselves, say the same
    return Checkpoint()


def read_checkpoint(log: Path, number: int) -> Checkpoint:
    """Read a checkpoint, checking its hash; raises `StrataError` naming the file."""
    path = checkpoint_path(log, number)
    content = storage_of(path).read(path)
    try:
        body = unsealed("checkpoint", content)
        check_format(body.pop("format"))
        if body["version"] != number:
            raise ValueError(f"it says that it is of entry {body['version']}")
        return Checkpoint(body["version"], body["seen"], tuple(map(shard_of, body["shards"])))
    except NewerFormatError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StrataError(f"{path}: this checkpoint is corrupt ({error}); it may be deleted") from error


def write_checkpoint(log: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, and remove those before the last two, which nobody opens any more."""
    body = {"format": FORMAT, **asdict(checkpoint)}
    storage = storage_of(log)
    storage.put_if_absent(checkpoint_path(log, checkpoint.version), sealed("checkpoint", body))
    for number in checkpoint_numbers(storage.names(log))[2:]:
        storage.delete(checkpoint_path(log, number))
