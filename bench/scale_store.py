"""A large store made up for `bench/scale.py`: real schema, real writers, vectors of random float32."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from core.params import Extract, Ingest
from etl.extract import describe
from featurestore.tables import log
from featurestore.tables.checkpoints import Checkpoint, write_checkpoint
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import LOG, shard_name
from featurestore.tables.schema import EXTRACTIONS, SCHEMAS, features_schema
from featurestore.tables.shards import Chunk, write_chunks
from featurestore.tables.transactions import Together
from featurestore.tables.writer import TableWriter
from zoo.backbones.alignn.backbone import ALIGNN
from zoo.extraction import provenance
from zoo.hub import load_card

SOURCE, DATASET = "alignn_mp_eform", "large"
NAMES = ("atom_7", "atom_8", "bond_8", "angle_4")  # `last` is three of them: 768 numbers
WIDTH = ALIGNN().architecture.hidden_features
CHECKPOINTS = tuple(c for c in ALIGNN().checkpoints if c.name in NAMES)
FEATURES = features_schema(ALIGNN.counts, CHECKPOINTS)
FACTS = provenance(load_card(SOURCE), Extract())
SOME = 100_000  # values of two properties: of structures that lie together, and of ones drawn at random
MOST_ATOMS = 16  # 8.5 on average
_FORMULAS = [f"{a}{b}{n}" for a in ("Al", "Fe", "Mg", "Si", "Zn") for b in ("N", "O", "S") for n in (2, 3, 4)]


def build(root: Path, structures: int) -> dict[str, float]:
    """Write the store; return the seconds of its parts."""
    layout, ids = StoreLayout(root), ids_of(structures)
    started = time.perf_counter()
    _ingest(layout, ids)
    ingested = time.perf_counter()
    _describe(layout)
    making, rng = 0.0, np.random.default_rng(0)
    once = ("structure_id", "extraction_id")
    with TableWriter(layout.features(SOURCE), FEATURES, "extract", alone=True, once=once) as writer:
        for some in _pieces(ids, Extract().chunk):
            before = time.perf_counter()
            table = _vectors(some, rng)
            making += time.perf_counter() - before
            writer.commit(hashlib.sha256("".join(some).encode()).hexdigest(), table, (), FACTS)
    extracted = time.perf_counter()
    return {
        "ingest": ingested - started,
        "vectors": extracted - ingested - making,
        "making them up": making,
    }


def skeleton(root: Path, structures: int, rows: int) -> dict[str, float]:
    """Write the log, and the names of the shards, that so many structures would have; return what it took.

    Every shard is a link to one small file, so that opening can be measured where vectors would not fit.
    """
    layout, count = StoreLayout(root), -(-structures // rows)
    _describe(layout)
    folder = layout.features(SOURCE)
    (folder / LOG).mkdir(parents=True)
    one = write_chunks(folder, {"0": Chunk(_vectors(ids_of(1), np.random.default_rng(0)), (), FACTS)})
    shards = []
    for number, name in enumerate(ids_of(count), 1):
        os.link(folder / one.path, folder / shard_name(name))
        shards.append(replace(one, keys={name: rows}, path=shard_name(name), sha256=name, rows=rows))
        entry = log.Entry(number, "extract", log.now(), (shards[-1],), seen=number)
        log.entry_path(folder, number).write_bytes(log.encode(entry))
    started = time.perf_counter(), time.process_time()
    write_checkpoint(folder / LOG, Checkpoint(count, count, tuple(shards)))
    seconds, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    return {"shards": count, "seconds of a checkpoint": seconds, "cpu": cpu}


def _describe(layout: StoreLayout) -> None:
    """Write the row that says which vectors there are."""
    with TableWriter(layout.extractions(SOURCE), EXTRACTIONS, "extract") as writer:
        shape: Any = SimpleNamespace(name="alignn", counts=ALIGNN.counts, checkpoints=CHECKPOINTS)
        describe(writer, shape, FACTS, is_default=True)


def ids_of(count: int) -> list[str]:
    """Return ids of the form that structures have."""
    return [hashlib.sha256(str(i).encode()).hexdigest() for i in range(count)]


def _pieces(ids: list[str], size: int) -> Iterator[list[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _ingest(layout: StoreLayout, ids: list[str]) -> None:
    """Write structures, entries and targets as `ingest` does: shards of its size, in one transaction."""
    rng, kinds = np.random.default_rng(1), ("structures", "targets", "entries")
    scattered = np.zeros(len(ids), bool)
    scattered[rng.permutation(len(ids))[:SOME]] = True
    facts = {"dataset": DATASET, "provider": "made up", "ingest": Ingest().model_dump_json()}
    writers = [
        TableWriter(layout.table(kind, DATASET), SCHEMAS[kind], "ingest", alone=True) for kind in kinds
    ]
    with writers[0] as structures, writers[1] as targets, writers[2] as entries, Together(*writers):
        start = 0
        for some in _pieces(ids, Ingest().chunk):
            names = [f"e-{start + i}" for i in range(len(some))]
            columns = {"dataset": [DATASET] * len(some), "entry_id": names, "structure_id": some}
            entry = pa.Table.from_pydict(
                columns | {"position": range(start, start + len(some))}, SCHEMAS["entries"]
            )
            drawn = np.flatnonzero(scattered[start : start + len(some)])
            early = range(max(0, min(len(some), SOME - start)))
            parts = [
                _values(columns, name, rows, rng)
                for name, rows in (("all", range(len(some))), ("scattered", drawn), ("together", early))
            ]
            for writer, table in (
                (structures, _structures(some, rng)),
                (targets, pa.concat_tables(parts)),
                (entries, entry),
            ):
                writer.commit(
                    hashlib.sha256(json.dumps([writer.name, start]).encode()).hexdigest(), table, (), facts
                )
            start += len(some)


def _values(columns: dict[str, list[str]], name: str, rows: Any, rng: np.random.Generator) -> pa.Table:
    chosen = {column: [values[i] for i in rows] for column, values in columns.items()}
    more = {
        "property": [name] * len(rows),
        "value": rng.standard_normal(len(rows)),
        "unit": ["eV"] * len(rows),
    }
    return pa.Table.from_pydict(chosen | more, SCHEMAS["targets"])


def _structures(ids: list[str], rng: np.random.Generator) -> pa.Table:
    n = len(ids)
    atoms = rng.integers(1, MOST_ATOMS + 1, n)
    ends = np.concatenate([[0], np.cumsum(atoms)]).astype(np.int32)
    lattice = pa.FixedSizeListArray.from_arrays(pa.array(rng.uniform(0, 9, 9 * n)), 9)
    numbers = pa.ListArray.from_arrays(ends, pa.array(rng.integers(1, 95, ends[-1]).astype(np.uint8)))
    coords = pa.ListArray.from_arrays((3 * ends).astype(np.int32), pa.array(rng.random(3 * ends[-1])))
    columns = {
        "structure_id": pa.array(ids),
        "formula": pa.array([_FORMULAS[i] for i in rng.integers(0, len(_FORMULAS), n)]),
        "n_atoms": pa.array(atoms.astype(np.int32)),
        "volume": pa.array(20.0 * atoms),
        "lattice": lattice,
        "numbers": numbers,
        "frac_coords": coords,
    }
    schema = SCHEMAS["structures"]
    return pa.table([columns[field.name].cast(field.type) for field in schema], schema=schema)


def _vectors(ids: list[str], rng: np.random.Generator) -> pa.Table:
    n = len(ids)
    columns: dict[str, Any] = {
        "structure_id": pa.array(ids),
        "extraction_id": pa.array([FACTS["extraction_id"]] * n),
        "source_model": pa.array([SOURCE] * n),
        **{name: pa.array(rng.integers(1, 5000, n)) for name in ALIGNN.counts},
        "prediction": pa.array(rng.standard_normal(n, dtype=np.float32)),
    }
    for checkpoint in CHECKPOINTS:
        flat = pa.array(rng.standard_normal(n * WIDTH, dtype=np.float32))
        columns[checkpoint.name] = pa.FixedSizeListArray.from_arrays(
            flat, type=FEATURES.field(checkpoint.name).type
        )
    return pa.table([columns[field.name] for field in FEATURES], schema=FEATURES)
