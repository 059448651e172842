"""Runs that other stores have: a run's id says all that decides its outcome, so it need not be made again."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from core.checksums import changed_in, check_checksums
from core.errors import StrataError
from featurestore.tables import log
from featurestore.tables.address import located
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import Shard
from featurestore.tables.models import model_folder, new_model
from featurestore.tables.places import storage_of
from featurestore.tables.schema import completed
from featurestore.tables.vectors import read_columns
from featurestore.tables.writer import TableWriter

_KINDS = ("predictions", "runs")  # in the order in which they are committed


class Lenders:
    """Other stores of the same layout, asked in order.

    place: the folder of a dataset's `runs` or `predictions` in a store. Raises `StrataError` for a root that
    is no folder.
    """

    def __init__(self, roots: Sequence[Path], place: Callable[[StoreLayout, str], Path]) -> None:
        self._stores: list[tuple[Path, dict[str, tuple[Path, dict[str, Shard]]]]] = []
        for root in map(located, roots):
            if not storage_of(root).is_folder(root):
                raise StrataError(f"{root} is no folder, so no runs can be taken over from it")
            folders = {kind: place(StoreLayout(root), kind) for kind in _KINDS}
            self._stores.append((root, {kind: (path, _shards(path)) for kind, path in folders.items()}))

    @property
    def offered(self) -> frozenset[str]:
        """The ids of the runs that they have."""
        of_each = (
            set.intersection(*(set(shards) for _, shards in tables.values())) for _, tables in self._stores
        )
        return frozenset().union(*of_each)

    def lend(
        self, run_id: str, root: Path, predictions: TableWriter, runs: TableWriter
    ) -> dict[str, Any] | None:
        """Copy a run into the store at `root`: the model, then its predictions, then the run; return its row.

        None where no store has it, or none has it whole.
        """
        schemas = {"predictions": predictions.schema, "runs": runs.schema}
        for lender, tables in self._stores:
            if not all(run_id in shards for _, shards in tables.values()):
                continue
            try:
                values, row = (
                    completed(
                        read_columns(folder / shards[run_id].path, schemas[kind].names).filter(
                            pc.field("run_id") == run_id
                        ),
                        schemas[kind],
                    ).combine_chunks()
                    for kind, (folder, shards) in tables.items()
                )
                (facts,) = row.to_pylist()
                ours, theirs = (model_folder(place, facts["model_path"]) for place in (root, lender))
                _copy(theirs, ours, facts["model_sha256"])
            except (StrataError, OSError, ValueError):  # damaged there: it is made anew here
                continue
            predictions.commit(run_id, values)
            runs.commit(run_id, row)
            return dict(facts)
        return None


def _shards(folder: Path) -> dict[str, Shard]:
    try:
        return log.snapshot(folder).by_key
    except StrataError:
        return {}


def _copy(source: Path, target: Path, sha256: str | None) -> None:
    """Copy a model's folder whole or not at all; several runs may share one, which is then there already."""
    if target.exists() and changed_in(target, sha256) is None:
        return
    with new_model(target) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        check_checksums(folder, sha256)
