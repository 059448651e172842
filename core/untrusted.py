"""Files that somebody sent: looked into before their readers are, which size or depth could lead astray."""

import json
import math
import os
import stat
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from core.errors import StrataError

MAX_HEADER = 4 * 2**20  # bytes of the header of a safetensors file
MAX_RATIO = 200  # of a zip, as core.archive has it


def plain_files(folder: Path, most: int, max_bytes: int, beside: Collection[str] = ()) -> dict[str, int]:
    """Return the size of every file below a folder, by its path in it; beside: names at its top to pass over.

    Raises `StrataError` for a link, for what is no regular file, for more than `most` files, and for more
    than `max_bytes` together.
    """
    found: dict[str, int] = {}
    waiting = [(folder, "")]
    while waiting:
        place, before = waiting.pop()
        try:
            entries = sorted(os.scandir(place), key=lambda one: one.name)
        except OSError as error:
            raise StrataError(f"{place} cannot be read ({error.strerror})") from None
        for entry in entries:
            name = f"{before}{entry.name}"
            if not before and entry.name in beside:
                continue
            facts = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(facts.st_mode):
                waiting.append((place / entry.name, f"{name}/"))
            elif stat.S_ISREG(facts.st_mode):
                found[name] = facts.st_size
            else:
                raise StrataError(f"{folder / name} is a link or no regular file; neither is read")
            if len(found) + len(waiting) > most:
                raise StrataError(f"{folder}: more than {most} files, which is too many")
    if sum(found.values()) > max_bytes:
        raise StrataError(f"{folder}: {sum(found.values()):,} bytes, at most {max_bytes:,} are read")
    return found


def read_json(path: Path, *, finite: bool = True) -> Any:
    """Read a JSON file; raises `StrataError` for a key twice, deep nesting and, where `finite`, NaN."""
    try:
        return _strict(path.read_text(encoding="utf-8"), finite)
    except (OSError, ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else error
        raise StrataError(f"{path} is no JSON that is read here: {what}") from None


def _strict(text: str, finite: bool = True) -> Any:
    def number_of(number: str) -> float:
        value = float(number)
        if finite and not math.isfinite(value):
            raise ValueError(f"{number[:40]} is no finite number")
        return value

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            raise ValueError("a key stands twice in one mapping")
        return mapping

    return json.loads(text, parse_float=number_of, parse_constant=number_of, object_pairs_hook=once)


def check_header(path: Path) -> None:
    """Raise `StrataError` for a safetensors file whose header is longer than the file, or than any is."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        most = min(MAX_HEADER, max(size - 8, 0))
        if length > most:
            raise StrataError(
                f"{path}: its header would be {length:,} bytes, at most {most:,} are read; it is damaged or "
                "was made up"
            )
        try:
            header = _strict(file.read(length).decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise StrataError(f"{path}: its header cannot be read ({type(error).__name__})") from None
    if not isinstance(header, dict):
        raise StrataError(f"{path}: its header is no mapping")


def check_zip(path: Path, most: int, max_bytes: int) -> None:
    """Raise `StrataError` for a zip of more than `most` files, or that unpacks to more than `max_bytes`."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise StrataError(f"{path} is no archive that can be read ({error})") from None
    limit = min(max_bytes, MAX_RATIO * max(path.stat().st_size, 4096))
    if len(members) > most or sum(member.file_size for member in members) > limit:
        raise StrataError(f"{path}: refused, it unpacks to more than {limit:,} bytes or {most} files")
