"""How DuckDB reads shards that lie in an object store: through a file system of fsspec made of our own parts.

A small shard becomes a copy in the cache, checked by its hash; of a larger one only the ranges are read that
a query needs.
"""

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.lazy import need
from featurestore.tables.address import SCHEMES, located
from featurestore.tables.places import readable


@lru_cache(maxsize=1)
def file_system() -> Any:
    """Return the file system of all addresses (see `featurestore.tables.address`), for reading."""
    fsspec: Any = need("fsspec", "bucket")

    class FarFiles(fsspec.AbstractFileSystem):  # type: ignore[misc]
        protocol = SCHEMES
        cachable = False

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return path

        def glob(self, path: str, **_: Any) -> list[str]:
            """Return the address itself: the log has named every shard."""
            return [path]

        def info(self, path: str, **_: Any) -> dict[str, Any]:
            file = readable(located(path))
            size = file.stat().st_size if isinstance(file, Path) else file.size
            return {"name": path, "size": size, "type": "file"}

        def modified(self, path: str) -> datetime:  # noqa: ARG002 - shards never change
            return datetime.fromtimestamp(0, UTC)

        def open(self, path: str, mode: str = "rb", **_: Any) -> Any:
            """Open a shard for reading."""
            if mode != "rb":
                raise PermissionError(f"{path} is not written here")
            file = readable(located(path))
            return file.open("rb") if isinstance(file, Path) else file

    return FarFiles()
