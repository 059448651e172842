"""Vectors of a few structures in one call, without a store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import StrataError, unknown
from core.lazy import need
from core.params import Extract, Ingest
from core.structure import InvalidStructure, Structure
from core.structure_files import read_structures
from core.validation import validate
from featurestore.tables.log import Reject
from featurestore.tables.schema import CHECKPOINTS, VECTOR, WIDTH

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

LAST = ("atom_8", "bond_8", "angle_4")  # the deepest checkpoint of each kind
_TASK = 64  # structures that go through the engine together


@dataclass(frozen=True)
class Embedding:
    """Vectors of the structures that could be used, in the order given.

    `ids` (n,); `formulas` (n,); `vectors` (n, 256 × checkpoints) float32, the checkpoints side by side;
    `rejects` names what was left out and why; `provenance` says where the numbers came from.
    """

    ids: tuple[Any, ...]
    formulas: tuple[str, ...]
    checkpoints: tuple[str, ...]
    vectors: NDArray[np.float32]
    rejects: tuple[Reject, ...]
    provenance: Mapping[str, str]

    @cached_property
    def frame(self) -> "pd.DataFrame":
        """A row a structure, indexed by id; a column a checkpoint, each cell an array (256,)."""
        import pandas as pd

        columns = {
            name: list(self.vectors[:, k * WIDTH : (k + 1) * WIDTH])
            for k, name in enumerate(self.checkpoints)
        }
        return pd.DataFrame(columns, index=pd.Index(self.ids, name="id"))

    def table(self) -> "pa.Table":
        """The same as an Arrow table: id, formula, a list column a checkpoint; provenance as metadata."""
        import pyarrow as pa

        columns: dict[str, pa.Array] = {
            "id": pa.array([str(name) for name in self.ids], pa.string()),
            "formula": pa.array(self.formulas, pa.string()),
        }
        for k, name in enumerate(self.checkpoints):
            flat = np.ascontiguousarray(self.vectors[:, k * WIDTH : (k + 1) * WIDTH]).reshape(-1)
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(flat), type=VECTOR)
        return pa.table(columns).replace_schema_metadata(
            {f"strata.{key}": text for key, text in self.provenance.items()}
        )


def embed(
    structures: Iterable[Any],
    *,
    ids: Sequence[Any] | None = None,
    checkpoints: Sequence[str] = LAST,
    source_model: str | None = None,
    settings: Extract | None = None,
    limits: Ingest | None = None,
) -> Embedding:
    """Run the source model over structures and return what its checkpoints say about them.

    `structures`: ASE `Atoms`, pymatgen `Structure`s, jarvis-tools `Atoms`, dictionaries of the last two, or
    our own, in any mixture; ASE atoms without a cell are boxed. `ids` name them, by default 0, 1, ….
    `checkpoints`: any of the 23. `settings` and `limits` are the sections `extract` and `ingest` of the
    params (default: as without a params file).

    A structure that cannot be used becomes a reject, with its reason, and the others go on.
    Raises `StrataError` for an unknown checkpoint or source model, ids that do not fit, and objects of
    another kind.

    >>> from ase.build import bulk
    >>> found = embed([bulk("Cu"), bulk("NaCl", "rocksalt", a=5.64)], ids=["copper", "salt"])
    >>> found.vectors.shape, list(found.frame.columns)
    ((2, 768), ['atom_8', 'bond_8', 'angle_4'])
    >>> found.frame.loc["salt", "atom_8"].shape
    (256,)
    """
    items = list(structures)
    names = list(range(len(items))) if ids is None else list(ids)
    if len(names) != len(items):
        raise StrataError(f"embed: {len(names)} ids for {len(items)} structures")
    box = (limits or Ingest()).vacuum
    read: list[tuple[Any, Structure | InvalidStructure]] = []
    for name, item in zip(names, items, strict=True):
        try:
            read.append((name, as_structure(item, box)))
        except InvalidStructure as error:
            read.append((name, error))
    return _run(read, checkpoints, source_model, settings or Extract(), limits or Ingest())


def embed_files(
    files: Iterable[str | Path],
    *,
    checkpoints: Sequence[str] = LAST,
    source_model: str | None = None,
    settings: Extract | None = None,
    limits: Ingest | None = None,
) -> Embedding:
    """Embed every structure of CIF, POSCAR and XYZ files; see `embed` and `read_structures`.

    The ids are the files' stems, or their paths where stems are not unique. A file that cannot be read is a
    reject.
    """
    paths = [Path(file) for file in files]
    stems = [path.stem for path in paths]
    limits = limits or Ingest()
    read: list[tuple[Any, Structure | InvalidStructure]] = []
    for path in paths:
        prefix = "" if stems.count(path.stem) == 1 else f"{path.parent}/"
        try:
            read += [(f"{prefix}{name}", found) for name, found in read_structures(path, limits.vacuum)]
        except InvalidStructure as error:
            read.append((str(path), error))
        except StrataError as error:
            read.append((str(path), InvalidStructure("unreadable", str(error))))
    return _run(read, checkpoints, source_model, settings or Extract(), limits)


def write(embedding: Embedding, path: Path) -> None:
    """Write an embedding as Parquet, as `Embedding.table` has it.

    Raises `StrataError` where nothing could be embedded, for another kind of file, and where the file cannot
    be written.
    """
    import pyarrow.parquet as pq

    if path.suffix != ".parquet":
        raise StrataError(f"{path}: vectors are written as Parquet; name a file that ends in .parquet")
    if not embedding.ids:
        first = embedding.rejects[0] if embedding.rejects else None
        raise StrataError(
            f"no structure could be embedded{f': {first.entry_id}: {first.message}' if first else ''}"
        )
    try:
        pq.write_table(embedding.table(), path)
    except OSError as error:
        raise StrataError(f"{path} cannot be written: {error.strerror or error}") from None


def as_structure(item: Any, vacuum: float | None = None) -> Structure:
    """Read a structure of one of the libraries of the field, told by what it offers.

    Raises `InvalidStructure` where it cannot be used, `StrataError` for an object of another kind.
    """
    if isinstance(item, Structure):
        return item
    if isinstance(item, Mapping):
        return Structure.from_jarvis(item) if "lattice_mat" in item else Structure.from_pymatgen(item)
    if hasattr(item, "lattice_mat"):
        return Structure.from_jarvis(item.to_dict())
    if hasattr(item, "sites"):
        return Structure.from_pymatgen(item)
    if hasattr(item, "cell") and hasattr(item, "numbers"):
        return Structure.from_ase(item, vacuum)
    raise StrataError(
        "structures of ASE, pymatgen, jarvis-tools and Strata can be embedded, "
        f"and this is a {type(item).__name__}"
    )


def _run(
    read: Sequence[tuple[Any, Structure | InvalidStructure]],
    checkpoints: Sequence[str],
    source_model: str | None,
    settings: Extract,
    limits: Ingest,
) -> Embedding:
    need("torch", "extract")
    from etl.extract import provenance
    from zoo.backbones.engine import Engine
    from zoo.hub import load_source

    valid = [c.name for c in CHECKPOINTS]
    for checkpoint in checkpoints:
        if checkpoint not in valid:
            raise unknown("checkpoint", checkpoint, valid)
    if source_model is not None:
        settings = settings.model_copy(update={"source_model": source_model})
    source = load_source(settings.source_model)
    usable: list[tuple[Any, Structure]] = []
    rejects: list[Reject] = []
    for name, item in read:
        try:
            if isinstance(item, InvalidStructure):
                raise item
            validate(item, limits)
            usable.append((name, item))
        except InvalidStructure as error:
            rejects.append(Reject(str(name), error.code, str(error)))
    engine = Engine(source, settings)
    vectors = [np.empty((0, len(checkpoints) * WIDTH), np.float32)]
    done: list[tuple[Any, Structure]] = []
    for start in range(0, len(usable), _TASK):
        task = usable[start : start + _TASK]
        extracted = engine([structure for _, structure in task], checkpoints)
        kept = [i for i in range(len(task)) if i not in extracted.errors]
        vectors.append(extracted.vectors[kept].reshape(len(kept), len(checkpoints) * WIDTH))
        done += [task[i] for i in kept]
        rejects += [Reject(str(task[i][0]), e.code, str(e)) for i, e in sorted(extracted.errors.items())]
    return Embedding(
        ids=tuple(name for name, _ in done),
        formulas=tuple(structure.formula for _, structure in done),
        checkpoints=tuple(checkpoints),
        vectors=np.concatenate(vectors),
        rejects=tuple(rejects),
        provenance=provenance(source.card, settings),
    )
