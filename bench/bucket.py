"""A store in an object store: storms of kills on a server that misbehaves, and what requests cost.

    OMP_NUM_THREADS=1 PYTHONPATH=. python bench/bucket.py [--storms 5] [--delay 0.02] [--only storms costs]

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
from pathlib import Path

import featurestore
from featurestore.tables.address import folder_of_all
from tests.featurestore.bucket_storm import storm
from tests.object_store import ObjectStore, Trouble
from tests.stores import add_dataset, add_features, small_store

ADDRESS = "s3://vectors/store"


def storms(count: int) -> None:
    """Print one row per storm."""
    for seed in range(count):
        trouble = Trouble(drop=0.03, error_after=0.015, broken=0.015, busy=0.015, delay=0.06, seed=seed)
        with tempfile.TemporaryDirectory() as folder, ObjectStore(trouble) as server:
            os.environ.update(server.environment, STRATA_CACHE=f"{folder}/cache")
            started = time.monotonic()
            found = storm(ADDRESS, Path(folder), writers=8, own=60, shared=20, kills=120, seed=seed)
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
        small_store(ADDRESS)
        add_dataset(ADDRESS, "large", range(1000, 3000))
        add_features(ADDRESS, range(1000, 3000), chunk=2000)
        server.latency = delay

        def ask(what: str, question: Callable[[], object]) -> None:
            before, bytes_before = len(server.requests), sum(size for *_, size in server.requests)
            started = time.monotonic()
            question()
            seconds = time.monotonic() - started
            size = sum(size for *_, size in server.requests) - bytes_before
            print(f"{what}: {len(server.requests) - before} requests, {size / 1e6:.1f} MB, {seconds:.2f} s")

        for word in ("first", "again"):
            if word == "first":
                shutil.rmtree(folder_of_all())
            with featurestore.open(ADDRESS) as store:
                ask(f"opened, {word}", lambda: featurestore.open(ADDRESS))
                ask(
                    f"sum of targets, {word}",
                    lambda store=store: store.sql("SELECT sum(value) FROM targets").df(),
                )
                ask(
                    f"matrix of 2,000 × 256, {word}",
                    lambda store=store: store.matrix("large", "energy", "atom_8"),
                )
                ask(
                    f"matrix of 2,000 × 768, {word}",
                    lambda store=store: store.matrix("large", "energy", "last"),
                )
        ask("a commit of one table", lambda: add_dataset(ADDRESS, "more", range(5), ("energy",)))


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storms", type=int, default=5)
    parser.add_argument("--delay", type=float, default=0.02)
    parser.add_argument("--only", nargs="+", choices=["storms", "costs"], default=["storms", "costs"])
    asked = parser.parse_args()
    if "costs" in asked.only:
        costs(asked.delay)
    if "storms" in asked.only:
        storms(asked.storms)


if __name__ == "__main__":
    main()
