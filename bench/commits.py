"""What the store's log is asked for: openings while a writer commits, long logs, clocks, joined shards.

    OMP_NUM_THREADS=1 python bench/commits.py [--opens 1000] [--commits 10000]

It prints one row per question. Everything is done in a temporary folder.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa

from core.errors import StrataError
from core.params import parse
from etl.extract import extract
from etl.ingest import ingest
from featurestore.query.store import open_store
from featurestore.remote import pull
from featurestore.splits.schemes import split_dataset
from featurestore.tables import log, maintenance
from featurestore.tables.layout import StoreLayout
from featurestore.tables.schema import ENTRIES
from featurestore.tables.writer import TableWriter
from heads.fit import fit

DATASET, SOURCE = "ase_elements", "alignn_mp_eform"


def rows(number: int) -> pa.Table:
    """Return one entry, the `number`-th."""
    name = str(number)
    return pa.Table.from_pylist(
        [{"dataset": "x", "entry_id": name, "structure_id": name, "position": number}], ENTRIES
    )


def write(root: Path, first: int, last: int) -> None:
    """Commit entries one by one, as fast as it goes."""
    with TableWriter(StoreLayout(root).entries("x"), ENTRIES, "bench") as writer:
        for number in range(first, last):
            writer.commit(str(number), rows(number))


def opened(root: Path, opens: int) -> str:
    """Open a store again and again while a writer commits to it; count false gaps and rows that vanish."""
    write(root, 0, 1)
    process = multiprocessing.get_context("spawn").Process(target=write, args=(root, 1, 10**6), daemon=True)
    process.start()
    failed, counts = 0, []
    while (first := log.newest_number(StoreLayout(root).entries("x"))) < 2:  # until it has begun
        time.sleep(0.05)
    for _ in range(opens):
        try:
            counts.append(open_store(root).sql("SELECT count(*) FROM entries").fetchall()[0][0])
        except StrataError:
            failed += 1
    alive = process.is_alive()
    process.kill()
    process.join()
    made = log.snapshot(StoreLayout(root).entries("x")).version - first
    back = sum(later < earlier for earlier, later in pairwise(counts))
    return (
        f"{opens:,} openings while {made:,} entries were committed: {failed} failed, {back} saw fewer rows "
        f"than the one before{'' if alive else '; the writer ended early'}"
    )


def long_log(root: Path, commits: int) -> str:
    """Open a store whose table has many commits, and count what is left of its shards."""
    started = time.monotonic()
    write(root, 0, commits)
    written = time.monotonic() - started
    times = []
    for _ in range(7):
        started = time.monotonic()
        store = open_store(root)
        times.append(time.monotonic() - started)
    asked = "SELECT count(*), count(DISTINCT entry_id) FROM entries"
    shards = len(log.snapshot(StoreLayout(root).entries("x")).shards)
    return (
        f"{commits:,} commits of a row each, in {written:.0f} s: opened in {statistics.median(times):.2f} s "
        f"({min(times):.2f} to {max(times):.2f}); {shards} shards, joined at commit; rows and distinct rows "
        f"{store.sql(asked).fetchall()[0]}"
    )


def clocks(root: Path) -> str:
    """Set the clock back by a day before every commit, and pull the tables elsewhere."""
    moment = datetime(2030, 1, 31, tzinfo=UTC)

    def back() -> Iterator[str]:
        for day in range(10_000):
            yield (moment - timedelta(days=day)).isoformat(timespec="microseconds")

    moments = back()
    ask = 'SELECT "table", sum(rows) AS rows, count(*) AS n FROM shards GROUP BY ALL ORDER BY ALL'

    def versions(place: Path) -> list[list[tuple]]:
        return [open_store(place, n).sql(ask).fetchall() for n in range(open_store(place).version + 1)]

    params = parse({"datasets": [DATASET], "ingest": {"chunk": 16}, "extract": settings(chunk=16)})
    seen: list[list[list[tuple]]] = []
    with patch("featurestore.tables.log.now", lambda: next(moments)):
        ingest(DATASET, params, root)
        seen.append(versions(root))
        extract(params, root)
        seen.append(versions(root))
        split_dataset(root, DATASET, ["random"], [0, 1])
        seen.append(versions(root))
    pull(f"file://{root}", root.parent / "copy")
    seen.append(versions(root.parent / "copy"))
    wrong = sum(
        earlier[n] != seen[-1][n] for earlier in seen[:-1] for n in range(min(len(earlier), len(seen[-1])))
    )
    asks = sum(map(len, seen[:-1]))
    made = len(seen[-1]) - 1
    return f"clock a day back before each of {made} commits, then pulled: {wrong} of {asks} --at differ"


def one_fit(root: Path) -> str:
    """Count what one `fit` commits."""
    heads = {"heads": ["mean", "ridge"], "feature_sets": ["last"], "composition": None}
    params = parse({"datasets": [DATASET], "extract": settings(chunk=2048), "fit": heads})
    ingest(DATASET, params, root)
    extract(params, root)
    split_dataset(root, DATASET, ["random"], [0])
    fit(DATASET, params, root)
    runs = log.history(StoreLayout(root).runs(DATASET))
    predictions = log.history(StoreLayout(root).predictions(DATASET))
    made = open_store(root).sql("SELECT count(*) FROM runs").fetchall()[0][0]
    return f"one fit, {made} runs: {len(runs)} entry of runs, {len(predictions)} of predictions"


def linked(root: Path) -> str:
    """Try maintenance on a store whose table is a link into another one."""
    write(root / "store", 0, 3)
    other = root / "other"
    other.mkdir()
    (other / "entries").symlink_to(root / "store" / "entries")
    refused = 0
    for action in (maintenance.compact, maintenance.gc):
        try:
            action(other)
        except StrataError:
            refused += 1
    versions = log.snapshot(StoreLayout(root / "store").entries("x")).version
    return f"a linked table: {refused} of 2 kinds of maintenance refused, {versions - 3} entries added"


def settings(chunk: int) -> dict[str, object]:
    """Return a section `extract` for one process."""
    return {"source_models": [SOURCE], "chunk": chunk, "workers": 0, "threads": 1, "device": "cpu"}


def main() -> None:
    """Answer all questions."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--opens", type=int, default=1000)
    parser.add_argument("--commits", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        print(one_fit(place / "fit"), flush=True)
        (place / "linked").mkdir()
        print(linked(place / "linked"), flush=True)
        (place / "clocks").mkdir()
        print(clocks(place / "clocks" / "store"), flush=True)
        print(opened(place / "opened", given.opens), flush=True)
        print(long_log(place / "long", given.commits), flush=True)


if __name__ == "__main__":
    main()
