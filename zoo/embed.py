"""Vectors of a few structures in one call, without a store."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import StrataError, unknown
from core.params import Extract, Ingest
from core.structure import InvalidStructure, Structure
from core.structure_files import read_structures
from core.validation import validate
from featurestore.query.feature_sets import FeatureSet, kinds_of
from featurestore.query.store import FeatureStore
from featurestore.tables.log import Reject
from featurestore.tables.schema import Checkpoint, vector_type
from zoo.extraction import extraction_id, make_engine, provenance, together
from zoo.given import Named, items_of, prefixes_of, read
from zoo.hub import backbone_of, load_card

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_TASK = 64  # structures that go through the engine together


@dataclass(frozen=True)
class Embedding:
    """Vectors of the structures that could be used, in the order given.

    `ids` (n,); `formulas` (n,); `vectors` (n, d) float32, the `checkpoints` side by side, each of its own
    width; `rejects` names what was left out and why; `provenance` says where the numbers came from.
    """

    ids: tuple[Any, ...]
    formulas: tuple[str, ...]
    checkpoints: tuple[Checkpoint, ...]
    vectors: NDArray[np.float32]
    rejects: tuple[Reject, ...]
    provenance: Mapping[str, str]

    @cached_property
    def frame(self) -> "pd.DataFrame":
        """One row per structure, indexed by id; one column per checkpoint, each cell an array (width,)."""
        import pandas as pd

        columns = {name: list(vectors) for name, vectors in self._blocks()}
        return pd.DataFrame(columns, index=pd.Index(self.ids, name="id"))

    def table(self) -> "pa.Table":
        """The same as an Arrow table: id, formula, a list column a checkpoint; provenance as metadata."""
        import pyarrow as pa

        columns: dict[str, pa.Array] = {
            "id": pa.array([str(name) for name in self.ids], pa.string()),
            "formula": pa.array(self.formulas, pa.string()),
        }
        for name, vectors in self._blocks():
            flat = np.ascontiguousarray(vectors).reshape(-1)
            columns[name] = pa.FixedSizeListArray.from_arrays(
                pa.array(flat), type=vector_type(vectors.shape[1])
            )
        return pa.table(columns).replace_schema_metadata(
            {f"strata.{key}": text for key, text in self.provenance.items()}
        )

    def _blocks(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Go through the checkpoints' names and vectors (n, width)."""
        at = 0
        for checkpoint in self.checkpoints:
            yield checkpoint.name, self.vectors[:, at : at + checkpoint.width]
            at += checkpoint.width


def embed(
    structures: Any,
    *,
    ids: Sequence[Any] | None = None,
    checkpoints: Sequence[str] | None = None,
    source_model: str | None = None,
    settings: Extract | None = None,
    limits: Ingest | None = None,
) -> Embedding:
    """Run the source model over one structure or many and return what its checkpoints say about them.

    `structures`: ASE `Atoms`, a pymatgen `Structure`, jarvis-tools `Atoms`, a dictionary of the last two, one
    of our own, or the path of a CIF, POSCAR, XYZ or PDB; or an iterable of them in any mixture. ASE atoms
    without a cell are boxed. `ids` name them, by default by their place 0, 1, …, those of a file by its stem.
    `checkpoints`: any that the source model has; None: the deepest of each kind. `settings` and `limits` are
    the sections `extract` and `ingest` of the params (default: as without a params file).

    A structure that cannot be used becomes a reject, with its reason, and the others go on.
    Raises `StrataError` for an unknown checkpoint or source model, ids that do not fit, files that are not
    there and objects of another kind.

    >>> from ase.build import bulk
    >>> embed(bulk("Cu")).formulas
    ('Cu',)
    >>> found = embed([bulk("Cu"), bulk("NaCl", "rocksalt", a=5.64)], ids=["copper", "salt"])
    >>> found.vectors.shape == (2, sum(checkpoint.width for checkpoint in found.checkpoints))
    True
    >>> deepest = found.checkpoints[0]
    >>> found.frame.loc["salt", deepest.name].shape == (deepest.width,)
    True
    """
    limits = limits or Ingest()
    named = read(items_of(structures), None if ids is None else list(ids), limits.vacuum)
    return _run(named, checkpoints, source_model, settings or Extract(), limits)


def embed_files(
    files: Iterable[str | Path],
    *,
    checkpoints: Sequence[str] | None = None,
    source_model: str | None = None,
    settings: Extract | None = None,
    limits: Ingest | None = None,
) -> Embedding:
    """Embed every structure of CIF, POSCAR and XYZ files; see `embed` and `read_structures`.

    The ids are the files' stems, or their paths where stems are not unique. A file that cannot be read is a
    reject.
    """
    paths = [Path(file) for file in files]
    prefixes = prefixes_of(paths)
    limits = limits or Ingest()
    named: list[Named] = []
    for path in paths:
        try:
            own = read_structures(path, limits.vacuum)
            named += [(f"{prefixes[path]}{name}", structure) for name, structure in own]
        except InvalidStructure as error:
            named.append((str(path), error))
        except StrataError as error:
            named.append((str(path), InvalidStructure("unreadable", str(error))))
    return _run(named, checkpoints, source_model, settings or Extract(), limits)


def vector_of(
    store: FeatureStore, item: Any, chosen: FeatureSet, settings: Extract, limits: Ingest
) -> NDArray[np.float32]:
    """Return the (width,) vector of one structure or of the one in a file, comparable to those of a store.

    chosen: one checkpoint of a source model in the store. Raises `StrataError` where there are several
    structures or the source model here is another than the store's, `InvalidStructure` where it cannot be
    used.
    """
    (source,), (block,) = chosen.sources, chosen.blocks
    found = read(items_of(item), None, limits.vacuum)
    if len(found) != 1:
        where = f"{item} holds" if isinstance(item, str | Path) else "these are"
        raise StrataError(f"{where} {len(found)} structures; ask for one at a time")
    ((_, structure),) = found
    if isinstance(structure, InvalidStructure):
        raise structure
    here, there = extraction_id(load_card(source), settings.precision), chosen.extraction_id
    if here != there:
        raise StrataError(
            f"{store.path} has vectors by {source} under extraction {there}, and {source} gives {here} here: "
            f"they are not comparable; run: strata extract {source}"
        )
    validate(structure, limits)
    result = make_engine(source, settings)([structure], [block.checkpoint])
    if result.errors:
        raise result.errors[0]
    return np.asarray(result.vectors[block.checkpoint][0], np.float32)


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


def _run(
    named: Sequence[Named],
    checkpoints: Sequence[str] | None,
    source_model: str | None,
    settings: Extract,
    limits: Ingest,
) -> Embedding:
    name = source_model or settings.default
    card = load_card(name)
    chosen = chosen_checkpoints(backbone_of(card).checkpoints, checkpoints, name)
    names = [checkpoint.name for checkpoint in chosen]
    usable: list[tuple[Any, Structure]] = []
    rejects: list[Reject] = []
    for label, item in named:
        try:
            if isinstance(item, InvalidStructure):
                raise item
            validate(item, limits)
            usable.append((label, item))
        except InvalidStructure as error:
            rejects.append(Reject(str(label), error.code, str(error)))
    engine = make_engine(name, settings)
    vectors = [np.empty((0, sum(checkpoint.width for checkpoint in chosen)), np.float32)]
    done: list[tuple[Any, Structure]] = []
    for start in range(0, len(usable), _TASK):
        task = usable[start : start + _TASK]
        extracted = engine([structure for _, structure in task], names)
        kept = [i for i in range(len(task)) if i not in extracted.errors]
        vectors.append(together(extracted.vectors, names)[kept])
        done += [task[i] for i in kept]
        rejects += [Reject(str(task[i][0]), e.code, str(e)) for i, e in sorted(extracted.errors.items())]
    return Embedding(
        ids=tuple(label for label, _ in done),
        formulas=tuple(structure.formula for _, structure in done),
        checkpoints=chosen,
        vectors=np.concatenate(vectors),
        rejects=tuple(rejects),
        provenance=provenance(card, settings),
    )


def chosen_checkpoints(
    known: Sequence[Checkpoint], asked: Sequence[str] | None, source_model: str
) -> tuple[Checkpoint, ...]:
    """Find checkpoints by name; by default the deepest of each kind."""
    if asked is None:
        return tuple([c for c in known if c.kind == kind][-1] for kind in kinds_of(known))
    by_name = {checkpoint.name: checkpoint for checkpoint in known}
    for name in asked:
        if name not in by_name:
            raise unknown("checkpoint", name, by_name, f"source model {source_model}")
    return tuple(by_name[name] for name in asked)
