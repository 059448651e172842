"""The ids of the runs that a stage asked for last, as a file beside its tables; earlier runs are history."""

import json
from collections.abc import Iterable
from pathlib import Path

from featurestore.tables.places import storage_of

FILE = "current.json"


def write(runs: Path, run_ids: Iterable[str]) -> None:
    """List the runs that are asked for now; `runs` is the folder of the table that holds them."""
    text = json.dumps(sorted(run_ids), indent=0) + "\n"
    storage_of(runs).replace(runs.parent / FILE, text.encode())


def read(runs: Path) -> set[str] | None:
    """Return the ids of the runs that are asked for now, None where no stage has listed any."""
    try:
        return set(json.loads(storage_of(runs).read(runs.parent / FILE)))
    except FileNotFoundError:
        return None
