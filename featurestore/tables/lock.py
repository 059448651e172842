"""One writer a table: an exclusive lock that dies with its holder and says who that is."""

import fcntl
import json
import os
import socket
import weakref
from datetime import UTC, datetime
from pathlib import Path

from core.atomic import read_only
from core.errors import StrataError


def lock_path(folder: Path) -> Path:
    """Return the lock of a table: beside its folder, so that it is no part of the table's contents."""
    return folder.parent / f".{folder.name}.lock"


class WriterLock:
    """The right to write one table's folder.

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
        os.ftruncate(handle, 0)
        os.pwrite(handle, _holder(self.operation), 0)
        self._handle = handle
        # A forked worker shares the open file, and would keep the lock when its parent is killed.
        os.register_at_fork(after_in_child=_Forget(self))

    def release(self) -> None:
        """Give the lock back; the empty file stays, since removing it would race with the next writer."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            self.close()

    def close(self) -> None:
        """Close this process's handle without touching the lock of others."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class _Forget:
    """Close the lock's handle in a forked child, without keeping the lock object alive."""

    def __init__(self, lock: WriterLock) -> None:
        self._lock = weakref.ref(lock)

    def __call__(self) -> None:
        lock = self._lock()
        if lock is not None:
            lock.close()


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
