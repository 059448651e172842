"""Published files as text: one JSON document inside a `.zip` or `.gz`, read in memory with limits."""

import gzip
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from core.errors import StrataError

MAX_MEMBERS = 64
MAX_BYTES = 8 * 2**30
MAX_RATIO = 200  # deflate reaches 1032; real JSON of structures stays below 20
_PIECE = 2**20
_DAMAGED = (zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError)
_SPACE = re.compile(r"[ \t\n\r]*")  # what JSON calls white space


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_json(path: Path) -> Any:
    """Read the one JSON document that a `.json.zip`, `.json.gz` or `.json` file holds.

    Nothing is unpacked to disk. Raises `StrataError` naming the file, and the byte where the text is
    not UTF-8; for a zip whose members leave the folder, are links, or are too many, and for a file that
    unpacks to more than `MAX_BYTES` or to more than `MAX_RATIO` times its size.
    """
    try:
        return json.loads(_text(path, read_document(path)))
    except (ValueError, RecursionError) as error:
        raise _not_json(path, error) from None


def read_records(path: Path) -> Iterator[Any]:
    """Yield the items of the one JSON list that a file holds, without holding all of them at once.

    Reads the file as `read_json` does, with its errors; raises `StrataError` too for another document
    than a list.
    """
    text = _text(path, read_document(path))
    decoder = json.JSONDecoder()
    position = _SPACE.match(text).end()  # type: ignore[union-attr]  # it matches nothing, too
    if text[position : position + 1] != "[":
        found = type(read_json(path)).__name__
        raise StrataError(f"{path}: expected a JSON list of records, got {found}")
    position = _SPACE.match(text, position + 1).end()  # type: ignore[union-attr]
    if text[position : position + 1] == "]":
        return
    while True:
        try:
            item, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise _not_json(path, error) from None
        yield item
        position = _SPACE.match(text, position).end()  # type: ignore[union-attr]
        if text[position : position + 1] == "]":
            return
        if text[position : position + 1] != ",":
            raise _not_json(path, json.JSONDecodeError("Expecting ',' delimiter", text, position))
        position = _SPACE.match(text, position + 1).end()  # type: ignore[union-attr]


def read_document(path: Path) -> bytes:
    """The unpacked bytes of the one document in a file (see `read_json`)."""
    return b"".join(_pieces(path, path.suffix))


def check(path: Path, kind: str) -> None:
    """Read a file of the kind `.zip`, `.gz` or `.json` to its end, keeping nothing.

    Raises `StrataError` as `read_json` does, for an archive and for a document that begins unlike JSON.
    """
    beginning = b""
    for piece in _pieces(path, kind):
        if not beginning:
            beginning = piece.lstrip()[:1]
    if beginning not in (b"[", b"{"):
        raise StrataError(f"{path}: its document begins with {beginning!r}, unlike a JSON list or mapping")


def _pieces(path: Path, kind: str) -> Iterator[bytes]:
    try:
        if kind == ".zip":
            with zipfile.ZipFile(path) as archive, archive.open(_only_member(path, archive)) as stream:
                yield from _bounded(path, stream)
        else:
            with gzip.open(path) if kind == ".gz" else path.open("rb") as stream:
                yield from _bounded(path, stream)
    except _DAMAGED as error:
        raise StrataError(f"{path}: damaged archive ({error}); fetch it again") from None
    except (OSError, NotImplementedError, RuntimeError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> StrataError:
    """Build the error for a file that is refused, or a zip whose member is encrypted or packed otherwise."""
    return StrataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}")


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StrataError(
            f"{path}: not UTF-8 at byte {error.start} (0x{data[error.start]:02x}); save the file as UTF-8"
        ) from None


def _not_json(path: Path, error: Exception) -> StrataError:
    what = "nested too deeply" if isinstance(error, RecursionError) else error
    return StrataError(f"{path}: not JSON: {what}; the file is damaged, fetch it again")


def read_members(
    path: Path,
    wanted: Callable[[str], bool],
    max_bytes: int | None = None,
    *,
    by_path: bool = False,
    max_members: int = MAX_MEMBERS,
) -> dict[str, bytes]:
    """Read the members of a zip whose base name is wanted, by base name, within the limits of `read_json`.

    by_path: names are whole paths in the zip. Nothing is unpacked to disk. Raises `StrataError` as
    `read_json` does, for members that unpack to more than `max_bytes` together, and for two of one name.
    """
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in _members(path, archive, max_members):
                name = member.filename if by_path else member.filename.rpartition("/")[2]
                if not wanted(name):
                    continue
                if name in found:
                    raise StrataError(f"{path}: two members are named {name}")
                left = (MAX_BYTES if max_bytes is None else max_bytes) - sum(map(len, found.values()))
                with archive.open(member) as stream:
                    found[name] = b"".join(_bounded(path, stream, left))
    except _DAMAGED as error:
        raise StrataError(f"{path}: damaged archive ({error}); fetch it again") from None
    except (OSError, NotImplementedError, RuntimeError) as error:
        raise _unreadable(path, error) from None
    return found


def unpack(
    path: Path, folder: Path, named: Callable[[list[str]], dict[str, str]], max_bytes: int, max_members: int
) -> None:
    """Write the files of a zip into a folder, piece by piece, within the limits of `read_json`.

    named: given the paths of all files in the zip, returns the path in the folder for each, or raises for a
    zip that holds others than it should. Raises `StrataError` as `read_members` does.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in _members(path, archive, max_members) if not one.is_dir()]
            names = [member.filename for member in members]
            for name in names:
                if names.count(name) > 1:
                    raise StrataError(f"{path}: two members are named {name}")
            places, left = named(names), max_bytes
            for member in members:
                target = folder / places[member.filename]
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as stream, target.open("xb") as file:
                    for piece in _bounded(path, stream, left):
                        left -= len(piece)
                        file.write(piece)
    except _DAMAGED as error:
        raise StrataError(f"{path}: damaged archive ({error}); fetch it again") from None
    except (OSError, NotImplementedError, RuntimeError) as error:
        raise _unreadable(path, error) from None


def _members(path: Path, archive: zipfile.ZipFile, most: int = MAX_MEMBERS) -> list[zipfile.ZipInfo]:
    """The members of a zip; raises for too many, and for one that would leave the folder."""
    members = archive.infolist()
    if len(members) > most:
        raise StrataError(f"{path}: {len(members)} members in the archive, at most {most} are accepted")
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        is_link = (member.external_attr >> 16) & 0o170000 == 0o120000
        if ".." in parts or parts[0] == "" or ":" in parts[0] or is_link:
            raise StrataError(f"{path}: refused, its member {member.filename!r} points outside the archive")
    return members


def _only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    documents = [member for member in _members(path, archive) if member.filename.endswith(".json")]
    if len(documents) != 1:
        raise StrataError(f"{path}: expected one .json member, found {len(documents)}")
    return documents[0]


def _bounded(path: Path, stream: _Readable, max_bytes: int | None = None) -> Iterator[bytes]:
    limit = min(MAX_BYTES if max_bytes is None else max_bytes, MAX_RATIO * max(path.stat().st_size, 4096))
    size = 0
    while piece := stream.read(_PIECE):
        size += len(piece)
        if size > limit:
            raise StrataError(f"{path}: refused, it unpacks to more than {limit:,} bytes")
        yield piece
