"""The files of a model bundle: which there may be, and that they are what was written, before any is used."""

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from core.archive import unpack
from core.atomic import sha256_file, whole_folder
from core.errors import StrataError
from core.source import LOCK, cache_folder, read_lock
from core.untrusted import check_header, check_zip, plain_files, read_json
from heads.calibration_files import TRAINING

CONFIG, README, GOLDEN = "config.json", "README.md", "golden.json"
NETWORK, MODELS = "network", "models"  # folders
MAX_FILES = 600
MAX_BYTES = 4 * 2**30
_MOST = {CONFIG: 2**22, README: 2**20, LOCK: 2**20, GOLDEN: 2**24}  # bytes of a file that is read whole
_MOST_JSON = 2**29
_MOST_CARD = 2**18
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
_ALLOWED = re.compile(
    rf"{re.escape(README)}|{CONFIG}|{TRAINING}|{GOLDEN}|{LOCK}|(domain|intervals)\.(json|safetensors)"
    rf"|difficulty/(head\.json|arrays\.safetensors|{LOCK})"
    rf"|heads/[0-9]{{1,2}}/({_NAME}\.(json|txt|csv|safetensors|keras|skops)|{LOCK})"
    rf"|{NETWORK}/(model\.json|model\.safetensors|{LOCK})"
    rf"|{MODELS}/{_NAME}\.(yaml|safetensors)"
)
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}
NOT_OURS = (".git", ".gitattributes", ".cache")  # of git and the Hugging Face hub, beside a bundle; not read
_RUN = ("head.json", "committee.json", "model.json")


def check_names(names: Iterable[str], where: Path | str) -> None:
    """Raise `StrataError` for the path of a file that a bundle does not have."""
    for name in names:
        stems = [part.partition(".")[0].lower() for part in name.split("/")]
        if not _ALLOWED.fullmatch(name) or _DEVICES & set(stems):
            raise StrataError(
                f"{where}: {name[:200]!r} is none of the files that a bundle has; nothing of it is loaded"
            )


def opened(path: Path) -> Path:
    """Return the folder of a bundle, its files checked; a zip is unpacked into the user's cache.

    Raises `StrataError` naming the file: one that is missing, extra, changed, a link, too large, or no JSON
    or safetensors file that could be read without harm. Nothing of a bundle is used before.
    """
    if path.is_dir():
        check(path)
        return path
    if not path.is_file():
        raise StrataError(f"{path} is not there: name the folder or the .zip of a bundle")
    if not zipfile.is_zipfile(path):
        raise StrataError(f"{path} is no zip that can be read; a bundle is a folder or a .zip")
    folder = cache_folder() / "bundles" / sha256_file(path)
    if folder.is_dir():
        try:
            check(folder)
        except StrataError:
            pass  # damaged in the cache: the zip says what it should be
        else:
            return folder
    with whole_folder(folder) as new:
        unpack(path, new, lambda names: _placed(names, path), MAX_BYTES, MAX_FILES)
        try:
            check(new)
        except StrataError as error:  # the folder is gone when this is read: the zip is meant
            raise StrataError(str(error).replace(str(new), str(path))) from None
    return folder


def _placed(names: list[str], path: Path) -> dict[str, str]:
    """Return where the members of a zip go; one folder around all of them is left out."""
    around = names[0].partition("/")[0] + "/" if names and CONFIG not in names else ""
    whole = f"{around}{CONFIG}" in names and all(name.startswith(around) for name in names)
    places = {name: name.removeprefix(around) if whole else name for name in names}
    check_names(places.values(), path)
    return places


def check(folder: Path) -> None:
    """Check every file of a bundle's folder; see `opened`."""
    found = plain_files(folder, MAX_FILES, MAX_BYTES, NOT_OURS)
    if CONFIG not in found:
        if any(name in found for name in _RUN):
            raise StrataError(
                f"{folder} is the folder of a run, which names no units, source models or intervals; make a "
                "bundle of it where its store is: strata publish DATASET PROPERTY --to FOLDER"
            )
        raise StrataError(f"{folder} is no model bundle: it has no {CONFIG}")
    check_names(found, folder)
    if LOCK not in found:
        raise StrataError(f"{folder / LOCK} is missing: without it nothing vouches for the files of a bundle")
    for name, size in found.items():
        if size > _most(name):
            raise StrataError(f"{folder / name}: {size:,} bytes, at most {_most(name):,} are read")
    _compare(folder, set(found) - {LOCK}, read_lock(folder))
    for name in found:
        _check_content(folder / name, finite=not name.startswith("heads/"))


def _most(name: str) -> int:
    if name in _MOST:
        return _MOST[name]
    suffix = name.rpartition(".")[2]
    return {"yaml": _MOST_CARD, "json": _MOST_JSON}.get(suffix, MAX_BYTES)


def _compare(folder: Path, found: set[str], listed: dict[str, str]) -> None:
    for name in sorted(found | listed.keys()):
        if name not in found:
            raise StrataError(f"{folder}: {name[:200]!r} is in {LOCK}, but it is missing")
        if name not in listed:
            raise StrataError(f"{folder / name} is not in {LOCK}: it was added later, so nothing is loaded")
        if sha256_file(folder / name) != listed[name]:
            raise StrataError(
                f"{folder / name} has another SHA-256 than {LOCK} says: it was changed or damaged, so "
                "nothing is loaded; get the bundle again"
            )


def _check_content(path: Path, *, finite: bool) -> None:
    """Look into files whose readers could be led astray by their size or depth."""
    if path.suffix == ".json":
        read_json(path, finite=finite)
    elif path.suffix == ".safetensors":
        check_header(path)
    elif path.suffix in {".keras", ".skops"}:
        check_zip(path, MAX_FILES, MAX_BYTES)
