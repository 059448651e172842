"""What is kept, and how it is asked for: `featurestore.open("store")`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featurestore.query.matrix import Matrix, SplitKey
    from featurestore.query.store import FeatureStore, open_store
    from featurestore.query.store import open_store as open  # noqa: A004 - named as tarfile.open and gzip.open are
    from featurestore.tables.layout import StoreLayout
    from featurestore.tables.log import Reject
    from featurestore.tables.writer import TableWriter

__all__ = ["FeatureStore", "Matrix", "Reject", "SplitKey", "StoreLayout", "TableWriter", "open", "open_store"]

_HOME = {
    "FeatureStore": ("query.store", "FeatureStore"),
    "Matrix": ("query.matrix", "Matrix"),
    "SplitKey": ("query.matrix", "SplitKey"),
    "open": ("query.store", "open_store"),
    "open_store": ("query.store", "open_store"),
    "Reject": ("tables.log", "Reject"),
    "StoreLayout": ("tables.layout", "StoreLayout"),
    "TableWriter": ("tables.writer", "TableWriter"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: DuckDB and Arrow cost half a second."""
    if name in _HOME:
        module, attribute = _HOME[name]
        return getattr(import_module(f"featurestore.{module}"), attribute)
    raise AttributeError(f"module 'featurestore' has no attribute {name!r}")
