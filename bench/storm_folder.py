"""What a storm's folder holds: every row and file that is kept, and what is unfinished or damaged."""

import hashlib
from pathlib import Path

import pyarrow as pa

from core.atomic import UNFINISHED
from featurestore.query.store import open_store
from featurestore.tables import log
from featurestore.tables.maintenance import tables_of, verify
from featurestore.tables.vectors import read_columns

SOURCE = "alignn_mp_eform"
TABLE = Path("store") / "features" / SOURCE
VOLATILE = {"created_at", "fit_seconds", "looked_at"}
PASSED_OVER = ("looks",)  # the audit: a look that was killed was a look


def content() -> dict[str, list[str]]:
    """Return every live row and reject of every table, and the hash of every other file that is kept."""
    found: dict[str, list[str]] = {}
    for kind, folder in tables_of("store"):
        now = log.snapshot(folder)
        if kind not in PASSED_OVER:
            rows = [row for path in now.paths for row in _rows(path)]
            found[folder.as_posix()] = sorted([*rows, *(f"reject {reject}" for reject in now.rejects)])
    files = [*Path("store").glob("*/*/models/**/*"), *Path("models").glob("*"), *Path("plots").glob("*.csv")]
    for path in [*files, Path("metrics.json")]:
        if path.is_file() and not path.name.startswith("."):
            found[path.as_posix()] = [hashlib.sha256(path.read_bytes()).hexdigest()]
    return found


def _rows(path: Path) -> list[str]:
    names = [name for name in pa.parquet.read_schema(path).names if name not in VOLATILE]
    return [hashlib.sha256(repr(row).encode()).hexdigest() for row in read_columns(path, names).to_pylist()]


def left() -> int:
    """Return how many unfinished files and shards that no entry names are there."""
    found = verify("store", older_than=0)
    places = (Path("store"), Path("models"), Path("plots"))
    return len(found.strays) + sum(1 for place in places for _ in place.rglob(f"{UNFINISHED}*"))


def sound() -> int:
    """Return how many shards are damaged or belong to what is half there."""
    found = verify("store")
    return len(found.damages) + len(found.lost)


def keys() -> dict[str, list[str]]:
    """Return the ids of all stored vectors, also those that are there twice, and of all rejects."""
    store = open_store("store")
    rows = store.sql("SELECT structure_id, extraction_id FROM stored_features").fetchall()
    return {"vectors": list(map(str, rows)), "rejects": [r.entry_id for r in log.snapshot(TABLE).rejects]}


def version() -> int:
    """Return how often the vectors' table was committed to."""
    return log.snapshot(TABLE).version


def vectors() -> dict[str, list[float]]:
    """Return the deepest vectors by structure."""
    store = open_store("store")
    last = store.feature_set("last").blocks[0].checkpoint
    return dict(store.sql(f"SELECT structure_id, {last} FROM features_{SOURCE}").fetchall())


def far(one: dict[str, list[float]], other: dict[str, list[float]]) -> float:
    """Return the largest difference between two sets of vectors."""
    return max(abs(a - b) for name in one for a, b in zip(one[name], other[name], strict=True))
