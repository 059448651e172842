"""Extraction by Ray on one machine against the local engine, in turn, and bit by bit: bench/results/ray.md.

    python bench/cluster.py --store STORE --dataset megnet --count 8000 --rounds 3 --scratch FOLDER

STORE has the dataset ingested; it is only read. Each round extracts the same structures into new stores, by
`workers: -1` of each engine, the two in alternating order, and times the whole of `extract`: with Ray that
includes the start of the cluster, which is printed apart.
"""

import argparse
import os
import shutil
import statistics
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import featurestore
from core.params import Params, parse
from core.ray_cluster import cluster
from etl.extract import extract
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import history
from featurestore.tables.schema import SCHEMAS
from featurestore.tables.writer import TableWriter


def subset(source: Path, dataset: str, count: int, root: Path) -> None:
    """Make a store of some structures of a dataset, drawn at random."""
    store, layout = featurestore.open(source), StoreLayout(root)
    ids = store.sql(
        "SELECT DISTINCT structure_id FROM entries WHERE dataset = ? ORDER BY 1", [dataset]
    ).fetchall()
    drawn = np.random.default_rng(0).permutation([name for (name,) in ids])[:count].tolist()
    wanted = "structure_id IN (SELECT unnest(?::VARCHAR[]))"
    rows = store.sql(f"SELECT * FROM structures WHERE {wanted}", [drawn]).to_arrow_table()
    entries = store.sql(
        f"SELECT * FROM entries WHERE dataset = ? AND {wanted} "
        "QUALIFY row_number() OVER (PARTITION BY structure_id ORDER BY position) = 1 ORDER BY position",
        [dataset, drawn],
    ).to_arrow_table()
    for folder, kind, table in (
        (layout.structures(dataset), "structures", rows),
        (layout.entries(dataset), "entries", entries),
    ):
        schema = SCHEMAS[kind]
        with TableWriter(folder, schema, "bench") as writer:
            arrays = [table[field.name].combine_chunks().cast(field.type) for field in schema]
            writer.commit(kind, pa.Table.from_arrays(arrays, schema=schema))


def settings(args: argparse.Namespace, engine: str) -> Params:
    """Return the settings of an engine."""
    chosen = {"source_models": [args.source], "engine": engine, "workers": args.workers}
    chosen |= {"chunk": 512, "device": "cpu"}
    return parse({"datasets": [args.dataset], "extract": chosen})


def timed(args: argparse.Namespace, engine: str, made: Path) -> tuple[float, float]:
    """Extract into a new store; return structures a second, of all and from the first commit to the last."""
    root = args.scratch / engine
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(made, root)
    started = time.perf_counter()
    (report,) = extract(settings(args, engine), root)
    seconds = time.perf_counter() - started
    rate = report.extracted / seconds
    first, *others = history(StoreLayout(root).features(args.source))
    rows = sum(shard.rows for entry in others for shard in entry.added)
    last = max(datetime.fromisoformat(entry.written_at) for entry in others)
    steady = rows / (last - datetime.fromisoformat(first.written_at)).total_seconds()
    print(
        f"{engine}: {report.extracted:,} structures, {seconds:.1f} s, {rate:.1f} a second, "
        f"{steady:.1f} from the first commit to the last; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return rate, steady


def content(root: Path, source: str) -> pa.Table:
    """Return all rows of a source model's table, sorted."""
    folder = StoreLayout(root).features(source)
    paths = sorted(map(str, folder.glob("*.parquet")))
    return pa.concat_tables([pq.read_table(path) for path in paths]).sort_by("structure_id")


def same_bits(one: pa.Table, other: pa.Table) -> tuple[int, int]:
    """Count the columns that are equal to the bit, and the others."""
    equal = sum(one[name].combine_chunks().equals(other[name].combine_chunks()) for name in one.schema.names)
    return equal, len(one.schema.names) - equal


def main() -> None:
    """Measure, and print what bench/results/ray.md reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--dataset", default="megnet")
    parser.add_argument("--source", default="alignn_mp_eform")
    parser.add_argument("--count", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=-1)
    parser.add_argument("--scratch", type=Path, required=True)
    args = parser.parse_args()
    made = args.scratch / "made"
    shutil.rmtree(made, ignore_errors=True)
    subset(args.store, args.dataset, args.count, made)
    started = time.perf_counter()
    with cluster():
        print(f"start of a local cluster: {time.perf_counter() - started:.1f} s", flush=True)
    rates: dict[str, list[tuple[float, float]]] = {"local": [], "ray": []}
    for turn in range(args.rounds):
        for engine in ("local", "ray") if turn % 2 == 0 else ("ray", "local"):
            rates[engine].append(timed(args, engine, made))
        equal, different = same_bits(*(content(args.scratch / name, args.source) for name in rates))
        print(f"round {turn + 1}: {equal} columns bit-equal, {different} not", flush=True)
    for k, what in enumerate(("whole run", "first commit to last")):
        local, ray = ([found[k] for found in rates[engine]] for engine in ("local", "ray"))
        ratios = [one / other for one, other in zip(ray, local, strict=True)]
        print(
            f"{what}: local {statistics.median(local):.1f}, ray {statistics.median(ray):.1f} structures a "
            f"second; ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        )


if __name__ == "__main__":
    main()
