"""One at a time: an exclusive lock that dies with its holder and says who that is.

Writers that only add need none (see `featurestore.tables.writer`). Clean-up takes it, and so do the stages
whose work is not made for two at once.
"""

import fcntl
import json
import os
import socket
import weakref
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from core.atomic import read_only
from core.errors import StrataError

_held: "weakref.WeakSet[WriterLock]" = weakref.WeakSet()


def lock_path(folder: Path) -> Path:
    """Return the lock of a table: beside its real folder, which several links may lead to."""
    real = folder.resolve()
    return real.parent / f".{real.name}.lock"


class WriterLock:
    """The right to be the only one of those who ask for it.

    The operating system drops the lock when the process ends, however it ends, so there is no
    stale lock to remove by hand. What the file says about its holder is for people only.
    """

    def __init__(self, folder: Path, operation: str) -> None:
        self.folder = folder
        self.operation = operation
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock at once, or raise `StrataError` naming its holder."""
        path = lock_path(self.folder)
        while self._handle is None:
            handle = self._open(path)
            if _is_still(handle, path):  # else the file was removed meanwhile, and another one is the lock
                self._handle = handle
            else:
                os.close(handle)
        with suppress(OSError):  # on a full disk; what the file says is for people only
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, _holder(self.operation), 0)
        _held.add(self)

    def _open(self, path: Path) -> int:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise read_only(path, error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _describe(os.read(handle, 4096))
            os.close(handle)
            raise StrataError(
                f"{self.folder} is being written by {holder}; wait for it to end, or stop it, and run again"
            ) from None
        except OSError as error:
            os.close(handle)
            raise StrataError(
                f"{path} cannot be locked ({error.strerror}): this file system has no locks, so this cannot "
                "be done here; work on a copy elsewhere"
            ) from error
        return handle

    def check(self) -> None:
        """Do nothing: the operating system takes no lock away."""

    def release(self) -> None:
        """Give the lock back; the empty file stays, since removing it would race with the next holder."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            self.close()

    def close(self) -> None:
        """Close this process's handle without touching the lock of others."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        _held.discard(self)


def _forget() -> None:
    """Close all locks' handles in a forked worker: it shares the open files, and would keep the locks."""
    for lock in list(_held):
        lock.close()


os.register_at_fork(after_in_child=_forget)


def _is_still(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _holder(operation: str) -> bytes:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    facts = {"pid": os.getpid(), "host": socket.gethostname(), "operation": operation, "since": since}
    return json.dumps(facts).encode()


def _describe(raw: bytes) -> str:
    try:
        facts = json.loads(raw)
        return f"process {facts['pid']} on {facts['host']} ({facts['operation']}, since {facts['since']})"
    except (ValueError, KeyError, TypeError):
        return "another process, which has not written its name yet"
