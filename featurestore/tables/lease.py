"""One at a time in an object store, which has no locks: a lease that its holder renews.

A lease is an object, put only where there is none or where the one that is there has not changed meanwhile.
It ends when its holder lets go, when it was not renewed for `TTL` seconds by the server's own clock, or at
once where its holder was a process of this machine that is gone. It does for its table what a lock does:
spares work that would be done twice. Commits do not lean on it: two who hold it still cannot take one number.
"""

import json
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from core.errors import StrataError
from featurestore.tables.address import address

TTL = 60.0  # seconds without renewal after which a lease has ended


class Leasing(Protocol):
    """What a lease asks of an object store."""

    def put_over(self, path: Path, content: bytes, tag: str | None) -> str | None:
        """Put an object if the one there has this tag (None: if none is there); None: it has not."""

    def read_tagged(self, path: Path) -> tuple[bytes, str, float]:
        """Return an object's bytes, its tag, and when it was put, by the server's clock."""

    def clock(self, folder: Path) -> float:
        """Return the present moment by the server's clock."""


class Lease:
    """The right to be the only one of those who ask for it."""

    def __init__(self, storage: Leasing, folder: Path, operation: str) -> None:
        self.folder = folder
        self._storage, self._path = storage, folder.parent / f".{folder.name}.lease"
        self._facts = {
            "token": secrets.token_hex(16),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "machine": _machine(),
            "operation": operation,
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._renewals = 0
        self._tag: str | None = None
        self._asked = self._until = 0.0  # by this process's clock: the last put, and when it runs out
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Take the lease, or raise `StrataError` naming its holder."""
        tag: str | None = None
        while not self._put(tag):
            try:
                content, tag, at = self._storage.read_tagged(self._path)
            except FileNotFoundError:
                tag = None
                continue
            holder = _read(content)
            if holder.get("token") == self._facts["token"]:  # the answer to our own put was lost
                self._is_ours(tag)
                break
            if not holder or _is_gone(holder):
                continue
            left = TTL - (self._storage.clock(self.folder.parent) - at)
            if left > 0:
                raise StrataError(
                    f"{address(self.folder)} is being written by process {holder.get('pid')} on "
                    f"{holder.get('host')} ({holder.get('operation')}, since {holder.get('since')}); wait "
                    f"for it to end, or stop it. If it was killed, its lease ends in {left:.0f} s"
                )
        self._stop.clear()
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise `StrataError` where the lease has been lost: this process stood still for too long."""
        if self._tag is not None and time.monotonic() > self._until:
            raise StrataError(
                f"{address(self.folder)}: the lease could not be renewed for {TTL:.0f} s, and another "
                "process may write now; what was committed is kept: run again"
            )

    def release(self) -> None:
        """Let go; what is left is an object that says so."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._tag is not None:
            tag, self._tag = self._tag, None
            with suppress(StrataError):  # it ends by itself
                self._storage.put_over(self._path, b"{}", tag)

    def _put(self, tag: str | None) -> bool:
        self._asked = time.monotonic()
        self._renewals += 1
        content = json.dumps({**self._facts, "renewals": self._renewals}).encode()
        found = self._storage.put_over(self._path, content, tag)
        if found is not None:
            self._is_ours(found)
        return found is not None

    def _is_ours(self, tag: str) -> None:
        self._tag, self._until = tag, self._asked + TTL

    def _renew(self) -> None:
        while not self._stop.wait(TTL / 4):
            with suppress(StrataError, FileNotFoundError):
                if self._put(self._tag):
                    continue
                content, tag, _ = self._storage.read_tagged(self._path)
                if _read(content).get("token") == self._facts["token"]:
                    self._is_ours(tag)
                else:
                    self._until = 0.0
                    return


def _read(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_gone(holder: dict[str, Any]) -> bool:
    """Tell whether the holder was a process of this machine that has ended."""
    pid = holder.get("pid")
    if not isinstance(pid, int) or pid < 1 or holder.get("machine") != _machine() or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _machine() -> str:
    """Name this machine since it started, and the space of process numbers; a text of one's own elsewhere."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{started}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return secrets.token_hex(16)
