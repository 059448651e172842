"""Who keeps the bytes of a path: a folder of this machine, or an object store for which it stands."""

import os
from functools import lru_cache
from pathlib import Path

from featurestore.tables.address import parts_of
from featurestore.tables.bucket import Bucket
from featurestore.tables.ranges import Ranges
from featurestore.tables.storage import LOCAL, Storage

_VARIABLES = ("AWS_", "GOOGLE_", "AZURE_", "STRATA_BUCKET_")


def storage_of(path: Path) -> Storage:
    """Return the storage of a path; raises `StrataError` where it needs an extra that is not installed."""
    found = parts_of(path)
    return LOCAL if found is None else bucket_of(*found[:2])


def bucket_of(scheme: str, name: str) -> Bucket:
    """Return a bucket, by the keys, region and endpoint that the environment has now."""
    return _bucket(scheme, name, frozenset(i for i in os.environ.items() if i[0].startswith(_VARIABLES)))


@lru_cache(maxsize=8)
def _bucket(scheme: str, name: str, _environment: frozenset[tuple[str, str]]) -> Bucket:
    return Bucket(scheme, name)


def readable(path: Path) -> Path | Ranges:
    """Return what pyarrow opens to read a shard: a file, or one that is read by ranges from afar."""
    return storage_of(path).readable(path)
