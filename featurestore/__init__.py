"""What is kept, and how it is asked for: `featurestore.open("store")`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featurestore.layout import StoreLayout
    from featurestore.log import Reject
    from featurestore.matrix import Matrix, SplitKey
    from featurestore.store import FeatureStore, open_store
    from featurestore.store import open_store as open  # noqa: A004 - named as tarfile.open and gzip.open are
    from featurestore.writer import TableWriter

__all__ = ["FeatureStore", "Matrix", "Reject", "SplitKey", "StoreLayout", "TableWriter", "open", "open_store"]

_HOME = {
    "FeatureStore": ("store", "FeatureStore"),
    "Matrix": ("matrix", "Matrix"),
    "SplitKey": ("matrix", "SplitKey"),
    "open": ("store", "open_store"),
    "open_store": ("store", "open_store"),
    "Reject": ("log", "Reject"),
    "StoreLayout": ("layout", "StoreLayout"),
    "TableWriter": ("writer", "TableWriter"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: DuckDB and Arrow cost half a second."""
    if name in _HOME:
        module, attribute = _HOME[name]
        return getattr(import_module(f"featurestore.{module}"), attribute)
    raise AttributeError(f"module 'featurestore' has no attribute {name!r}")
