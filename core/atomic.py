"""Bytes that stay: files and folders whole or not at all, hashes on the way, signals held, failpoints."""

import errno
import hashlib
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

from core.errors import StrataError

UNFINISHED = ".tmp-"  # begins the name of what is being written
FAILPOINT = "STRATA_FAILPOINT"  # name of a step, or name:n for the n-th time it is reached
_reached: dict[str, int] = {}


def failpoint(name: str) -> None:
    """Kill this process here when the environment asks for it; the fault tests do, nobody else."""
    asked = os.environ.get(FAILPOINT)
    if asked is None:
        return
    step, _, count = asked.partition(":")
    if step == name:
        _reached[name] = _reached.get(name, 0) + 1
        if _reached[name] == int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)


class HashingFile:
    """A file opened for writing that hashes and counts what passes through.

    The hash is of the bytes that were meant, not of what a disk gives back.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._writes = 0
        self.bytes = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        """Write all of `data`."""
        view = memoryview(data)
        self._hash.update(view)
        self._file.write(view)
        self.bytes += view.nbytes
        self._writes += 1
        if self._writes == 2:
            failpoint("shard_partly_written")
        return view.nbytes

    def flush(self) -> None:
        """Hand what is buffered to the operating system."""
        self._file.flush()

    def tell(self) -> int:
        """Return the number of bytes written so far."""
        return self.bytes

    def writable(self) -> bool:
        """Return True: pyarrow asks before it writes."""
        return True

    def close(self) -> None:
        """Leave the underlying file open: its owner still has to sync it."""
        self.closed = True

    @property
    def sha256(self) -> str:
        """Return the hash of what was written, 64 hexadecimal digits."""
        return self._hash.hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, read now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_file(file: IO[bytes]) -> None:
    """Flush a file through to the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush a folder's own list of names, so that a rename or link in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what is written there becomes `path` when the block ends well.

    Its folder is made if missing. A reader sees the old file or the new one, flushed to the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{UNFINISHED}{os.getpid()}-{path.name}.part")  # no *.yaml
    try:
        yield temporary
        _sync_path(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        remove(temporary)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all (see `whole_file`); text as UTF-8."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; filled, it becomes `path` when the block ends well.

    A folder that is there is replaced. What a killed process leaves, `clear_unfinished` removes.
    """
    unfinished = path.with_name(f"{UNFINISHED}{path.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        for inside in unfinished.rglob("*"):
            sync_folder(inside) if inside.is_dir() else _sync_path(inside)
        sync_folder(unfinished)
        shutil.rmtree(path, ignore_errors=True)
        unfinished.rename(path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def clear_unfinished(folder: Path) -> None:
    """Remove the folders in `folder` that killed processes did not finish; for its only writer."""
    for path in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(path)


def _sync_path(path: Path) -> None:
    with path.open("rb+") as file:
        sync_file(file)


@contextmanager
def explained(path: Path, needed: int) -> Iterator[None]:
    """Turn a full disk or a refused write into an error that says where, and how much was needed."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise StrataError(
                f"{path}: no room left for about {needed:,} bytes ({error.strerror}); what was committed "
                "before is kept: make room and run again"
            ) from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise read_only(path, error) from error
        raise


def read_only(path: Path, error: OSError) -> StrataError:
    """Build the error for a store that cannot be written."""
    return StrataError(
        f"{path} cannot be written ({error.strerror}); the store is readable only: nothing was computed. "
        "Make it writable or work on a copy"
    )


@contextmanager
def signals_held() -> Iterator[None]:
    """Let a commit finish: SIGINT and SIGTERM that arrive inside are delivered at the end.

    Python runs signal handlers in the main thread only, so elsewhere there is nothing to hold back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if arrived:
            signal.raise_signal(arrived[0])


def remove(path: Path) -> None:
    """Delete a file that may be gone already."""
    with suppress(FileNotFoundError):
        path.unlink()
