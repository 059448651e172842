"""Addresses of stores in object stores, such as s3://bucket/prefix, and the folders here that stand for them.

Such a store has a folder on this machine: the cache of its shards, and what is derived from them. A path in
that folder stands for the object of the same name, so that a path is all that anybody needs to know of a
table, wherever it lies; `featurestore.tables.places` says who keeps its bytes.
"""

import os
import re
from functools import lru_cache
from pathlib import Path

from core.errors import StrataError, check_name
from core.source import cache_folder

SCHEMES = ("s3", "gs", "az")
FOLDER = "buckets"  # in the user's folder of downloaded files
_ADDRESS = re.compile(rf"({'|'.join(SCHEMES)}):/+(.*)")  # a Path makes one slash of two
_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9]|[._-](?=[a-z0-9])){1,61}[a-z0-9]|[a-z0-9]{3}")


def located(path: str | Path) -> Path:
    """Return the folder that stands for an address; anything else is a folder, and comes back as a path.

    Raises `StrataError` for names of buckets and prefixes that are none.

    >>> located("store").as_posix()
    'store'
    """
    match = _ADDRESS.fullmatch(os.fspath(path))
    if match is None:
        return Path(path)
    scheme, rest = match.groups()
    bucket, *prefix = rest.rstrip("/").split("/")
    if "@" in rest or "?" in rest or "#" in rest:
        raise StrataError(
            f"an address is {scheme}://bucket/prefix and nothing else: keys, region and endpoint come from "
            "the environment (AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL, …)"
        )
    if not _BUCKET.fullmatch(bucket):
        raise StrataError(
            f"{bucket[:80]!r} is not the name of a bucket: 3 to 63 lower-case letters, digits, '.', '_', '-'"
        )
    for part in prefix:
        check_name(part, f"{scheme}://{bucket}/…: the prefix")
    return standing(scheme, bucket).joinpath(*prefix)


def standing(scheme: str, bucket: str) -> Path:
    """Return the folder that stands for a bucket; it is not made here."""
    return folder_of_all() / scheme / bucket


def folder_of_all() -> Path:
    """Return the folder of all buckets' folders, its links followed."""
    return _real(str(cache_folder())) / FOLDER


@lru_cache(maxsize=8)
def _real(folder: str) -> Path:
    return Path(os.path.realpath(folder))


def parts_of(path: Path) -> tuple[str, str, str] | None:
    """Return scheme, bucket and key of what a path stands for; None for a path that stands for itself.

    Links are followed: that of an experiment's table leads to the table's own key.
    """
    whole = f"{folder_of_all()}{os.sep}"
    if not os.fspath(path).startswith(whole):
        return None
    scheme, _, rest = os.path.realpath(path)[len(whole) :].partition(os.sep)
    bucket, _, key = rest.partition(os.sep)
    return scheme, bucket, key.replace(os.sep, "/")


def address(path: Path) -> str:
    """Return the address that a path stands for; a path of this machine as it is.

    >>> address(Path("store"))
    'store'
    """
    found = parts_of(path)
    return str(path) if found is None else f"{found[0]}://{found[1]}/{found[2]}".rstrip("/")


def readable(text: str) -> str:
    """Return a message with addresses where it names the folders that stand for them.

    >>> readable(f"{located('s3://bucket/store')}/scores is missing")
    's3://bucket/store/scores is missing'
    """
    for scheme in SCHEMES:
        text = text.replace(f"{folder_of_all() / scheme}{os.sep}", f"{scheme}://")
    return text
