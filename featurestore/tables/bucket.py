"""An object store as the place of a store: S3's protocol, and whatever else `obstore` speaks.

A commit is a conditional put (`If-None-Match: *`), which one of many writers wins. Its answer may be lost,
and the client that repeats it meets its own object: so one that is there already is compared with what was
to be put. Equal bytes at a number are the same commit, whoever put them.
"""

import errno
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

from core.atomic import HashingFile, failpoint, remove, write_whole
from core.errors import StrataError
from core.lazy import need
from featurestore.tables.address import address, parts_of
from featurestore.tables.lease import Lease
from featurestore.tables.ranges import END, Piece, Ranges
from featurestore.tables.shard_cache import ShardCache, temporary_beside
from featurestore.tables.storage import writing

MARKER = ".table"  # in a folder that was made: an object store has none without something in it
LISTED = "SHA256SUMS"  # in a model's folder, the hashes of its other files
_TRIES = 4  # of a request, each with what the client repeats by itself
_RETRIES = 6  # of the client
_AT_ONCE = 16  # requests
_BLOCK = 8 << 20  # bytes of a shard that are fetched together

T = TypeVar("T")
R = TypeVar("R")


class Bucket:
    """A bucket; paths are those that stand for its objects (see `featurestore.tables.address`)."""

    look_every = 60.0  # seconds

    def __init__(self, scheme: str, name: str) -> None:
        self._obstore: Any = need("obstore", "bucket")
        self._errors: Any = need("obstore.exceptions", "bucket")
        self.address = f"{scheme}://{name}"
        self._client = _client(scheme, name)
        self._cache = ShardCache()
        self._sizes: dict[Path, int] = {}

    def put_if_absent(self, path: Path, content: bytes) -> bool:
        """Put an object in one request, if there is none; that counts which is there and equals it."""
        failpoint("entry_flushed")
        done = self.put_over(path, content, None) is not None
        if done:
            failpoint("entry_linked")
        return done or self._is(path, content)

    def put_over(self, path: Path, content: bytes, tag: str | None) -> str | None:
        """Put an object if the one there has this tag (None: if none is there); return its tag, or None."""
        mode = "create" if tag is None else {"e_tag": tag}

        def put() -> str | None:
            try:
                found = self._obstore.put(self._client, _key(path), content, mode=mode, use_multipart=False)
            except (self._errors.AlreadyExistsError, self._errors.PreconditionError):
                return None
            return str(found["e_tag"])

        return self._asked(path, put)

    def _is(self, path: Path, content: bytes) -> bool:
        try:
            return self.read(path) == content
        except FileNotFoundError:
            return False

    def replace(self, path: Path, content: bytes) -> None:
        """Put an object, whether there is one or not."""
        self._do("put", path, content)

    def put_hashed(self, folder: Path, write: Callable[[HashingFile], None], size: int) -> HashingFile:
        """Write a shard here, and put it under its hash; what was written becomes the copy in the cache."""
        real = Path(os.path.realpath(folder))
        with writing(real, size):
            real.mkdir(parents=True, exist_ok=True)
            temporary = temporary_beside(real / "shard")
            try:
                with temporary.open("xb") as file:
                    sink = HashingFile(file)
                    write(sink)
                failpoint("shard_written")
                path = folder / f"{sink.sha256}.parquet"
                self._do("put", path, temporary)
                failpoint("shard_renamed")
                self._cache.adopt(temporary, Path(os.path.realpath(path)), sink.bytes)
            finally:
                with suppress(OSError):
                    remove(temporary)
        return sink

    def names(self, folder: Path) -> list[str]:
        """Return the names of the objects of a folder, without those of folders in it."""
        return [name for name, _, _ in self._listed(folder)]

    def _listed(self, folder: Path) -> list[tuple[str, int, float]]:
        found = self._do("list_with_delimiter", folder)["objects"]
        return [
            (name, item["size"], item["last_modified"].timestamp())
            for item in found
            if (name := item["path"].rpartition("/")[2]) != MARKER
        ]

    def folders(self, folder: Path) -> list[str]:
        """Return the names of the folders in a folder."""
        found = self._do("list_with_delimiter", folder)
        return [path.rstrip("/").rpartition("/")[2] for path in found["common_prefixes"]]

    def is_folder(self, folder: Path) -> bool:
        """Tell whether there is an object in a folder."""
        prefix = _key(folder)
        return self._asked(folder, lambda: any(self._obstore.list(self._client, prefix, chunk_size=1)))

    def sizes(self, folder: Path) -> Mapping[str, int]:
        """Return the size of every object in a folder, by name."""
        return {name: size for name, size, _ in self._listed(folder)}

    def modified(self, folder: Path) -> dict[str, float]:
        """Return when each object of a folder was put, by the server's clock, in seconds since 1970."""
        return {name: at for name, _, at in self._listed(folder)}

    def clock(self, folder: Path) -> float:
        """Return the present moment by the server's clock."""
        probe = temporary_beside(folder / "clock")
        self.replace(probe, b"")
        try:
            return self.read_tagged(probe)[2]
        finally:
            self.delete(probe)

    def read(self, path: Path) -> bytes:
        """Return an object's bytes; `FileNotFoundError` where there is none."""
        return self.read_tagged(path)[0]

    def settled(self, path: Path, seconds: float | None = None) -> bytes:  # noqa: ARG002 - as the form has it
        """Return an object's bytes: it is there whole or not at all."""
        return self.read(path)

    def read_tagged(self, path: Path) -> tuple[bytes, str, float]:
        """Return an object's bytes, its tag, and when it was put, by the server's clock."""

        def get() -> tuple[bytes, str, float]:
            found = self._obstore.get(self._client, _key(path))
            return bytes(found.bytes()), str(found.meta["e_tag"]), found.meta["last_modified"].timestamp()

        return self._asked(path, get)

    def size(self, path: Path) -> int:
        """Return an object's size; `FileNotFoundError` where there is none."""
        return int(self._do("head", path)["size"])

    def exists(self, path: Path) -> bool:
        """Tell whether there is an object of this name."""
        try:
            self.size(path)
        except FileNotFoundError:
            return False
        return True

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 of an object's bytes, read now."""
        found = hashlib.sha256()
        for block in self._blocks(path):
            found.update(block)
        return found.hexdigest()

    def readable(self, path: Path) -> Path | Ranges:
        """Return the copy of a shard, which a small one gets now, or a file that is read by ranges."""
        real = Path(os.path.realpath(path))
        if self._cache.get(real):
            return real
        if real not in self._sizes:
            self._sizes[real] = self.size(path)
        if self._sizes[real] <= self._cache.whole:
            self._cache.put(real, self._blocks(path))
            return real
        return Ranges(partial(self._range, path), self._sizes[real], self._end(path, self._sizes[real]))

    def _blocks(self, path: Path) -> Iterable[bytes]:
        size = self.size(path)
        for start in range(0, size, _BLOCK):
            yield self._range(path, start, min(start + _BLOCK, size))

    @lru_cache(maxsize=256)  # noqa: B019 - there are few buckets, and they stay
    def _end(self, path: Path, size: int) -> Piece:
        """Return the end of a shard, which never changes, and is read whenever the shard is opened."""
        start = max(0, size - END)
        return Piece(start, memoryview(self._range(path, start, size)))

    def _range(self, path: Path, start: int, stop: int) -> bytes:
        return bytes(self._do("get_range", path, start=start, end=stop))

    def delete(self, path: Path) -> None:
        """Delete an object that may be gone already."""
        with suppress(FileNotFoundError):
            self._do("delete", path)
        remove(path)

    def make_folder(self, folder: Path) -> None:
        """Leave a mark, by which a table is there before its first commit; it asks for the right to write."""
        self.put_if_absent(folder / MARKER, b"")

    def require_writable(self, folder: Path) -> None:
        """Do nothing: `make_folder` has asked the server."""

    def lock(self, folder: Path, operation: str) -> Lease:
        """Return the right to be alone in a table, not taken yet."""
        return Lease(self, folder, operation)

    def each(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Do the same with many things, several at a time: what costs is the way to the server."""
        todo = list(items)
        if len(todo) < 2:
            return [function(item) for item in todo]
        with ThreadPoolExecutor(min(_AT_ONCE, len(todo))) as pool:
            return list(pool.map(function, todo))

    def keep_folder(self, folder: Path) -> None:
        """Put the files of a folder that was written here; the list of their hashes comes last."""
        files = sorted(
            (path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.name == LISTED
        )
        stale = {place for _, place in self._all(folder)} - set(files)
        for path in files:
            self._do("put", path, path)
        for path in stale:
            self._do("delete", path)

    def fetch_folder(self, folder: Path, *, anew: bool = False) -> None:
        """Bring the files of a folder here; one whose list of hashes is that of the server is here already.

        Whoever loads it compares its files with the list. `anew`: whatever is here, which is removed where
        the server has nothing.
        """
        here = folder / LISTED
        with suppress(FileNotFoundError):
            if not anew and here.is_file() and self.read(here) == here.read_bytes():
                return
        found = self._all(folder)
        for path in folder.rglob("*") if found or anew else ():
            if path.is_file() and path not in {place for _, place in found}:
                remove(path)
        for key, place in found:
            if not place.resolve().is_relative_to(folder.resolve()):
                raise StrataError(f"{self.address}/{key} would lie outside its folder")
            write_whole(place, self.read(place))

    def _all(self, folder: Path) -> list[tuple[str, Path]]:
        """Return the keys of all objects below a folder, and where their copies belong."""
        prefix = _key(folder)
        found = self._asked(folder, lambda: self._obstore.list(self._client, prefix).collect())
        return [(item["path"], folder / item["path"][len(prefix) + 1 :]) for item in found]

    def _do(self, name: str, path: Path, *arguments: Any, **options: Any) -> Any:
        """Ask for one thing with one object or folder."""
        call = getattr(self._obstore, name)
        return self._asked(path, lambda: call(self._client, _key(path), *arguments, **options))

    def _asked(self, path: Path, request: Callable[[], T]) -> T:
        """Ask, once more where it is not known what became of it, and say errors in words of our own."""
        for left in reversed(range(_TRIES)):
            try:
                return request()
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise self._no_bucket() from None
                if "NoSuchUpload" in str(error) and left:
                    continue  # the answer to the end of an upload in parts was lost: put once more
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), address(path)) from None
            except (self._errors.PermissionDeniedError, self._errors.UnauthenticatedError):
                raise self._refused(path) from None
            except (self._errors.BaseError, OSError) as error:
                if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
                    raise self._no_bucket() from None
                if "403 Forbidden" in str(error) or "401 Unauthorized" in str(error):
                    raise self._refused(path) from None
                if not left:
                    raise StrataError(f"{address(path)}: {_said(error)}") from None
                time.sleep(random.uniform(0.05, 0.4))  # noqa: S311 - so that clients fall apart
        raise AssertionError

    def _refused(self, path: Path) -> StrataError:
        return StrataError(
            f"{address(path)}: the object store refuses this (no permission). Keys are read from "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; they need the right to list, "
            "get, put and delete there"
        )

    def _no_bucket(self) -> StrataError:
        return StrataError(
            f"there is no bucket {self.address}; make it first, or correct the address (the endpoint is "
            f"{os.environ.get('AWS_ENDPOINT_URL', 'the default of AWS')})"
        )


def _key(path: Path) -> str:
    found = parts_of(path)
    if found is None:
        raise ValueError(f"{path} stands for no object")
    return found[2]


def _client(scheme: str, name: str) -> Any:
    stores: Any = need("obstore.store", "bucket")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL", ""))
    patient = {
        "max_retries": _RETRIES,
        "retry_timeout": timedelta(seconds=60),
        "backoff": {"init_backoff": timedelta(milliseconds=50), "max_backoff": timedelta(seconds=5)},
    }
    try:
        return stores.from_url(
            f"{scheme}://{name}",
            client_options={"allow_http": endpoint.startswith("http://")},
            retry_config=patient,
        )
    except Exception as error:  # noqa: BLE001 - the client's own, of many kinds: a setting that is none
        raise StrataError(f"{scheme}://{name} cannot be opened: {_said(error)}") from None


def _said(error: Exception) -> str:
    """Say what the client says, in one line, and without the debugging text."""
    text = str(error).partition("\n\nDebug source")[0].replace("\n", " ")
    if "169.254" in text or "redential" in text:
        return "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return f"the object store did not do what was asked ({text[:300]})"
