"""A published file: how it is recognised, where it may lie here, and whether it is the right one."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from core.atomic import sha256_file
from core.errors import StrataError, check_name
from core.params import Section

RAW_VARIABLE = "STRATA_RAW"
CACHE_VARIABLE = "STRATA_CACHE"
LOCK = "SHA256SUMS"  # beside the files, in the format of sha256sum
_LOCK_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


class Source(Section):
    """A published file, and how it is recognised."""

    file: str = Field(min_length=1, description="name of the file, which leads nowhere else")
    url: str = Field(min_length=1)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$", description="of the published file")
    unverified: bool = Field(default=False, description="use a local file that no lock names")

    @field_validator("file")
    @classmethod
    def _is_a_name(cls, file: str) -> str:
        try:
            return check_name(file, "file")
        except StrataError as error:
            raise ValueError(str(error)) from None


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file that may be read, and what vouches for it: the lock beside it, the card, nothing, its user."""

    path: Path
    sha256: str
    vouched_for_by: Literal["lock", "card", "nothing", "user"]


class MissingFileError(StrataError):
    """A published file is nowhere on this machine."""


def cache_folder() -> Path:
    """The user's folder of downloaded files; not made here."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "strata"


def folders() -> Iterator[Path]:
    """Where published files are looked for: the folder that STRATA_RAW names, then the cache.

    Raises `StrataError` where STRATA_RAW names something else than a folder.
    """
    named = os.environ.get(RAW_VARIABLE)
    if named:
        folder = Path(named)
        if not folder.is_dir():
            raise StrataError(f"{RAW_VARIABLE} names {named}, which is not a folder")
        yield folder
    yield cache_folder()


def at_hand(source: Source) -> Path | None:
    """Where a source's file lies on this machine, unchecked; None where it does not."""
    return next((path for folder in folders() if (path := folder / source.file).is_file()), None)


def read_lock(folder: Path) -> dict[str, str]:
    """File name → SHA-256, as the folder's `SHA256SUMS` has them; empty where there is none."""
    path = folder / LOCK
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise StrataError(f"{path}: not UTF-8 at byte {error.start}; write it anew by sha256sum") from None
    lock: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = _LOCK_LINE.fullmatch(line.rstrip())
        if match is None:
            raise StrataError(f"{path}, line {number}: expected '<64 hex digits>  <file name>', got {line!r}")
        lock[match[2]] = match[1]
    return lock


def checked(path: Path, source: Source, card: str) -> RawFile:
    """Check the SHA-256 of a source's file: the lock beside it says which is right, without one the source.

    card: what the source stands on, for the message. Raises `StrataError` where the hash is another one
    (names both), and where nothing vouches for it.
    """
    actual = sha256_file(path)
    locked = read_lock(path.parent).get(source.file)
    expected = locked or source.sha256
    if actual == expected:
        return RawFile(path, actual, "lock" if locked else "card")
    if locked is None and source.unverified:
        return RawFile(path, actual, "nothing")
    record = f"record it: cd {path.parent} && sha256sum {source.file} >> {LOCK}"
    if expected is None:
        raise StrataError(f"{path}: nothing vouches for it (SHA-256 {actual}); if you trust it, {record}")
    expecting = path.parent / LOCK if locked else card
    raise StrataError(
        f"{path}: its SHA-256 is {actual}, but {expecting} expects {expected}; fetch it again or, if you "
        f"trust it, {record}"
    )
