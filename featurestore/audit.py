"""The audit of test parts: whoever reads the test values of a property leaves a row first."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from featurestore.query.store import FeatureStore
from featurestore.tables.schema import LOOKS
from featurestore.tables.writer import TableWriter

_KEY = [name for name in LOOKS.names if name not in {"n", "looked_at"}]


def record(store: FeatureStore, evaluations: Sequence[Mapping[str, Any]]) -> None:
    """Add what is about to be read to the table `looks`; what is there already leaves no second row.

    evaluations: of one stage; each has the columns of `looks` but `looked_at`.
    """
    known = set(store.sql(f"SELECT {', '.join(_KEY)} FROM looks").fetchall())  # noqa: S608 - our own names
    new = [item for item in evaluations if tuple(item[name] for name in _KEY) not in known]
    if not new:
        return
    now = datetime.now(UTC)
    rows = [{name: item[name] for name in (*_KEY, "n")} | {"looked_at": now} for item in new]
    text = json.dumps([[str(item[name]) for name in _KEY] for item in new])
    with TableWriter(store.layout.looks, LOOKS, new[0]["stage"]) as writer:
        writer.commit(f"looks-{hashlib.sha256(text.encode()).hexdigest()}", pa.Table.from_pylist(rows, LOOKS))
