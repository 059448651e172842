"""The ids of the runs that a stage asked for last, as a file beside its tables; earlier runs are history."""

import json
from collections.abc import Iterable
from pathlib import Path

from core.atomic import write_whole

FILE = "current.json"


def write(runs: Path, run_ids: Iterable[str]) -> None:
    """List the runs that are asked for now; `runs` is the folder of the table that holds them."""
    write_whole(runs.parent / FILE, json.dumps(sorted(run_ids), indent=0) + "\n")


def read(runs: Path) -> set[str] | None:
    """Return the ids of the runs that are asked for now, None where no stage has listed any."""
    try:
        return set(json.loads((runs.parent / FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
