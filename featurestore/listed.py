"""Datasets that params.yaml lists and the store has nothing of: said, and left out, so that others go on."""

from collections.abc import Sequence
from pathlib import Path

from core.errors import StrataError
from core.params import Params
from featurestore import current
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import LOG, snapshot
from featurestore.tables.schema import widest
from featurestore.tables.writer import TableWriter

_LACKS = {"entries": "no entries", "targets": "no values of any property"}


def rows_of(store_root: str | Path, kind: str, dataset: str) -> int:
    """Count the rows of a dataset's table; 0 where there is none."""
    folder = StoreLayout(Path(store_root)).table(kind, dataset)
    return snapshot(folder).rows if (folder / LOG).is_dir() else 0


def without(store_root: str | Path, dataset: str, kind: str = "targets") -> str | None:
    """Say that a dataset has no rows of a kind, and what to do; None where it has some."""
    if rows_of(store_root, kind, dataset):
        return None
    lacks = _LACKS["targets" if rows_of(store_root, "entries", dataset) else "entries"]
    return (
        f"{dataset} has {lacks} in the store and is left out; strata ingest {dataset} reads it, and if it is "
        f"one of your own, strata datasets remove {dataset} takes it out of the project"
    )


def with_rows(params: Params, store_root: str | Path, kind: str = "targets") -> tuple[Params, list[str]]:
    """Return the params with those datasets only that have rows of a kind, and what is said of the others.

    Raises `StrataError` where none has any.
    """
    said = {name: without(store_root, name, kind) for name in params.datasets}
    left_out = [line for line in said.values() if line is not None]
    kept = tuple(name for name, line in said.items() if line is None)
    if left_out and not kept:
        raise StrataError("; ".join(left_out))
    return params.model_copy(update={"datasets": kept}), left_out


def leave_empty(folders: Sequence[Path], stage: str) -> None:
    """Let tables hold nothing, and ask for no runs: what a stage leaves of a dataset that has no values."""
    for folder in folders:
        kind = StoreLayout.around(folder).kind_of(folder)
        with TableWriter(folder, widest(kind), stage, alone=True, damaged=True) as writer:
            writer.retain([])
        if kind == "runs":
            current.write(folder, ())
