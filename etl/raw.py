"""Raw files: where a card's published file lies on this machine, and whether it is the right one."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.errors import StrataError
from etl.cards import DatasetCard, Source

RAW_VARIABLE = "STRATA_RAW"
CACHE_VARIABLE = "STRATA_CACHE"
LOCK = "SHA256SUMS"  # beside the files, in the format of sha256sum
_LOCK_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file that may be read, and what vouches for it: the lock beside it, the card, nothing, its user."""

    path: Path
    sha256: str
    vouched_for_by: Literal["lock", "card", "nothing", "user"]


class MissingFileError(StrataError):
    """A published file is nowhere on this machine."""


def find(card: DatasetCard, source: Source | None = None) -> RawFile:
    """Find a file of a card, by default that of its own source, and check its SHA-256.

    Looked for in the folder that STRATA_RAW names, then in the cache (STRATA_CACHE, or
    ~/.cache/strata). A `SHA256SUMS` beside the file is its lock; without one the hash on the card is.

    Raises `StrataError`: the file is nowhere (`MissingFileError`: says where it was looked for and how to
    get it), its hash is another one (names both), or nothing vouches for it.
    """
    source = source or card.source
    if source is None:
        raise StrataError(f"dataset {card.name}: the card names no file; its provider needs none")
    folders = list(_folders())
    for folder in folders:
        path = folder / source.file
        if path.is_file():
            return _checked(path, card, source)
    looked = ", ".join(str(folder) for folder in folders)
    hint = "" if RAW_VARIABLE in os.environ else f" ({RAW_VARIABLE} is not set)"
    raise MissingFileError(
        f"dataset {card.name}: {source.file} is in none of: {looked}{hint}. `strata fetch {card.name}` "
        f"downloads {source.url}; or save it under that name in a folder and set {RAW_VARIABLE} to that "
        f"({card.licence})"
    )


def version_at_hand(card: DatasetCard) -> DatasetCard:
    """The card for the version whose file is on this machine, its own first; as it is where none is.

    For a dataset whose version nobody has chosen: a file that is there is used before one that would have
    to be downloaded. The version read is said on screen and kept in the store.
    """
    folders = list(_folders())
    for name in sorted(card.versions, key=lambda name: name != card.version):
        if any((folder / card.versions[name].file).is_file() for folder in folders):
            return card.of_version(name)
    return card


def own(path: Path) -> RawFile:
    """A user's own file or folder; its SHA-256 is over the names and hashes of the files in it."""
    if path.is_file():
        return RawFile(path, sha256_of(path), "user")
    if not path.is_dir():
        raise StrataError(f"{path.absolute()} does not exist; the card names it as the data's place")
    digest = hashlib.sha256()
    for item in sorted(path.iterdir()):
        if item.is_file() and not item.name.startswith("."):
            digest.update(f"{sha256_of(item)}  {item.name}\n".encode())
    return RawFile(path, digest.hexdigest(), "user")


def cache_folder() -> Path:
    """The user's folder of downloaded files; not made here."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "strata"


def read_lock(folder: Path) -> dict[str, str]:
    """File name → SHA-256, as the folder's `SHA256SUMS` has them; empty where there is none."""
    path = folder / LOCK
    if not path.is_file():
        return {}
    lock: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        match = _LOCK_LINE.fullmatch(line.rstrip())
        if match is None:
            raise StrataError(f"{path}, line {number}: expected '<64 hex digits>  <file name>', got {line!r}")
        lock[match[2]] = match[1]
    return lock


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _folders() -> Iterator[Path]:
    named = os.environ.get(RAW_VARIABLE)
    if named:
        folder = Path(named)
        if not folder.is_dir():
            raise StrataError(f"{RAW_VARIABLE} names {named}, which is not a folder")
        yield folder
    yield cache_folder()


def _checked(path: Path, card: DatasetCard, source: Source) -> RawFile:
    actual = sha256_of(path)
    locked = read_lock(path.parent).get(source.file)
    expected = locked or source.sha256
    if actual == expected:
        return RawFile(path, actual, "lock" if locked else "card")
    if locked is None and source.unverified:
        return RawFile(path, actual, "nothing")
    record = f"record it: cd {path.parent} && sha256sum {source.file} >> {LOCK}"
    if expected is None:
        raise StrataError(f"{path}: nothing vouches for it (SHA-256 {actual}); if you trust it, {record}")
    expecting = path.parent / LOCK if locked else f"the card of {card.name}"
    raise StrataError(
        f"{path}: its SHA-256 is {actual}, but {expecting} expects {expected}; fetch it again or, if you "
        f"trust it, {record}"
    )
