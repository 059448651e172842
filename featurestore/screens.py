"""Screenings that are kept by name; the view `screens` shows them."""

import hashlib

import pyarrow as pa

from core.errors import check_name
from featurestore.tables.layout import StoreLayout
from featurestore.tables.schema import SCREENS
from featurestore.tables.writer import TableWriter


def keep(layout: StoreLayout, name: str, rows: pa.Table) -> None:
    """Keep a screening, with the columns of `SCREENS`, in place of one of the same name, in one log entry.

    Others stay. Raises `StrataError` for a name that is none.
    """
    check_name(name, "screening")
    content = hashlib.sha256(b"".join(batch.serialize() for batch in rows.combine_chunks().to_batches()))
    key = f"{name}/{content.hexdigest()}"
    with TableWriter(layout.screens, SCREENS, "screen", alone=True) as writer:
        others = [other for other in writer.committed if not other.startswith(f"{name}/")]
        writer.gather()
        writer.retain([*others, key])
        writer.commit(key, rows)
        writer.flush()
