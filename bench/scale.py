"""How the store does with millions of structures: building, opening, asking, and looking after it.

    python bench/scale.py build FOLDER --structures 2000000   # 4 vectors of 256 numbers each: 9.3 GB
    python bench/scale.py ask FOLDER [--cold] [--only NAME …]
    python bench/scale.py care FOLDER                         # verify, compact, gc: as much room again
    python bench/scale.py skeleton FOLDER --structures 100000000 --rows 2048   # the log alone, no vectors

Each figure is a process of its own: `first` is the first question to a store just opened, `again` the median
of the same question asked three times more. `cpu` is the first question's time of all cores, which other work
on the machine changes little. Memory is the most that the process had resident, shards that are mapped
included. With `--cold` the store's files are dropped from the page cache before each process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scale_store import DATASET, FACTS, build, ids_of, skeleton
from store import machine

from featurestore.query.store import FeatureStore, open_store
from featurestore.tables.layout import StoreLayout
from featurestore.tables.maintenance import compact, gc, verify
from featurestore.tables.schema import KINDS

NAME = FACTS["extraction_id"]
QUESTIONS: dict[str, Callable[[FeatureStore], Any]] = {
    "open": lambda store: open_store(store.path),
    "matrix, together": lambda store: store.matrix(DATASET, "together").X.shape,
    "matrix, scattered": lambda store: store.matrix(DATASET, "scattered").X.shape,
    "batches of all": lambda store: sum(len(part) for part in store.batches(DATASET, "all", size=8192)),
    "near": lambda store: store.near("e-1234", 10).num_rows,
    "near, cosine": lambda store: store.near("e-1234", 10, metric="cosine").num_rows,
    "near, one dataset": lambda store: store.near("e-1234", 10, dataset=DATASET).num_rows,
    "structures, 2048": lambda store: len(store.structures(ids_of(50_000)[-2048:])),
    "missing": lambda store: store.missing(NAME).num_rows,
    "sql: count of entries": lambda store: store.sql("SELECT count(*) FROM entries").fetchall(),
    "sql: count of structures": lambda store: store.sql("SELECT count(*) FROM structures").fetchall(),
    "sql: coverage": lambda store: store.sql("FROM coverage").fetchall(),
    "sql: datasets": lambda store: store.sql("FROM datasets").fetchall(),
    "sql: mean by formula (join)": lambda store: store.sql(
        "SELECT formula, avg(value) FROM targets JOIN structures USING (structure_id) "
        "WHERE property = 'scattered' GROUP BY formula"
    ).fetchall(),
    "sql: 10 nearest": lambda store: store.sql(
        "WITH one AS (SELECT atom_8 AS v FROM features JOIN entries USING (structure_id) "
        "WHERE entry_id = 'e-1234') SELECT structure_id, array_distance(atom_8, v) AS d FROM features, one "
        "ORDER BY d LIMIT 10"
    ).fetchall(),
}
CARE: dict[str, Callable[[Path], Any]] = {
    "verify": lambda root: len(verify(root).damages),
    "compact": lambda root: list(compact(root).values()),
    "gc": lambda root: gc(root, older_than=0.0),
}


def main() -> None:
    """Build, or ask; figures go to standard output as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["build", "skeleton", "ask", "care", "one"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--structures", type=int, default=2_000_000)
    parser.add_argument("--rows", type=int, default=2048, help="of a shard")
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--only", nargs="*")
    given = parser.parse_args()
    if given.what == "one":
        print(json.dumps(one(given.folder, given.only[0])))
        return
    print(json.dumps({"machine": machine()}))
    if given.what == "skeleton":
        print(json.dumps({**skeleton(given.folder, given.structures, given.rows), **sizes(given.folder)}))
        return
    if given.what == "build":
        seconds = build(given.folder, given.structures)
        print(json.dumps({"seconds": seconds, "MiB": peak(), "sizes": sizes(given.folder)}))
        return
    for name in given.only or (QUESTIONS if given.what == "ask" else CARE):
        if given.cold:
            drop(given.folder)
        command = [sys.executable, __file__, "one", str(given.folder), "--only", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = json.loads(done.stdout) if done.returncode == 0 else done.stderr[-300:]
        print(json.dumps({name: said, "load": os.getloadavg()[0], "cold": given.cold}), flush=True)
    if given.what == "care":
        print(json.dumps(sizes(given.folder)))


def one(root: Path, name: str) -> dict[str, Any]:
    """Answer one question, and say what it took."""
    before, started, spent = peak(), time.perf_counter(), time.process_time()
    if name in CARE:
        answer = CARE[name](root)
        return {
            "seconds": time.perf_counter() - started,
            "cpu": time.process_time() - spent,
            "MiB": peak(),
            "MiB before": before,
            "answer": answer,
        }
    started, spent = time.perf_counter(), time.process_time()
    store = open_store(root)
    opened, open_cpu = time.perf_counter() - started, time.process_time() - spent
    seconds, cores, answer = [], [], None
    for _ in range(4):
        started, spent = time.perf_counter(), time.process_time()
        answer = QUESTIONS[name](store)
        seconds.append(time.perf_counter() - started)
        cores.append(time.process_time() - spent)
    return {
        "open": opened,
        "open cpu": open_cpu,
        "first": seconds[0],
        "cpu": cores[0],
        "again": statistics.median(seconds[1:]),
        "cpu again": statistics.median(cores[1:]),
        "MiB": peak(),
        "MiB before": before,
        "answer": answer if isinstance(answer, int | tuple) else None,
    }


def peak() -> int:
    """Return the most MiB that this process has had resident."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


def drop(root: Path) -> None:
    """Drop the store's files from the page cache."""
    for path in root.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def sizes(root: Path) -> dict[str, Any]:
    """Return shards, bytes and log of each kind of table."""
    layout, found = StoreLayout(root), dict[str, Any]()
    for kind in KINDS:
        for folder in layout.tables(kind):
            shards = [path.stat().st_size for path in folder.glob("*.parquet")]
            logs = [path.stat().st_size for path in (folder / "_log").glob("*.json")]
            found[f"{kind}/{folder.name}"] = {
                "files": len(shards),
                "bytes": sum(shards),
                "log files": len(logs),
                "log bytes": sum(logs),
                "largest in log": max(logs, default=0),
            }
    return found


if __name__ == "__main__":
    main()
