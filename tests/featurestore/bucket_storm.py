"""A storm over a table in an object store: many writers, a server that misbehaves, and kills at random.

Each writer commits chunks of its own and those that all share, says in a file what was acknowledged, and is
killed and started again. One more commits to two tables at once, and one joins small shards and removes what
is old meanwhile. A writer begins as a fork of a process that has everything imported, so that kills fall into
its work.
"""

import multiprocessing
import os
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from core.errors import StrataError
from featurestore.tables import maintenance
from featurestore.tables.address import located
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import history, snapshot
from featurestore.tables.schema import ENTRIES
from featurestore.tables.transactions import Together
from featurestore.tables.vectors import read_columns
from featurestore.tables.writer import TableWriter
from tests.featurestore.committer import chunk

ROWS = 20  # of a chunk
_AT_ONCE = 3  # kills, before the tables are looked at
PAIR = ("left", "right")  # tables that are committed to together


@dataclass(frozen=True)
class Outcome:
    """What the storm did, and what was left."""

    kills: int
    committed: int  # log entries
    acknowledged: int
    lost: int  # keys that were acknowledged, or asked for, and are not there
    doubled: int  # rows that are there more than once
    equal: bool  # to what one writer makes on a local disk
    torn_reads: int  # that saw fewer rows than an earlier one, or half of a pair
    damaged: int


def write(store: str, numbers: list[int], said: str) -> None:
    """Commit numbered chunks to one table; each that is acknowledged is written to the file `said`."""
    with TableWriter(StoreLayout(located(store)).entries("x"), ENTRIES, "storm") as writer:
        for number in numbers:
            writer.commit(str(number), chunk(number).slice(0, ROWS), provenance={"by": "storm"})
            _say(said, number)


def write_pairs(store: str, numbers: list[int], said: str) -> None:
    """Commit numbered chunks to two tables at once, as soon as nobody looks after them."""
    while True:
        try:
            return _write_pairs(store, numbers, said)
        except StrataError as error:
            if "is being written by" not in str(error):
                raise


def _write_pairs(store: str, numbers: list[int], said: str) -> None:
    layout = StoreLayout(located(store))
    with (
        TableWriter(layout.entries(PAIR[0]), ENTRIES, "storm", alone=True) as left,
        TableWriter(layout.entries(PAIR[1]), ENTRIES, "storm", alone=True) as right,
    ):
        for number in numbers:
            with Together(left, right):
                for writer in (left, right):
                    writer.commit(str(number), chunk(number).slice(0, ROWS))
            _say(said, number)


def care(store: str, _numbers: list[int], _said: str) -> None:
    """Join small shards and remove what is old, over and over."""
    while True:
        with suppress(StrataError):  # a table is being written by one who asked to be alone
            maintenance.compact(store, ("entries",))
        with suppress(StrataError):
            maintenance.gc(store)


def _say(said: str, number: int) -> None:
    with Path(said).open("a", encoding="ascii") as file:
        file.write(f"{number}\n")


def storm(
    store: str,
    scratch: Path,
    *,
    writers: int = 8,
    own: int = 10,
    shared: int = 10,
    kills: int = 20,
    seed: int = 0,
    cared: bool = True,
) -> Outcome:
    """Let the storm pass over `store`, an address, and look at what is left."""
    draw = random.Random(seed)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.featurestore.bucket_storm", "obstore.store", "pandas"])
    tasks = {}
    for number in range(writers):
        mine = [*range(number, own * writers, writers), *range(1000, 1000 + shared)]
        draw.shuffle(mine)
        tasks[f"writer-{number}"] = write, mine
    tasks["pairs"] = write_pairs, list(range(own))
    if cared:
        tasks["care"] = care, []

    def start(name: str) -> multiprocessing.process.BaseProcess:
        function, numbers = tasks[name]
        process = context.Process(target=function, args=(store, numbers, str(scratch / name)), daemon=True)
        process.start()
        return process

    running = {name: start(name) for name in tasks}
    layout = StoreLayout(located(store))
    done, most, torn = 0, 0, 0
    working = dict(running)
    while working:
        time.sleep(draw.uniform(0.02, 0.2))
        for name, process in list(working.items()):
            if name != "care" and not process.is_alive():
                assert process.exitcode == 0, f"{name} ended with {process.exitcode}"
                del working[name]
        if set(working) <= {"care"}:
            break
        for name in draw.sample(sorted(working), min(_AT_ONCE, len(working), kills - done)):
            working[name].kill()
            working[name].join()
            if working[name].exitcode != 0:
                done += 1
                working[name] = start(name)
        rows = snapshot(layout.entries("x")).rows
        pair = [snapshot(layout.entries(name)).rows for name in reversed(PAIR)]
        torn += rows < most or pair[1] < pair[0]
        most = max(most, rows)
    for process in working.values():
        process.kill()
        process.join()
    return _left(store, scratch, writers, own, shared, done, torn)


def _left(store: str, scratch: Path, writers: int, own: int, shared: int, kills: int, torn: int) -> Outcome:
    layout, alone = StoreLayout(located(store)), StoreLayout(scratch / "alone")
    numbers = [*range(own * writers), *range(1000, 1000 + shared)]
    write(str(alone.root), numbers, os.devnull)
    write_pairs(str(alone.root), list(range(own)), os.devnull)
    lost = doubled = committed = 0
    equal = True
    for name in ("x", *PAIR):
        found, wanted = (_rows(one.entries(name)) for one in (layout, alone))
        there = set(snapshot(layout.entries(name)).by_key)
        lost += len(set(snapshot(alone.entries(name)).by_key) - there)
        doubled += sum(n - 1 for n in Counter(found["entry_id"].to_pylist()).values())
        equal = equal and found.equals(wanted)
        committed += len(history(layout.entries(name)))
    acknowledged = 0
    for name in (*(f"writer-{n}" for n in range(writers)), "pairs"):
        said = set((scratch / name).read_text(encoding="ascii").split())
        acknowledged += len(said)
        lost += len(said - set(snapshot(layout.entries("left" if name == "pairs" else "x")).by_key))
    damaged = len(maintenance.verify(store, ("entries",)).damages)
    return Outcome(kills, committed, acknowledged, lost, doubled, equal, torn, damaged)


def _rows(folder: Path) -> pa.Table:
    tables = [read_columns(folder / shard.path, ENTRIES.names) for shard in snapshot(folder).shards]
    return pa.concat_tables(tables).sort_by("entry_id").combine_chunks()
