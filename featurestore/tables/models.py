"""Fitted models: folders beside the tables of runs, each under a hash that its run's row keeps.

The shards of runs are under hashes of the log, so that a model is too.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from core.atomic import whole_folder
from core.checksums import changed_in, write_checksums
from core.errors import StrataError
from featurestore.tables import log
from featurestore.tables.address import located
from featurestore.tables.layout import StoreLayout
from featurestore.tables.places import storage_of
from featurestore.tables.schema import SCHEMAS, completed
from featurestore.tables.vectors import read_columns


@dataclass(frozen=True, slots=True)
class DamagedModel:
    """The model of a run that is not what was saved."""

    runs: Path  # the table
    run_id: str
    what: str

    def __str__(self) -> str:
        return f"{self.what} (the model of run {self.run_id})"


@contextmanager
def new_model(folder: Path) -> Iterator[Path]:
    """Yield an empty folder; what is saved there is the model in `folder` when the block ends well."""
    with whole_folder(folder) as new:
        yield new
    storage_of(folder).keep_folder(folder)


def sealed(folder: Path) -> str:
    """List the hashes of a model that was saved whole, keep it, and return the hash of the list."""
    sha256 = write_checksums(folder)
    storage_of(folder).keep_folder(folder)
    return sha256


def model_folder(root: Path, model_path: str, *, anew: bool = False) -> Path:
    """Return where a model lies here; raises `StrataError` for a row's path that leads out of the store.

    anew: a model in an object store is fetched again, even if one is here already.
    """
    inside = PurePosixPath(model_path)
    if inside.is_absolute() or ".." in inside.parts or not inside.parts:
        raise StrataError(f"the store {root} names a model at {model_path!r}, which is not in the store")
    folder = located(root) / inside
    storage_of(folder).fetch_folder(folder, anew=anew)
    return folder


def damaged_models(root: str | Path) -> tuple[int, tuple[DamagedModel, ...]]:
    """Read every byte of the models of live runs; return how many models there are, and the bad ones.

    Left out are models of earlier versions, which have no hash, and tables whose folder of models was not
    copied with them.
    """
    layout = StoreLayout(Path(root))
    looked: dict[tuple[str, str | None], str | None] = {}
    damaged = []
    for table in layout.tables("runs"):
        if not storage_of(table).is_folder(table.parent / "models"):
            continue
        for row in _rows(table):
            place = row["model_path"], row["model_sha256"]
            if None in place:
                continue
            if place not in looked:  # several runs may share one
                looked[place] = _changed(layout.root, *place)
            what = looked[place]
            if what is not None:
                damaged.append(DamagedModel(table, row["run_id"], what))
    return len(looked), tuple(damaged)


def _changed(root: Path, model_path: str, sha256: str) -> str | None:
    try:
        return changed_in(model_folder(root, model_path, anew=True), sha256)
    except StrataError as error:
        return str(error)


def _rows(table: Path) -> Iterator[Mapping[str, Any]]:
    wanted = pa.schema([SCHEMAS["runs"].field(name) for name in ("run_id", "model_path", "model_sha256")])
    for path in log.snapshot(table).paths:
        with suppress(StrataError, OSError, pa.ArrowException):  # a damaged shard is reported as such
            yield from completed(read_columns(path, wanted.names), wanted).to_pylist()
