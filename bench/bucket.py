"""A store in an object store: storms of kills on a server that misbehaves, and what requests cost.

    OMP_NUM_THREADS=1 PYTHONPATH=. python bench/bucket.py [--seeds 0 1 2] [--delay 0.02] [--only storms costs]

The server is that of the tests, in this process. `storms`: eight writers of one table, one of two tables at
once, and clean-up, each killed at random and started again; what is left is compared with what one writer
makes on a local disk. `costs`: a pipeline's tables opened, asked and read for a matrix, with every answer of
the server `--delay` seconds late; how many requests it takes, and how long.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import featurestore
from featurestore.tables.address import folder_of_all
from featurestore.tables.layout import StoreLayout
from featurestore.tables.schema import ENTRIES
from featurestore.tables.writer import TableWriter
from tests.featurestore.bucket_storm import storm
from tests.featurestore.committer import chunk
from tests.object_store import ObjectStore, Trouble
from tests.stores import add_dataset, add_features

ADDRESS = "s3://vectors/store"
ROWS = 2_000
QUESTIONS: dict[str, Callable[[Any], Any]] = {
    "sum of the targets": lambda store: store.sql("SELECT sum(value) FROM targets").fetchall(),
    f"matrix of {ROWS:,} × 256": lambda store: store.matrix("large", "energy", "atom_8"),
    f"matrix of {ROWS:,} × 768": lambda store: store.matrix("large", "energy", "last"),
}


def storms(seeds: list[int]) -> None:
    """Print one row per storm."""
    for seed in seeds:
        trouble = Trouble(drop=0.03, error_after=0.015, broken=0.015, busy=0.015, delay=0.06, seed=seed)
        with tempfile.TemporaryDirectory() as folder, ObjectStore(trouble) as server:
            os.environ.update(server.environment, STRATA_CACHE=f"{folder}/cache")
            started = time.monotonic()
            found = storm(ADDRESS, Path(folder), writers=8, own=30, shared=20, kills=60, seed=seed)
            seconds = time.monotonic() - started
            print(
                f"seed {seed}: {found.kills} kills, {found.committed} entries, {found.acknowledged} "
                f"acknowledged; {len(server.requests):,} requests, {dict(sorted(server.met.items()))}; "
                f"{found.lost} lost, {found.doubled} doubled, equal {found.equal}, torn reads "
                f"{found.torn_reads}, damaged {found.damaged}; {seconds:.0f} s"
            )


def costs(delay: float) -> None:
    """Print one row per question."""
    with tempfile.TemporaryDirectory() as folder, ObjectStore() as server:
        os.environ.update(server.environment, STRATA_CACHE=f"{folder}/cache")
        add_dataset(ADDRESS, "large", range(ROWS))
        add_features(ADDRESS, range(ROWS), chunk=ROWS)
        server.latency = delay

        def ask(what: str, question: Callable[[], Any]) -> Any:
            before = len(server.requests), sum(size for *_, size in server.requests)
            started = time.monotonic()
            answer = question()
            seconds = time.monotonic() - started
            size = sum(size for *_, size in server.requests) - before[1]
            print(
                f"{what}: {len(server.requests) - before[0]} requests, {size / 1e6:.1f} MB, {seconds:.2f} s"
            )
            return answer

        shutil.rmtree(folder_of_all())
        for word in ("first", "again"):
            store = ask(f"opened, {word}", lambda: featurestore.open(ADDRESS))
            for what, question in QUESTIONS.items():
                ask(f"{what}, {word}", partial(question, store))
            store.close()
        with TableWriter(StoreLayout(Path(ADDRESS)).entries("more"), ENTRIES, "bench") as writer:
            for number in range(3):
                ask("a commit", partial(writer.commit, str(number), chunk(number)))


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--delay", type=float, default=0.02)
    parser.add_argument("--only", nargs="+", choices=["storms", "costs"], default=["storms", "costs"])
    asked = parser.parse_args()
    if "costs" in asked.only:
        costs(asked.delay)
    if "storms" in asked.only:
        storms(asked.seeds)


if __name__ == "__main__":
    main()
