"""Copies of shards on this machine, found by their hash, checked by it, and fewer than a bound in all.

A copy lies where its shard's path says (see `featurestore.tables.address`). It is written under a temporary
name, compared with the hash that is its name, and renamed, so that any number of processes may share the
folder; one that was cut or changed since is fetched again. What was used longest ago makes room.
"""

import hashlib
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from core.atomic import UNFINISHED, remove, sha256_file
from core.errors import StrataError
from featurestore.tables.address import address, folder_of_all
from featurestore.tables.entries import SHARD
from featurestore.tables.storage import writing

BYTES_VARIABLE = "STRATA_BUCKET_CACHE"  # bytes of all copies together
WHOLE_VARIABLE = "STRATA_BUCKET_WHOLE"  # bytes up to which a shard is copied whole; larger: read by ranges
_MOST_BYTES, _WHOLE = 20 << 30, 16 << 20
_BETWEEN = 16  # looks at the size of all copies while they double


class ShardCache:
    """The copies of all buckets' shards."""

    def __init__(self) -> None:
        self.most = _bytes(BYTES_VARIABLE, _MOST_BYTES)
        self.whole = _bytes(WHOLE_VARIABLE, _WHOLE)
        self._sound: dict[Path, tuple[int, int]] = {}  # copies that this process has compared with their hash
        self._since = self.most  # bytes that came since their size was looked at

    def get(self, path: Path) -> bool:
        """Tell whether a sound copy is there; one that is not sound is removed."""
        try:
            facts = path.stat()
            known = (facts.st_mtime_ns, facts.st_size)
            if self._sound.get(path) != known:
                if sha256_file(path) != path.stem:
                    remove(path)
                    return False
                os.utime(path)  # what was used last goes last
                self._keep(path)
        except OSError:
            return False
        return True

    def put(self, path: Path, content: Iterable[bytes]) -> None:
        """Keep what was fetched; raises `StrataError` where it is not what its name says."""
        digest, size = hashlib.sha256(), 0
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_beside(path)
        try:
            with writing(path, 0), temporary.open("xb") as file:
                for block in content:
                    digest.update(block)
                    size += len(block)
                    file.write(block)
            if digest.hexdigest() != path.stem:
                raise StrataError(
                    f"{address(path)}: its bytes have SHA-256 {digest.hexdigest()}, and its name is its "
                    "hash: the shard is corrupt; see: strata store verify"
                )
            self.adopt(temporary, path, size)
        finally:
            with suppress(OSError):
                remove(temporary)

    def adopt(self, temporary: Path, path: Path, size: int) -> None:
        """Take a file whose bytes have been hashed for the copy of a shard."""
        temporary.replace(path)
        self._keep(path)
        self._since += size
        if self._since >= self.most // _BETWEEN:
            self._make_room(path)

    def _keep(self, path: Path) -> None:
        facts = path.stat()
        self._sound[path] = facts.st_mtime_ns, facts.st_size

    def _make_room(self, newest: Path) -> None:
        self._since = 0
        files = []
        for folder, _, names in os.walk(folder_of_all()):
            for name in filter(SHARD.fullmatch, names):
                with suppress(OSError):
                    path = Path(folder, name)
                    facts = path.stat()
                    files.append((facts.st_mtime, facts.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self.most:
                break
            if path != newest:
                with suppress(OSError):
                    remove(path)
                    total -= size


def temporary_beside(path: Path) -> Path:
    """Return an unused name in the folder of `path`."""
    return path.with_name(f"{UNFINISHED}{os.getpid()}-{secrets.token_hex(8)}")


def _bytes(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    if text and not (text.isdecimal() and len(text) < 19):
        raise StrataError(f"{variable} is {text[:40]!r}: a number of bytes is expected, such as {default}")
    return int(text) if text else default
