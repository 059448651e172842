"""Published files as text: one JSON document inside a `.zip` or `.gz`, read in memory with limits."""

import gzip
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any, Protocol

from etl.errors import StrataError

MAX_MEMBERS = 64
MAX_BYTES = 8 * 2**30
MAX_RATIO = 200  # deflate reaches 1032; real JSON of structures stays below 20
_PIECE = 2**20


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_json(path: Path) -> Any:
    """Read the one JSON document that a `.json.zip`, `.json.gz` or `.json` file holds.

    Nothing is unpacked to disk. Raises `StrataError` naming the file, and the byte where the text is
    not UTF-8; for a zip whose members leave the folder, are links, or are too many, and for a file that
    unpacks to more than `MAX_BYTES` or to more than `MAX_RATIO` times its size.
    """
    data = read_document(path)
    try:
        return json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise StrataError(
            f"{path}: not UTF-8 at byte {error.start} (0x{data[error.start]:02x}); save the file as UTF-8"
        ) from None
    except json.JSONDecodeError as error:
        raise StrataError(f"{path}: not JSON: {error}; the file is damaged, fetch it again") from None


def read_document(path: Path) -> bytes:
    """The unpacked bytes of the one document in a file (see `read_json`)."""
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive, archive.open(_only_member(path, archive)) as stream:
                return _read_bounded(path, stream)
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            return _read_bounded(path, stream)
    except (zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise StrataError(f"{path}: damaged archive ({error}); fetch it again") from None
    except OSError as error:
        raise StrataError(f"{path} cannot be read: {error.strerror}") from None


def _only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise StrataError(
            f"{path}: {len(members)} members in the archive, at most {MAX_MEMBERS} are accepted"
        )
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        is_link = (member.external_attr >> 16) & 0o170000 == 0o120000
        if ".." in parts or parts[0] == "" or ":" in parts[0] or is_link:
            raise StrataError(f"{path}: refused, its member {member.filename!r} points outside the archive")
    documents = [member for member in members if member.filename.endswith(".json")]
    if len(documents) != 1:
        raise StrataError(f"{path}: expected one .json member, found {len(documents)}")
    return documents[0]


def _read_bounded(path: Path, stream: _Readable) -> bytes:
    limit = min(MAX_BYTES, MAX_RATIO * max(path.stat().st_size, 4096))
    pieces, size = [], 0
    while piece := stream.read(_PIECE):
        size += len(piece)
        if size > limit:
            raise StrataError(f"{path}: refused, it unpacks to more than {limit:,} bytes")
        pieces.append(piece)
    return b"".join(pieces)
