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
import threading
import time
from contextlib import suppress
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

WHAT = ("whole run", "first commit to last", "by CPU seconds between these")


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
    chosen |= {"chunk": args.chunk, "device": "cpu"}
    return parse({"datasets": [args.dataset], "extract": chosen})


class Spent:
    """CPU seconds of this process and all that it started, by a look at /proc every half second.

    On a machine that others use too, seconds of the clock say little, and those of the processor much.
    """

    def __init__(self) -> None:
        self._last: dict[int, float] = {}
        self._looks: list[tuple[float, float]] = []  # moment, seconds until then
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Spent":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def until(self, moment: float) -> float:
        """Return the seconds that were spent until a moment, in seconds since 1970."""
        moments, spent = zip(*self._looks, strict=True)
        return float(np.interp(moment, moments, spent))

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            self._last |= _processes()
            self._looks.append((time.time(), sum(self._last.values())))


def _processes() -> dict[int, float]:
    """Return the CPU seconds of this process and its descendants, by process id."""
    tick = os.sysconf("SC_CLK_TCK")
    known: dict[int, tuple[int, float]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            facts = path.read_text().rpartition(")")[2].split()
            known[int(path.parent.name)] = (int(facts[1]), (int(facts[11]) + int(facts[12])) / tick)
    ours = {os.getpid()}
    for _ in known:
        more = {pid for pid, (parent, _) in known.items() if parent in ours} - ours
        if not more:
            break
        ours |= more
    return {pid: known[pid][1] for pid in ours}


def timed(args: argparse.Namespace, engine: str, made: Path) -> tuple[float, ...]:
    """Extract into a new store; return `WHAT`."""
    root = args.scratch / engine
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(made, root)
    started = time.perf_counter()
    with Spent() as spent:
        (report,) = extract(settings(args, engine), root)
    rate = report.extracted / (time.perf_counter() - started)
    first, *others = history(StoreLayout(root).features(args.source))
    rows = sum(shard.rows for entry in others for shard in entry.added)
    begin, *ends = (datetime.fromisoformat(one.written_at).timestamp() for one in (first, *others))
    steady = rows / (max(ends) - begin)
    cost = (spent.until(max(ends)) - spent.until(begin)) / rows
    print(
        f"{engine}: {report.extracted:,} structures, {rate:.1f} a second, {steady:.1f} from the first commit "
        f"to the last, there {1e3 * cost:.1f} CPU ms each; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return rate, steady, 1 / cost


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
    parser.add_argument("--chunk", type=int, default=512, help="structures a shard")
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
    rates: dict[str, list[tuple[float, ...]]] = {"local": [], "ray": []}
    for turn in range(args.rounds):
        for engine in ("local", "ray") if turn % 2 == 0 else ("ray", "local"):
            rates[engine].append(timed(args, engine, made))
        equal, different = same_bits(*(content(args.scratch / name, args.source) for name in rates))
        print(f"round {turn + 1}: {equal} columns bit-equal, {different} not", flush=True)
    for k, what in enumerate(WHAT):
        local, ray = ([found[k] for found in rates[engine]] for engine in ("local", "ray"))
        ratios = [one / other for one, other in zip(ray, local, strict=True)]
        print(
            f"structures a second, {what}: local {statistics.median(local):.1f}, ray "
            f"{statistics.median(ray):.1f}; ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to "
            f"{max(ratios):.3f})"
        )


if __name__ == "__main__":
    main()
