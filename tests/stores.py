"""Small synthetic stores for tests: two datasets that share structures, random vectors, drawn splits."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import Reject
from featurestore.tables.schema import EXTRACTIONS, SCHEMAS, Checkpoint, features_schema, vector_type
from featurestore.tables.writer import TableWriter
from zoo.backbones.alignn.architecture import Architecture

EXTRACTION = "0123456789abcdef"
SOURCE = "synthetic"  # the source model of the made-up vectors, whose checkpoints are called as ALIGNN's
CHECKPOINTS = Architecture().checkpoints
COUNTS = ("n_bonds", "n_angles", "n_distinct_atoms", "n_distinct_bonds", "n_distinct_angles")
OTHER = "other"  # a second source model, whose checkpoints are of other kinds and widths
OTHER_EXTRACTION = "fedcba9876543210"
MODELS = {  # source model → what it counts, and its checkpoints
    SOURCE: (COUNTS, CHECKPOINTS),
    OTHER: (
        ("n_pairs",),
        (
            Checkpoint("site_0", "site", 0, 4),
            Checkpoint("site_1", "site", 1, 4),
            Checkpoint("site_2", "site", 2, 8),
            Checkpoint("pair_0", "pair", 0, 6),
            Checkpoint("pair_1", "pair", 1, 6),
        ),
    ),
}
UNITS = {"energy": "eV", "gap": "eV", "hardness": "GPa"}


def structure_id(number: int) -> str:
    """Return a made-up structure_id that says which one it is."""
    return f"{number:064x}"


def vectors_of(number: int, seed: int = 0, source: str = SOURCE) -> dict[str, np.ndarray]:
    """Return the made-up vectors of one structure by checkpoint name."""
    rng = np.random.default_rng([seed, number])
    return {
        checkpoint.name: rng.standard_normal(checkpoint.width).astype(np.float32)
        for checkpoint in MODELS[source][1]
    }


def add_dataset(
    root: Path,
    dataset: str,
    numbers: Sequence[int],
    properties: Sequence[str] = ("energy", "gap"),
    rejects: Sequence[Reject] = (),
) -> None:
    """Write a dataset with an entry for each of `numbers`, the structures' numbers (repeats share one).

    Entries are called <dataset>-0, -1, …; every third has no value of `gap`. A value is the sum of
    the structure's atom_8 vector plus the property's place, so that a linear head can learn it.
    """
    layout = StoreLayout(root)
    unique = list(dict.fromkeys(numbers))
    structures = {
        "structure_id": [structure_id(number) for number in unique],
        "formula": ["Si"] * len(unique),
        "n_atoms": [1] * len(unique),
        "volume": [27.0] * len(unique),
        "lattice": [[3.0, 0, 0, 0, 3.0, 0, 0, 0, 3.0]] * len(unique),
        "numbers": [[14]] * len(unique),
        "frac_coords": [[0.0, 0.0, number / 1000] for number in unique],
    }
    entries = {
        "dataset": [dataset] * len(numbers),
        "entry_id": [f"{dataset}-{i}" for i in range(len(numbers))],
        "structure_id": [structure_id(number) for number in numbers],
        "position": list(range(len(numbers))),
    }
    targets = [
        {
            "dataset": dataset,
            "property": name,
            "entry_id": f"{dataset}-{i}",
            "structure_id": structure_id(number),
            "value": float(vectors_of(number)["atom_8"].sum()) + place,
            "unit": UNITS[name],
        }
        for place, name in enumerate(properties)
        for i, number in enumerate(numbers)
        if not (name == "gap" and i % 3 == 2)
    ]
    write(layout.structures(dataset), "structures", pa.Table.from_pydict(structures, SCHEMAS["structures"]))
    write(layout.entries(dataset), "entries", pa.Table.from_pydict(entries, SCHEMAS["entries"]), rejects)
    write(layout.targets(dataset), "targets", pa.Table.from_pylist(targets, SCHEMAS["targets"]))


def features(
    numbers: Sequence[int], extraction: str = EXTRACTION, seed: int = 0, source: str = SOURCE
) -> pa.Table:
    """Return a table of made-up vectors."""
    counts, checkpoints = MODELS[source]
    vectors = [vectors_of(number, seed, source) for number in numbers]
    columns: dict[str, pa.Array] = {
        "structure_id": pa.array([structure_id(number) for number in numbers], pa.string()),
        "extraction_id": pa.array([extraction] * len(numbers), pa.string()),
        "source_model": pa.array([source] * len(numbers), pa.string()),
    }
    for name in counts:
        columns[name] = pa.array([12] * len(numbers), pa.int64())
    columns["prediction"] = pa.array([0.0] * len(numbers), pa.float32())
    for checkpoint in checkpoints:
        flat = np.concatenate([vector[checkpoint.name] for vector in vectors] or [np.empty(0, np.float32)])
        columns[checkpoint.name] = pa.FixedSizeListArray.from_arrays(
            pa.array(flat, pa.float32()), type=vector_type(checkpoint.width)
        )
    return pa.Table.from_pydict(columns, features_schema(counts, checkpoints))


def describe(
    root: Path, extraction: str = EXTRACTION, source: str = SOURCE, *, is_default: bool = True
) -> None:
    """Write the row that says what a source model's vectors are; those of another name are as ALIGNN's."""
    counts, checkpoints = MODELS.get(source, MODELS[SOURCE])
    row = {
        "source_model": source,
        "extraction_id": extraction,
        "backbone": "alignn",
        "is_default": is_default,
        "counts": list(counts),
        "checkpoints": [checkpoint._asdict() for checkpoint in checkpoints],
        "provenance": "{}",
    }
    with TableWriter(StoreLayout(root).extractions(source), EXTRACTIONS, "extract") as writer:
        writer.commit(extraction, pa.Table.from_pylist([row], EXTRACTIONS))
        writer.retain([extraction])


def add_features(
    root: Path,
    numbers: Sequence[int],
    extraction: str = EXTRACTION,
    *,
    chunk: int = 16,
    rejects: Sequence[Reject] = (),
    seed: int = 0,
    source: str = SOURCE,
) -> None:
    """Write the vectors of structures in shards of `chunk`; rejects go with the first."""
    describe(root, extraction, source, is_default=source == SOURCE)
    with TableWriter(
        StoreLayout(root).features(source), features_schema(*MODELS[source]), "extract"
    ) as writer:
        for start in range(0, len(numbers), chunk):
            table = features(numbers[start : start + chunk], extraction, seed, source)
            provenance = {"extraction_id": extraction, "source_model": source}
            writer.commit(f"{extraction}-{start}", table, rejects if start == 0 else (), provenance)


def add_other_features(root: Path, numbers: Sequence[int], rejects: Sequence[Reject] = ()) -> None:
    """Write vectors by the second source model, which is not the default."""
    add_features(root, numbers, OTHER_EXTRACTION, rejects=rejects, source=OTHER)


def write(folder: Path, kind: str, table: pa.Table, rejects: Sequence[Reject] = ()) -> None:
    """Commit one table as one shard."""
    with TableWriter(folder, SCHEMAS[kind], "test") as writer:
        writer.commit("all", table, rejects)


def small_store(root: Path, splits: bool = True) -> Path:
    """Build the store that most tests use, and return its root.

    `alpha`: 40 entries of 40 structures; `beta`: 30 entries of 20 structures, 10 of which are alpha's.
    Both have `energy` (all entries) and `gap` (two of three), in eV. Every structure has vectors under
    one extraction. Splits: `random`, seeds 0 and 1.
    """
    add_dataset(root, "alpha", range(40))
    add_dataset(root, "beta", [*range(30, 50), *range(35, 45)])
    add_features(root, range(50))
    if splits:
        from featurestore.splits.schemes import split_dataset

        for dataset in ("alpha", "beta"):
            split_dataset(root, dataset, schemes=("random",), seeds=(0, 1))
    return root


def add_composition(root: Path, numbers: Sequence[int], source: str = "magpie") -> None:
    """Write a second source model, of one kind, `composition`: four numbers a structure, and no counts.

    The first is the value of `energy`, so that a forest on them can learn it.
    """
    checkpoint = Checkpoint("composition", "composition", 0, 4)
    extraction = "c0" * 8
    row = {
        "source_model": source,
        "extraction_id": extraction,
        "backbone": source,
        "is_default": False,
        "counts": [],
        "checkpoints": [checkpoint._asdict()],
        "provenance": "{}",
    }
    layout = StoreLayout(root)
    with TableWriter(layout.extractions(source), EXTRACTIONS, "extract") as writer:
        writer.commit(extraction, pa.Table.from_pylist([row], EXTRACTIONS))
    schema = features_schema((), (checkpoint,))
    rows = [
        {
            "structure_id": structure_id(number),
            "extraction_id": extraction,
            "source_model": source,
            "prediction": 0.0,
            "composition": [
                float(vectors_of(number)["atom_8"].sum()),
                *vectors_of(number)["atom_0"][:3].tolist(),
            ],
        }
        for number in numbers
    ]
    with TableWriter(layout.features(source), schema, "extract") as writer:
        provenance = {"extraction_id": extraction, "source_model": source}
        writer.commit(extraction, pa.Table.from_pylist(rows, schema), (), provenance)


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Flip one bit of a file."""
    whole = bytearray(path.read_bytes())
    whole[offset] ^= 1 << bit
    path.write_bytes(whole)
