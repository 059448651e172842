"""Downloads of published files, by rules of our own: what is in the cache is whole and known.

A file grows under a `.part` name. It gets its own name only when its length is what the server said, its
SHA-256 what the lock beside it or its `Source` expects, and, where neither knows it yet, when it is a
readable archive: then its SHA-256 is recorded in the lock, and enforced from then on.
"""

import fcntl
import json
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from core import archive
from core.atomic import sha256_file
from core.errors import StrataError, check_name
from core.lazy import need
from core.source import LOCK, RAW_VARIABLE, Source, read_lock

OFFLINE_VARIABLE = "STRATA_OFFLINE"  # set to anything: nothing is downloaded
_PIECE = 2**18
_FOR_BROWSERS = re.compile(r"https://(?:ndownloader\.figshare\.com|figshare\.com/ndownloader)/files/(\d+)")
_FOR_SCRIPTS = "https://api.figshare.com/v2/file/download/{}"

Progress = Callable[[str, int, int | None], None]  # file, bytes so far, bytes in all


@dataclass(frozen=True, slots=True)
class Rules:
    """How patient a download is, and what it never accepts. Times in seconds."""

    attempts: int = 5  # one request and its repetitions, which 5xx, time-outs and torn bodies get
    backoff: float = 1.0  # wait before the first repetition; doubled for each further one
    longest_wait: float = 30.0
    connect: float = 10.0
    read: float = 60.0  # without a byte
    slowest: int = 1024  # bytes that must come within every `read` seconds
    max_bytes: int = archive.MAX_BYTES
    redirects: int = 5
    check: Callable[[Path, str], None] = archive.check  # reads what nothing vouches for, by kind of file


class _TryAgainError(Exception):
    """The server may well do better next time."""


class _ElsewhereError(Exception):
    """The server answers people only; the same file has another address."""


def fetch(
    source: Source, folder: Path, rules: Rules | None = None, progress: Progress | None = None
) -> tuple[Path, str]:
    """Download a published file into a folder; returns its path and SHA-256. Whole files are kept as is.

    Expected is the SHA-256 in the folder's `SHA256SUMS`, else the one on the card; where there is none,
    what came is checked to be a readable archive and recorded there. A torn download is continued where
    the server allows it. 4xx answers are never repeated; 5xx, time-outs, torn bodies and empty answers
    are, a bounded number of times.

    Raises `StrataError` naming the URL: what the server answered, both hashes where they differ (the file
    is removed), another process that is downloading it.
    """
    pooch = need("pooch", "data")
    rules = rules or Rules()
    target = folder / check_name(source.file, "file")
    if not source.url.startswith(("https://", "http://")):
        raise StrataError(f"{source.file}: {source.url} is no http(s) address")
    folder.mkdir(parents=True, exist_ok=True)
    locked = read_lock(folder).get(source.file)
    expected = locked or source.sha256
    with _alone(target), _quiet(pooch):
        downloader = _Downloader(rules, target.with_name(f"{source.file}.part"), expected is None, progress)
        try:
            pooch.retrieve(
                source.url,
                known_hash=f"sha256:{expected}" if expected else None,
                fname=source.file,
                path=folder,
                downloader=downloader,
            )
        except ValueError:  # how pooch says that the hash is another one; it has removed the file
            where = folder / LOCK if locked else "the card"
            raise StrataError(
                f"{source.url}: what came has the SHA-256 {downloader.sha256}, but {where} expects "
                f"{expected}; it was removed. If the publisher replaced the file, its new hash belongs there"
            ) from None
        sha256 = sha256_file(target)
        if locked is None:
            with (folder / LOCK).open("a", encoding="utf-8") as lock:
                lock.write(f"{sha256}  {source.file}\n")
    return target, sha256


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Hold the right to download one file; the lock ends with the process."""
    place = target.with_name(f".{target.name}.lock")
    with place.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            there = place.exists() and place.stat().st_ino == os.fstat(handle.fileno()).st_ino
        except BlockingIOError:
            there = False
        if not there:  # held by another process, or taken away by one that has just ended
            raise StrataError(f"{target}: another process is downloading it; wait for that one")
        try:
            yield
        finally:
            place.unlink(missing_ok=True)


@contextmanager
def _quiet(pooch: Any) -> Iterator[None]:
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


class _Downloader:
    """What pooch calls to fill its temporary file; the bytes are gathered in `part` before."""

    def __init__(self, rules: Rules, part: Path, check: bool, progress: Progress | None) -> None:
        self.rules, self.part, self.check, self.progress = rules, part, check, progress
        self.notes = part.with_name(f"{part.name}.json")  # what the torn file is a part of
        self.sha256 = ""
        self.others: list[str] = []  # further addresses of the file

    def __call__(self, url: str, output: str, _pooch: object) -> None:
        self.others = other_addresses(url)
        self._attempt(url)
        if self.check:
            self._check_content(url)
        self.sha256 = sha256_file(self.part)
        self.part.replace(output)
        self.notes.unlink(missing_ok=True)

    def _attempt(self, url: str) -> None:
        """Ask an address as often as the rules say, and then the next one that the file has, if any."""
        for attempt in range(self.rules.attempts):
            if attempt:
                time.sleep(min(self.rules.backoff * 2 ** (attempt - 1), self.rules.longest_wait))
            try:
                self._request(url)
            except _ElsewhereError:
                break
            except _TryAgainError as error:
                reason = str(error)
            else:
                return
        if self.others:
            self._attempt(self.others.pop(0))
            return
        kept = f"; {self.part} is kept, to go on from" if self._size() else ""
        raise StrataError(f"{url}: {reason} ({self.rules.attempts} attempts){kept}")

    def _request(self, url: str) -> None:
        requests, urllib3 = need("requests", "data"), need("urllib3", "data")
        headers = {"Accept-Encoding": "identity", "User-Agent": "strata"} | self._resume(url)
        with requests.Session() as session:
            session.max_redirects = self.rules.redirects
            session.hooks["response"].append(_refuse_inward)
            try:
                with session.get(
                    url, headers=headers, stream=True, timeout=(self.rules.connect, self.rules.read)
                ) as answer:
                    self._receive(url, answer)
            except (requests.exceptions.TooManyRedirects, requests.exceptions.SSLError) as error:
                raise StrataError(f"{url}: {error}") from None
            except (requests.exceptions.Timeout, urllib3.exceptions.ReadTimeoutError):
                raise _TryAgainError("the server did not answer in time") from None
            except (requests.exceptions.ConnectionError, urllib3.exceptions.ProtocolError) as error:
                raise _TryAgainError(f"the connection failed: {error}") from None
            except requests.exceptions.ChunkedEncodingError as error:
                raise _TryAgainError(f"the answer was torn: {error}") from None
            except requests.exceptions.RequestException as error:
                raise StrataError(f"{url}: {error}") from None

    def _resume(self, url: str) -> dict[str, str]:
        """Headers that ask for the rest, where it is known what the torn file is a part of."""
        try:
            notes = json.loads(self.notes.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            notes = {}
        if self._size() and notes.get("url") == url and notes.get("validator"):
            return {"Range": f"bytes={self._size()}-", "If-Range": notes["validator"]}
        self._forget()
        return {}

    def _receive(self, url: str, answer: Any) -> None:
        status, headers = answer.status_code, answer.headers
        if url.startswith("https://") and not answer.url.startswith("https://"):
            raise StrataError(f"{url}: leads to {answer.url}, which is not encrypted")
        page = headers.get("Content-Type", "").startswith("text/html")
        if self.others and (status in (202, 403) or page):
            raise _ElsewhereError
        if status == 416:  # the part is no part of what the server has now
            self._forget()
            raise _TryAgainError("the file on the server has changed")
        if status >= 500 or status == 202:
            raise _TryAgainError(f"the server answered {status} {answer.reason}")
        if status not in (200, 206):
            raise StrataError(
                f"{url}: the server answered {status} {answer.reason}; nothing was kept. Open the address "
                f"in a browser, save the file and name its folder in {RAW_VARIABLE}"
            )
        if headers.get("Content-Encoding", "identity") != "identity":
            raise StrataError(f"{url}: the server recodes the file as {headers['Content-Encoding']}")
        start = self._size() if status == 206 else 0
        if status == 206 and not headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            self._forget()
            raise _TryAgainError("the server gave another range than was asked for")
        length = _number(headers.get("Content-Length"))
        total = None if length is None else start + length
        if total is not None and total > self.rules.max_bytes:
            raise StrataError(f"{url}: {total:,} bytes, at most {self.rules.max_bytes:,} are accepted")
        validator = _strong(headers.get("ETag")) or headers.get("Last-Modified")
        self.notes.write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")
        size = self._write(url, answer, start, total)
        if size == 0:
            raise _TryAgainError("the answer was empty")
        if total is not None and size < total:
            raise _TryAgainError(f"{size:,} of {total:,} bytes came")

    def _write(self, url: str, answer: Any, start: int, total: int | None) -> int:
        """Append what comes; returns the size of the part."""
        size, last, since = start, start, time.monotonic()
        with self.part.open("r+b" if start else "wb") as stream:
            stream.seek(start)
            for piece in _pieces(answer.raw):
                stream.write(piece)
                size += len(piece)
                if size > self.rules.max_bytes or (total is not None and size > total):
                    self._forget()
                    raise StrataError(f"{url}: more bytes came than were announced or are accepted")
                if self.progress:
                    self.progress(self.part.name.removesuffix(".part"), size, total)
                if time.monotonic() - since > self.rules.read:
                    if size - last < self.rules.slowest:
                        raise _TryAgainError("the server sends too slowly")
                    last, since = size, time.monotonic()
            stream.flush()
            os.fsync(stream.fileno())
        return size

    def _check_content(self, url: str) -> None:
        kind = Path(self.part.name.removesuffix(".part")).suffix
        try:
            self.rules.check(self.part, kind)
        except StrataError as error:
            with self.part.open("rb") as stream:
                beginning = stream.read(40)
            self._forget()
            raise StrataError(
                f"{url}: what came is no readable {kind} file and was removed; it begins with {beginning!r} "
                f"({error})"
            ) from None

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)


def _refuse_inward(answer: Any, **_settings: Any) -> None:
    """Raise for a redirect from a public address to this machine or its network."""
    if not answer.is_redirect:
        return
    target = urljoin(answer.url, answer.headers["Location"])
    if _is_inward(target) and not _is_inward(answer.url):
        raise StrataError(f"{answer.url}: leads to {target}, which lies on this machine or in its network")


def _is_inward(url: str) -> bool:
    """Tell whether a host is this machine or lies in a private network; a name is looked up.

    >>> _is_inward("http://127.0.0.1:80/x"), _is_inward("http://[::1]/"), _is_inward("http://8.8.8.8/")
    (True, True, False)
    """
    try:
        found = socket.getaddrinfo(urlsplit(url).hostname, None)
    except (OSError, UnicodeError):
        return False  # the request itself says that there is no such host
    return any(not ip_address(str(row[4][0]).partition("%")[0]).is_global for row in found)


def _pieces(body: Any) -> Iterator[bytes]:
    """What comes, as it comes: a slow server is seen to be slow, and little is lost when it goes away."""
    if body.chunked:
        yield from body.stream(_PIECE, decode_content=False)
        return
    while piece := body.read1(_PIECE, decode_content=False):
        yield piece


def other_addresses(url: str) -> list[str]:
    """Return where else a file can be had: figshare's door for browsers turns scripts away.

    >>> other_addresses("https://ndownloader.figshare.com/files/40357663")
    ['https://api.figshare.com/v2/file/download/40357663']
    >>> other_addresses("https://example.org/files/1")
    []
    """
    found = _FOR_BROWSERS.fullmatch(url)
    return [_FOR_SCRIPTS.format(found[1])] if found else []


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _strong(etag: str | None) -> str | None:
    """An ETag that stands for the very bytes: a weak one does not."""
    return None if etag is None or etag.startswith("W/") else etag
