"""The hashes of a folder's files in a file beside them: what is loaded is what was saved.

The file is called and written as `sha256sum` has it, so that `sha256sum -c SHA256SUMS` checks a folder too.
"""

from pathlib import Path

from core.atomic import sha256_file, write_whole
from core.errors import StrataError
from core.source import LOCK, read_lock


def write_checksums(folder: Path) -> str:
    """Write the SHA-256 of every file of a folder into its `SHA256SUMS`; return that of this list itself.

    Who keeps the one hash can tell any change of any file.
    """
    lines = [f"{sha256_file(path)}  {name}\n" for name, path in _files(folder).items()]
    write_whole(folder / LOCK, "".join(lines))
    return sha256_file(folder / LOCK)


def check_checksums(folder: Path, expected: str | None = None) -> None:
    """Raise `StrataError` where a folder's files are not as its list says, or that is not the `expected`.

    Without `expected`, a folder that has no list passes: those saved by earlier versions have none.
    """
    what = changed_in(folder, expected)
    if what is not None:
        raise StrataError(
            f"{what}: it was changed or damaged after it was saved, so nothing in {folder} is loaded. "
            "Restore the folder (dvc checkout --force, or a copy), or drop the run with `strata store verify "
            "--repair` and run its stage again"
        )


def changed_in(folder: Path, expected: str | None = None) -> str | None:
    """Say which file of a folder is not what was saved and why, or return None (see `check_checksums`)."""
    place = folder / LOCK
    try:
        if not place.is_file():
            return None if expected is None else f"{place} is missing"
        if expected is not None and sha256_file(place) != expected:
            return f"{place} has another SHA-256 than the store's log keeps"
        return _first_difference(folder, read_lock(folder), _files(folder))
    except StrataError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or folder} cannot be read ({error.strerror})"


def _first_difference(folder: Path, listed: dict[str, str], found: dict[str, Path]) -> str | None:
    for name in sorted(listed.keys() | found.keys()):
        if name not in found:
            return f"{folder / name} is missing"
        if name not in listed:
            return f"{found[name]} is not in {LOCK}"
        if sha256_file(found[name]) != listed[name]:
            return f"{found[name]} has another SHA-256 than {LOCK} says"
    return None


def _files(folder: Path) -> dict[str, Path]:
    """Return the files of a folder, but the list, by their path in it."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    return {name: path for name, path in found.items() if not path.is_dir() and name != LOCK}
