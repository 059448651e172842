"""Raw files of dataset cards: found on this machine, or downloaded, and checked."""

import hashlib
import os
from pathlib import Path

from core.atomic import sha256_file
from core.download import OFFLINE_VARIABLE, Progress, fetch
from core.errors import StrataError
from core.source import (
    RAW_VARIABLE,
    MissingFileError,
    RawFile,
    Source,
    at_hand,
    cache_folder,
    checked,
    folders,
)
from etl.cards import DatasetCard
from etl.own.structure_folder import structures_below


def find(card: DatasetCard, source: Source | None = None) -> RawFile:
    """Find a file of a card, by default that of its own source, and check its SHA-256.

    Looked for in the folder that STRATA_RAW names, then in the cache (STRATA_CACHE, or
    ~/.cache/strata). A `SHA256SUMS` beside the file is its lock; without one the hash on the card is.

    Raises `StrataError`: the file is nowhere (`MissingFileError`: says where it was looked for and how to
    get it), its hash is another one (names both), or nothing vouches for it.
    """
    source = source or card.source
    if source is None:
        raise StrataError(f"dataset {card.name}: the card names no file; its provider needs none")
    path = at_hand(source)
    if path is not None:
        return checked(path, source, f"the card of {card.name}")
    looked = ", ".join(str(folder) for folder in folders())
    hint = "" if RAW_VARIABLE in os.environ else f" ({RAW_VARIABLE} is not set)"
    raise MissingFileError(
        f"dataset {card.name}: {source.file} is in none of: {looked}{hint}. `strata fetch {card.name}` "
        f"downloads {source.url}; or save it under that name in a folder and set {RAW_VARIABLE} to that "
        f"({card.licence})"
    )


def obtain(card: DatasetCard, source: Source | None = None, progress: Progress | None = None) -> RawFile:
    """Find a file of a card on this machine (see `find`), or download it into the cache first.

    `source` is the card's own by default, or one of its libraries. With STRATA_OFFLINE set nothing is
    downloaded. Raises `StrataError`: see `find` and `core.download.fetch`.
    """
    source = source or card.source
    try:
        return find(card, source)
    except MissingFileError:
        if source is None or os.environ.get(OFFLINE_VARIABLE):
            raise
    fetch(source, cache_folder(), progress=progress)
    return find(card, source)


def version_at_hand(card: DatasetCard) -> DatasetCard:
    """The card for the version whose file is on this machine, its own first; as it is where none is.

    For a dataset whose version nobody has chosen: a file that is there is used before one that would have
    to be downloaded. The version read is said on screen and kept in the store.
    """
    for name in sorted(card.versions, key=lambda name: name != card.version):
        if at_hand(card.versions[name]) is not None:
            return card.of_version(name)
    return card


def own(path: Path) -> RawFile:
    """A user's own file or folder; its SHA-256 is over the names and hashes of the files in it.

    Of the folders below it the structure files count.
    """
    if path.is_file():
        return RawFile(path, sha256_file(path), "user")
    if not path.is_dir():
        raise StrataError(f"{path.absolute()} does not exist; the card names it as the data's place")
    digest = hashlib.sha256()
    for item in sorted(path.iterdir()):
        if item.is_file() and not item.name.startswith("."):
            digest.update(f"{sha256_file(item)}  {item.name}\n".encode())
    for item in structures_below(path):
        digest.update(f"{sha256_file(item)}  {item.relative_to(path).as_posix()}\n".encode())
    return RawFile(path, digest.hexdigest(), "user")
