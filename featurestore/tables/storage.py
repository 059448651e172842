"""Where files are put: the one seam between a table and what keeps its bytes.

A table needs little of its storage: put a file unless the name is taken, list, read, delete. `Local` is a
folder on this machine or on a network file system; `featurestore.tables.bucket` has the class of this form
for object stores, and `featurestore.tables.places` says which of them a path belongs to.
"""

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol, TypeVar

from core.atomic import (
    UNFINISHED,
    HashingFile,
    explained,
    failpoint,
    read_only,
    remove,
    sha256_file,
    sync_file,
    sync_folder,
    write_whole,
)
from core.errors import StrataError
from featurestore.tables.lock import WriterLock
from featurestore.tables.ranges import Ranges

# What a file system says that has no hard links, or no more of them for this file.
_NO_LINK = {
    errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EIO, errno.EXDEV,
    errno.EACCES, errno.EINVAL,
}  # fmt: skip
PATIENCE = 1.0  # seconds that a reader waits for the writer of an entry that looks torn
_CREATED, _END = b" ", b"\n"  # around what was created under its final name, and may therefore be torn

T = TypeVar("T")
R = TypeVar("R")


class Lock(Protocol):
    """The right to be the only one of those who ask for it."""

    def acquire(self) -> None:
        """Take it at once, or raise `StrataError` naming its holder."""

    def check(self) -> None:
        """Raise `StrataError` where it was taken and has been lost."""

    def release(self) -> None:
        """Give it back."""


class Storage(Protocol):
    """What a table asks of the place where it lies."""

    look_every: float  # seconds after which a writer looks at the logs of other tables again

    def put_if_absent(self, path: Path, content: bytes) -> bool:
        """Put a small file whole and flushed; False, and nothing changed, where the name is taken."""

    def put_hashed(self, folder: Path, write: Callable[[HashingFile], None], size: int) -> HashingFile:
        """Put a large file under the SHA-256 of its bytes, `<hash>.parquet`; an equal one is replaced."""

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, in no order; none where there is no such folder."""

    def read(self, path: Path) -> bytes:
        """Return a file's bytes; `FileNotFoundError` where there is none."""

    def delete(self, path: Path) -> None:
        """Delete a file that may be gone already."""

    def make_folder(self, folder: Path) -> None:
        """Make a folder and its parents, so that they survive a power cut."""

    def folders(self, folder: Path) -> list[str]:
        """Return the names of the folders in a folder, in no order; a local one may name files too."""

    def is_folder(self, folder: Path) -> bool:
        """Tell whether there is such a folder."""

    def exists(self, path: Path) -> bool:
        """Tell whether there is such a file."""

    def settled(self, path: Path, seconds: float | None = None) -> bytes:
        """Read a file; one that looks torn is given a moment, where files can be."""

    def replace(self, path: Path, content: bytes) -> None:
        """Put a small file whole, whether there is one or not."""

    def require_writable(self, folder: Path) -> None:
        """Raise `StrataError` where a folder that was made cannot be written."""

    def lock(self, folder: Path, operation: str) -> Lock:
        """Return the right to be alone in a table, not taken yet."""

    def size(self, path: Path) -> int:
        """Return a file's size in bytes; `FileNotFoundError` where there is none."""

    def sizes(self, folder: Path) -> Mapping[str, int] | None:
        """Return the sizes of all files of a folder by name; None where a look into each costs as little."""

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file's bytes, read now."""

    def modified(self, folder: Path) -> Mapping[str, float]:
        """Return when each file of a folder was written, by the storage's clock, in seconds since 1970."""

    def clock(self, folder: Path) -> float:
        """Return the present moment by the storage's clock."""

    def readable(self, path: Path) -> Path | Ranges:
        """Return what a shard is read from: a file of this machine, or one that is read by ranges."""

    def each(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Do the same with each of some things, in an order, and as many at a time, as suits the storage."""

    def keep_folder(self, folder: Path) -> None:
        """Keep a folder of files, a model, that was written whole under its path."""

    def fetch_folder(self, folder: Path, *, anew: bool = False) -> None:
        """Bring the files of a kept folder to where its path says; nothing, where none was kept."""


class Local:
    """A folder tree of this machine, or of a network file system that it has mounted."""

    look_every = 1.0

    def put_if_absent(self, path: Path, content: bytes) -> bool:
        """Write under a temporary name, flush, and hard-link to the final name.

        Where there are no hard links, the final name is created exclusively and written; such a file begins
        with a space, so that readers know that it may be torn (see `is_torn`). Raises `StrataError` for a
        full or read-only disk.
        """
        temporary = _temporary(path.parent, ".json")
        try:
            with writing(path, len(content)):
                with temporary.open("xb") as file:
                    _in_halves(file, content)
                failpoint("entry_flushed")
                try:
                    linked = self._link(temporary, path)
                except _NoLinksError:
                    linked = _create(path, content)
                if linked:
                    failpoint("entry_linked")
                    sync_folder(path.parent)
                return linked
        finally:
            with suppress(OSError):
                remove(temporary)

    @staticmethod
    def _link(temporary: Path, path: Path) -> bool:
        if not hasattr(os, "link"):
            raise _NoLinksError
        try:
            os.link(temporary, path)
        except OSError as error:
            # Over NFS a request is repeated when its answer is lost: the second one finds the name taken,
            # by ourselves. The file knows: it has two names then, and the other one is the final name.
            if _is_linked(temporary, path):
                return True
            if isinstance(error, FileExistsError):
                return False
            if error.errno in _NO_LINK:
                raise _NoLinksError from error
            raise
        return True

    def put_hashed(self, folder: Path, write: Callable[[HashingFile], None], size: int) -> HashingFile:
        """Write under a temporary name, flush, and rename to the hash.

        `size` is about how many bytes there are, for the error of a full disk. Renaming gives an equal
        file that lies there already a new age, so that no clean-up takes it.
        """
        temporary = _temporary(folder, ".parquet")
        try:
            with writing(folder, size):
                with temporary.open("xb") as file:
                    sink = HashingFile(file)
                    write(sink)
                    failpoint("shard_written")
                    sync_file(file)
                failpoint("shard_flushed")
                temporary.rename(folder / f"{sink.sha256}.parquet")
                failpoint("shard_renamed")
                sync_folder(folder)
        except BaseException:
            with suppress(OSError):
                remove(temporary)
            raise
        return sink

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder."""
        try:
            return [path.name for path in os.scandir(folder)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StrataError(f"{folder} cannot be listed ({error.strerror})") from error

    def read(self, path: Path) -> bytes:
        """Return a file's bytes."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StrataError(f"{path} cannot be read ({error.strerror})") from error

    def delete(self, path: Path) -> None:
        """Delete a file that may be gone already."""
        with writing(path, 0):
            remove(path)

    def make_folder(self, folder: Path) -> None:
        """Make a folder; the parent of each new one is flushed."""
        with writing(folder, 0):
            new = [place for place in (folder, *folder.parents) if not place.exists()]
            for place in reversed(new):
                place.mkdir(exist_ok=True)
                sync_folder(place.parent)

    def folders(self, folder: Path) -> list[str]:
        """Return the names in a folder."""
        return self.names(folder)

    def is_folder(self, folder: Path) -> bool:
        """Tell whether there is such a folder."""
        return folder.is_dir()

    def exists(self, path: Path) -> bool:
        """Tell whether there is such a file."""
        return path.exists()

    def settled(self, path: Path, seconds: float | None = None) -> bytes:
        """Read a file; one that looks torn is given a moment: its writer may be just writing it."""
        end = time.monotonic() + (PATIENCE if seconds is None else seconds)
        while True:
            content = self.read(path)
            if content.endswith(_END) or not is_torn(content) or time.monotonic() > end:
                return content
            time.sleep(0.02)

    def replace(self, path: Path, content: bytes) -> None:
        """Write a file beside, and rename it."""
        write_whole(path, content)

    def require_writable(self, folder: Path) -> None:
        """Ask the operating system."""
        if not os.access(folder, os.W_OK):
            raise read_only(folder, PermissionError(13, os.strerror(13)))

    def lock(self, folder: Path, operation: str) -> WriterLock:
        """Return the lock beside the table's folder."""
        return WriterLock(folder, operation)

    def size(self, path: Path) -> int:
        """Return a file's size."""
        return path.stat().st_size

    def sizes(self, folder: Path) -> None:  # noqa: ARG002 - as the form has it
        """Return None: files are opened, which says more."""
        return

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file's bytes, read now."""
        return sha256_file(path)

    def modified(self, folder: Path) -> dict[str, float]:
        """Return when each file of a folder was written, by its file system's clock."""
        found = {}
        for name in self.names(folder):
            with suppress(FileNotFoundError):
                found[name] = (folder / name).stat().st_mtime
        return found

    def clock(self, folder: Path) -> float:
        """Return the present moment as the file system of `folder` has it.

        A server's clock may differ from ours, and the ages of its files are by its own.
        """
        probe = _temporary(folder, ".clock")
        try:
            with writing(folder, 0):
                probe.touch()
                return probe.stat().st_mtime
        finally:
            with suppress(OSError):
                remove(probe)

    def readable(self, path: Path) -> Path:
        """Return the file itself."""
        return path

    def each(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Do the same with each, one after another."""
        return list(map(function, items))

    def keep_folder(self, folder: Path) -> None:
        """Do nothing: it lies where it was written."""

    def fetch_folder(self, folder: Path, *, anew: bool = False) -> None:
        """Do nothing: it lies where it is asked for."""


LOCAL = Local()


class _NoLinksError(Exception):
    """This file system gives no hard link."""


@contextmanager
def writing(path: Path, needed: int) -> Iterator[None]:
    """Turn every error of the operating system into one that names the file (see `core.atomic.explained`)."""
    try:
        with explained(path, needed):
            yield
    except OSError as error:
        raise StrataError(
            f"{path} cannot be written ({error.strerror or error}); what was committed before is kept"
        ) from error


def is_torn(content: bytes) -> bool:
    """Tell whether a file that cannot be read may be one whose writer was killed while it wrote.

    Only a file that was created under its final name can be; of one that was linked, every byte was flushed
    before it had its name, so that it is damaged, not torn. After a power cut a file may be empty or zeros.
    """
    return content.startswith(_CREATED) or not content.strip(b"\0")


def _temporary(folder: Path, suffix: str) -> Path:
    return folder / f"{UNFINISHED}{os.getpid()}-{secrets.token_hex(8)}{suffix}"


def _in_halves(file: IO[bytes], content: bytes) -> None:
    """Write in two steps, for the tests that kill a writer between them, and flush."""
    half = len(content) // 2
    file.write(content[:half])
    file.flush()
    failpoint("entry_partly_written")
    file.write(content[half:])
    sync_file(file)


def _is_linked(temporary: Path, path: Path) -> bool:
    try:
        mine, final = temporary.stat(), path.stat()
    except OSError:
        return False
    return mine.st_nlink > 1 and (mine.st_ino, mine.st_dev) == (final.st_ino, final.st_dev)


def _create(path: Path, content: bytes) -> bool:
    """Create the final name exclusively; it counts once all of it is there and it still has its name."""
    try:
        file = path.open("xb")
    except FileExistsError:
        return False
    with file:
        try:
            _in_halves(file, _CREATED + content + _END)
        except BaseException:
            with suppress(OSError):
                remove(path)
            raise
        mine = os.fstat(file.fileno())
    try:
        return os.path.samestat(mine, path.stat())
    except FileNotFoundError:  # somebody took it for one that a killed writer left
        return False
