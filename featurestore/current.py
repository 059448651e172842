"""The ids of the runs that a stage asked for last, as a file beside its tables; earlier runs are history.

Another file has what was trained by hand, with what was asked for: it stays beside what the stage asks for.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from featurestore.tables.places import storage_of

FILE = "current.json"
BY_HAND = "by_hand.json"


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


def write_by_hand(runs: Path, asked: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep what was asked for by hand, by the id of each run."""
    text = json.dumps(asked, indent=0, sort_keys=True) + "\n"
    storage_of(runs).replace(runs.parent / BY_HAND, text.encode())


def read_by_hand(runs: Path) -> dict[str, dict[str, Any]]:
    """Return what was asked for by hand, by the id of each run; none where nothing was."""
    try:
        found: dict[str, dict[str, Any]] = json.loads(storage_of(runs).read(runs.parent / BY_HAND))
    except FileNotFoundError:
        return {}
    return found
