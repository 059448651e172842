"""Values for new structures, with what is needed to act on them: files or objects in, a table out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import glob
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import StrataError
from core.executor import Executor, Processes, count
from core.params import Extract, Ingest
from core.structure import InvalidStructure, Structure
from core.structure_files import SUFFIXES, is_structure_file, read_structures
from core.validation import validate
from featurestore.columns import OwnColumns, read_own_columns
from heads.intervals import LEVEL
from zoo.backbones.engine import Engine
from zoo.extraction import make_engine
from zoo.given import as_structure, items_of
from zoo.model import NETWORK, Asked, Model, Reads, own_vectors

if TYPE_CHECKING:
    import pandas as pd

    from zoo.training.trained import TrainedModel

FILES_AT_ONCE = 32  # a task of a worker
WORTH_WORKERS = 500  # files; fewer are done before workers would be up

_reader: "Reader | None" = None  # a worker's own


@dataclass(frozen=True, slots=True)
class Read:
    """One structure of a file, or why there is none."""

    file: str
    name: str
    structure: Structure | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What source models say of structures that were read: vectors by source model (n, d), NaN for rejects.

    errors: why a structure has no vectors, by its place. predicted (n,): of a network of the target's own.
    """

    read: tuple[Read, ...]
    asked: Asked
    vectors: dict[str, np.ndarray]
    errors: dict[int, str]
    predicted: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a worker needs of a model: source models, how they are run, and a user's own columns."""

    sources: Mapping[str, Reads]
    settings: Extract
    limits: Ingest
    network: "TrainedModel | None" = None
    output: int = 0  # of the network: which of its properties
    columns: OwnColumns | None = None

    @classmethod
    def of(cls, model: Model, columns: OwnColumns | None = None) -> "Reading":
        """Take it from a model."""
        output = model.network.names.index(model.card.property) if model.network else 0
        return cls(model.sources, model.settings, model.limits, model.network, output, columns)


class Reader:
    """Reads files and runs the source models of a model over them; each network is loaded once."""

    def __init__(self, reading: Reading) -> None:
        self._limits, self._network, self._output = reading.limits, reading.network, reading.output
        self._sources = reading.sources
        self._own = {name: reading.columns for name, reads in reading.sources.items() if reads.columns}
        self._engines: dict[str, Engine] = {
            name: make_engine(name, reading.settings, reads.folder)
            for name, reads in reading.sources.items()
            if name != NETWORK and not reads.columns
        }

    def files(self, files: Sequence[Path]) -> Batch:
        """Read files and run the source models."""
        return self.run([one for file in files for one in _read(file, self._limits)])

    def run(self, read: Sequence[Read]) -> Batch:
        """Run the source models over what was read; what was rejected stays out, in its place."""
        usable = [i for i, one in enumerate(read) if one.structure is not None]
        structures = [one.structure for one in read if one.structure is not None]
        names = [read[i].name for i in usable]
        asked = Asked.of(names, structures)
        errors: dict[int, str] = {}
        if self._network is not None:
            said = self._network.described(structures)
            errors = {i: _why(error) for i, error in said.errors.items()}
            return Batch(tuple(read), asked, {NETWORK: said.vectors}, errors, said.values[:, self._output])
        vectors: dict[str, np.ndarray] = {}
        for name, engine in self._engines.items():
            checkpoints = [checkpoint.name for checkpoint in self._sources[name].checkpoints]
            extracted = engine(structures, checkpoints)
            vectors[name] = np.concatenate([extracted.vectors[one] for one in checkpoints], axis=1)
            for i, error in extracted.errors.items():
                errors.setdefault(i, _why(error))
        for name, own in self._own.items():
            if own is None:
                raise StrataError(f"the columns of {name} are needed")
            vectors[name], lacking = own_vectors(own, names)
            for i, why in enumerate(lacking):
                if why is not None:
                    errors.setdefault(i, why)
        return Batch(tuple(read), asked, vectors, errors)


def expand(files: Iterable[str | Path]) -> list[Path]:
    """Return the files that paths, folders and patterns name, each once, those of a folder sorted.

    Of a folder all structure files are meant, also those in its folders. Raises `StrataError` where a folder
    has none, or nothing matches a pattern; a file that is not there becomes a reject when it is read.
    """
    found: dict[Path, None] = {}
    for file in map(str, files):
        path = Path(file)
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.is_file() and is_structure_file(one))
            if not inside:
                kinds = ", ".join(SUFFIXES)
                raise StrataError(f"{path} has no structure files (POSCAR, CONTCAR or {kinds})")
            found |= dict.fromkeys(inside)
        elif not path.exists() and any(c in file for c in "*?["):
            matched = sorted(glob(file, recursive=True))  # noqa: PTH207 - of absolute patterns too
            if not matched:
                raise StrataError(f"no file matches {file}")
            found |= dict.fromkeys(expand(matched))
        else:
            found[path] = None
    return list(found)


def predict_files(
    model: Model,
    files: Sequence[Path],
    level: float = LEVEL,
    columns: Path | None = None,
    executor: type[Executor] = Processes,
) -> Iterator["pd.DataFrame"]:
    """Predict every structure of files, in order; yields a frame per batch (see `predict_batches`)."""
    return (frame for _, frame in predict_batches(model, files, level, columns, executor))


def predict_batches(
    model: Model,
    files: Sequence[Path],
    level: float = LEVEL,
    columns: Path | None = None,
    executor: type[Executor] = Processes,
) -> Iterator[tuple[Batch, "pd.DataFrame"]]:
    """Predict every structure of files, in order; yields what was read, with its vectors, and a frame of it.

    A file or structure that cannot be used has a row with its reason in the column `error`. columns: a table
    of the structures' own columns, for a model that reads some; its ids are the structures' names.
    Raises `StrataError` where that table is missing.
    """
    own = read_columns(model, columns)
    if own is not None:
        _check_names([(str(file), file.stem) for file in files])
    tasks = [list(files[i : i + FILES_AT_ONCE]) for i in range(0, len(files), FILES_AT_ONCE)]
    workers = count(model.settings.workers, len(files), WORTH_WORKERS)
    if workers == 0:
        reader = Reader(Reading.of(model, own))
        batches: Iterator[Batch] = map(reader.files, tasks)
    else:
        settings = model.settings.model_copy(update={"device": "cpu", "threads": 1})
        reading = replace(Reading.of(model, own), settings=settings)
        batches = executor(workers, _start, (reading,)).ordered(_run, tasks)
    for batch in batches:
        yield batch, answered(model, batch, level)


def predict_structures(
    model: Model,
    structures: Any,
    names: Sequence[str] | None = None,
    level: float = LEVEL,
    columns: str | Path | None = None,
) -> "pd.DataFrame":
    """Predict one structure or many, of ASE, pymatgen, jarvis-tools or Strata, or paths of files.

    names: of the structures, as many; by default their places, and a file's own. See `predict_files`.
    """
    own = read_columns(model, None if columns is None else Path(columns))
    read = read_objects(structures, model.limits, names)
    if own is not None:
        _check_names([(one.file or f"structure {place}", one.name) for place, one in enumerate(read)])
    return answered(model, Reader(Reading.of(model, own)).run(read), level)


def answered(model: Model, batch: Batch, level: float = LEVEL) -> "pd.DataFrame":
    """Predict from the vectors of a batch; one row per structure or reject, in the order of reading."""
    import pandas as pd

    frame = model.frame(batch.asked, batch.vectors, level, batch.predicted)
    numbers = frame["probability"] if model.card.classes else frame["value"]
    frame["error"] = [
        "" if np.isfinite(value) else batch.errors.get(i, "no source model has vectors of it")
        for i, value in enumerate(numbers)
    ]
    _blank(frame)
    places = [i for i, one in enumerate(batch.read) if one.structure is not None]
    frame.index = pd.Index(places)
    rejects = [i for i, one in enumerate(batch.read) if one.structure is None]
    if rejects:
        missing = {name: "" for name, kind in frame.dtypes.items() if kind.kind not in "fib"}
        missing |= {name: 0 for name, kind in frame.dtypes.items() if kind.kind == "i"}
        rows = [
            missing | {"structure": batch.read[i].name, "error": str(batch.read[i].error)} for i in rejects
        ]
        frame = pd.concat([frame, pd.DataFrame(rows, index=rejects)]).sort_index()[list(frame.columns)]
        frame = frame.astype(dict.fromkeys(("rows_seen", "training_rows"), "int64"))
    frame.insert(0, "file", [one.file for one in batch.read])
    return frame


def _blank(frame: "pd.DataFrame") -> None:
    """Take back what was said of structures without a prediction."""
    wrong = (frame["error"] != "").to_numpy()
    for name, kind in frame.dtypes.items():
        if name in {"structure", "formula", "error"} or not wrong.any():
            continue
        frame.loc[wrong, name] = np.nan if kind.kind == "f" else 0 if kind.kind in "ib" else ""


def read_columns(model: Model, columns: Path | None) -> OwnColumns | None:
    """Read the table of columns that a model needs beside structures; None where it needs none."""
    asked = {name: reads for name, reads in model.sources.items() if reads.columns}
    if not asked:
        return None
    ((name, reads),) = asked.items()
    if columns is None:
        raise StrataError(
            f"the model of {model.card.name} reads the columns {', '.join(reads.columns)} of {name} beside "
            "the structures: give a table of them, one row per structure, its name in the first column, by "
            "--columns FILE"
        )
    return read_own_columns(columns, reads.columns)


def _check_names(named: Sequence[tuple[str, str]]) -> None:
    """Raise `StrataError` where two structures have one name, and one row of a table would be both's."""
    first: dict[str, str] = {}
    for where, name in named:
        if name in first:
            raise StrataError(
                f"{first[name]} and {where} are both called {name}, and the table of columns has one row for "
                "that name: rename one of them"
            )
        first[name] = where


def read_objects(structures: Any, limits: Ingest, names: Sequence[str] | None = None) -> list[Read]:
    """Read structures of the field's libraries and paths; a single one is a list of one.

    Raises `StrataError` for objects of another kind, for another number of names, and for a file that holds
    several structures where it is given one name.
    """
    items = items_of(structures)
    if names is not None and len(names) != len(items):
        raise StrataError(f"{len(names)} names for {len(items)} structures")
    found: list[Read] = []
    for i, item in enumerate(items):
        name = str(i) if names is None else str(names[i])
        if isinstance(item, str | PathLike):
            several = _read(Path(item), limits)
            if names is not None and len(several) > 1:
                raise StrataError(f"{item} holds {len(several)} structures, and one name was given: {name!r}")
            found += several if names is None else [replace(several[0], name=name)]
            continue
        try:
            structure = as_structure(item, limits.vacuum)
            validate(structure, limits)
            found.append(Read("", name, structure))
        except InvalidStructure as error:
            found.append(Read("", name, None, _why(error)))
    return found


def _read(file: Path, limits: Ingest) -> list[Read]:
    """Read one file; what cannot be read, or used, is a reject."""
    try:
        read = read_structures(file, limits.vacuum)
    except InvalidStructure as error:
        return [Read(str(file), file.stem, None, _why(error))]
    except StrataError as error:
        return [Read(str(file), file.stem, None, str(error))]
    checked = []
    for name, structure in read:
        try:
            validate(structure, limits)
            checked.append(Read(str(file), name, structure))
        except InvalidStructure as error:
            checked.append(Read(str(file), name, None, _why(error)))
    return checked


def _start(reading: Reading) -> None:
    global _reader  # noqa: PLW0603 - a worker holds one for all its tasks
    _reader = Reader(reading)


def _run(files: list[Path]) -> Batch:
    assert _reader is not None
    return _reader.files(files)


def _why(error: InvalidStructure) -> str:
    return f"{error.code}: {error}"
