"""Storms of SIGKILL: each stage is killed at random times, with readers at the store, and then left to end.

    OMP_NUM_THREADS=1 python bench/storms.py [--kills 30] [--only extract shards …] [--folder SCRATCH]

A stage runs in a forked process that has everything imported, so that every kill falls into its real work.
Times are uniform over 1.3 times what an undisturbed run takes. A run that ends before its kill is compared
with the undisturbed one, table by table and to the bit, and the storm goes on with a fresh copy. Printed is a
row per stage: kills; unfinished files and shards without a name that they left, which shows how many of them
fell into the writing itself; runs compared; reads meanwhile, how many of them failed and how many saw half of
something; rows lost or doubled; and whether metrics.json, after the stages that follow, is that of the
undisturbed run.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storm_folder import SOURCE, content, far, keys, left, sound, vectors, version

from core.params import Params, parse
from etl.extract import extract
from etl.ingest import ingest
from etl.parts import Part
from evaluation.evaluate import evaluate
from featurestore.query.store import open_store
from featurestore.splits.schemes import split_dataset
from heads.fit import fit
from zoo import hub
from zoo.publish import publish_run
from zoo.training.finetune import finetune

DATASET, PUBLISHED = "ase_elements", "published"
MORE = "ase_g2"  # also extracted by the parts
PARTS = 8
CHUNK = 4  # structures per commit of `extract`
FORK = multiprocessing.get_context("fork")  # type: Any
SETTINGS = {
    "datasets": [DATASET],
    "ingest": {"chunk": 8},
    "extract": {"source_models": [SOURCE], "chunk": CHUNK, "workers": 0, "threads": 1, "device": "cpu"},
    "split": {"seeds": [0, 1, 2]},
    "fit": {"heads": ["mean", "ridge"], "feature_sets": ["last", "all"], "composition": None},
    "finetune": {
        "properties": {DATASET: ["volume"]},
        "epochs": 2,
        "batch_size": 16,
        "workers": 0,
        "checkpoint_seconds": 0.0,
    },
    "evaluate": {"bootstrap": 300},
}


def params(*datasets: str) -> Params:
    """Return the settings: cheap heads, small chunks, so that there are many commits to be killed in."""
    return parse(SETTINGS | ({"datasets": list(datasets)} if datasets else {}))


def run_id(store: Path) -> str:
    """Return the trained network that is published: the first fine-tuned one."""
    asked = "SELECT min(run_id) FROM runs WHERE method = 'finetune'"
    return str(open_store(store).sql(asked).fetchall()[0][0])


STAGES: dict[str, Callable[[], object]] = {
    "ingest": lambda: ingest(DATASET, params(), Path("store")),
    "extract": lambda: extract(params(), "store"),
    "split": lambda: split_dataset(Path("store"), DATASET, ["random"], [0, 1, 2]),
    "fit": lambda: fit(DATASET, params(), "store"),
    "finetune": lambda: finetune(DATASET, params(), "store", Path("plots/training")),
    "evaluate": lambda: evaluate(params(), "store"),
    "publish": lambda: publish_run("store", run_id(Path("store")), PUBLISHED, force=True),
}
STORMED = tuple(name for name in STAGES if name != "split")


def _begin(folder: Path, function: Callable[..., object], arguments: tuple[Any, ...], pipe: Any) -> None:
    """Do something in `folder`, in a process of its own; send what it returns, or its traceback."""
    os.chdir(folder)
    os.environ[hub.MODELS_VARIABLE] = str(folder / "models")
    with (folder.parent / "output.txt").open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        found = function(*arguments)
    except BaseException:  # noqa: BLE001 - sent to who waits for it
        pipe.send((False, traceback.format_exc()))
        os._exit(1)
    with suppress(Exception):  # what a stage reports may not be picklable, and is not asked for
        pipe.send((True, found))
    os._exit(0)


def start(folder: Path, function: Callable[..., object], *arguments: Any) -> tuple[Any, Any]:
    """Fork a process that does something; this one touches no threads, so that it can be forked."""
    mine, theirs = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_begin, args=(folder, function, arguments, theirs))
    process.start()
    theirs.close()
    return process, mine


def finish(process: Any, pipe: Any) -> Any:
    """Wait for a process and return what it sent; raises RuntimeError with its traceback."""
    done, found = False, f"ended with {process.exitcode} and said nothing"
    with suppress(EOFError):
        done, found = pipe.recv()
    process.join()
    if not done and process.exitcode:
        raise RuntimeError(found)
    return found


def forked(folder: Path, function: Callable[..., object], *arguments: Any) -> Any:
    """Do something in a process of its own and return its result."""
    return finish(*start(folder, function, *arguments))


TITLES = (
    "stage",
    "kills",
    "files left",
    "runs compared",
    "reads",
    "reader errors",
    "half visible",
    "lost",
    "doubled",
    "metrics.json",
)
Allowed = dict[str, set[int]]  # table → the numbers of rows before a stage and after it


@dataclass
class Seen:
    """What a reader saw."""

    reads: int = 0
    errors: list[str] = field(default_factory=list)
    halves: list[str] = field(default_factory=list)


def read(stop: Path, stage: str, allowed: Allowed) -> Seen:
    """Open the store again and again until `stop` is there."""
    seen = Seen()
    before: dict[str, int] = {}
    while not stop.exists():
        try:
            now, wrong = _look(stage, allowed)
        except Exception:  # noqa: BLE001 - whatever it is, it is counted
            seen.errors.append(traceback.format_exc())
            continue
        seen.reads += 1
        seen.halves += wrong
        seen.halves += [f"{name}: {n} rows, {now[name]} later" for name, n in before.items() if now[name] < n]
        before = now
    return seen


def _look(stage: str, allowed: Allowed) -> tuple[dict[str, int], list[str]]:
    store = open_store("store")
    names = ("entries", "targets", "structures", "stored_features", "runs", "predictions", "scores")
    ask = ", ".join(f"(SELECT count(*) FROM {name})" for name in names)
    counts = dict(zip(names, store.sql(f"SELECT {ask}").fetchall()[0], strict=True))
    whole = {"ingest": names[:3], "evaluate": ("scores",)}.get(stage, ())
    wrong = [f"{name}: {counts[name]} rows" for name in whole if counts[name] not in allowed[name]]
    if stage == "ingest" and len({counts[name] == max(allowed[name]) for name in whole}) > 1:
        wrong.append(f"part of a dataset: {counts}")
    vectors = counts["stored_features"]
    if stage == "extract" and vectors % CHUNK and vectors not in allowed["stored_features"]:
        wrong.append(f"part of a chunk: {vectors} vectors")
    apart = store.sql(
        "SELECT count(*) FROM runs FULL JOIN (SELECT DISTINCT run_id, true AS there FROM predictions) AS p "
        "USING (run_id) WHERE runs.run_id IS NULL OR p.there IS NULL"
    ).fetchall()[0][0]
    if apart:
        wrong.append(f"{apart} runs without predictions, or the other way round")
    if stage == "evaluate" and Path("metrics.json").exists():
        json.loads(Path("metrics.json").read_text())
    if stage == "publish":
        hub._read_once.cache_clear()  # as another process would read it
        hub.load_source(PUBLISHED)
    return counts, wrong


@dataclass
class Row:
    """A row of the table."""

    stage: str
    kills: int = 0
    left: int = 0
    runs: int = 0
    reads: int = 0
    errors: int = 0
    halves: int = 0
    lost: int = 0
    doubled: int = 0
    metrics: str = "–"
    far: float = 0.0  # largest difference between vectors of one writer and of several
    notes: list[str] = field(default_factory=list)

    def compare(self, wanted: dict[str, list[str]], found: dict[str, list[str]], damaged: int) -> None:
        """Count what is there too little or too much."""
        self.runs += 1
        for name in sorted({*wanted, *found}):
            one, other = Counter(wanted.get(name, [])), Counter(found.get(name, []))
            if one != other:
                self.notes.append(f"{name}: {(one - other).total()} lost, {(other - one).total()} too many")
            self.lost += (one - other).total()
            self.doubled += (other - one).total()
        self.lost += damaged

    def add(self, seen: Seen) -> None:
        """Count what a reader saw."""
        self.reads += seen.reads
        self.errors += len(seen.errors)
        self.halves += len(seen.halves)
        self.notes += [*seen.errors[:2], *seen.halves[:2]]

    def __str__(self) -> str:
        numbers = (self.reads, self.errors, self.halves, self.lost, self.doubled)
        cells = (self.stage, self.kills, self.left, self.runs, *numbers, self.metrics)
        return f"| {' | '.join(map(str, cells))} |"


class Storm:
    """The undisturbed run, kept after each stage, and storms that start from it."""

    def __init__(self, scratch: Path, kills: int, seed: int) -> None:
        self.scratch, self.kills = scratch, kills
        self.random = random.Random(seed)
        self.wanted: dict[str, dict[str, list[str]]] = {}
        self.seconds: dict[str, float] = {}
        self.allowed: dict[str, Allowed] = {}
        folder = scratch / "undisturbed"
        (folder / "models").mkdir(parents=True)
        forked(folder, ingest, MORE, params(MORE), Path("store"))  # a store that readers can open
        for name, stage in STAGES.items():
            if name == "publish":  # a model of that name is there, and is replaced
                forked(folder, self._publish_another)
            shutil.copytree(folder, scratch / f"before-{name}")
            before = forked(folder, _look, "", {})[0]
            started = time.monotonic()
            forked(folder, stage)
            self.seconds[name] = time.monotonic() - started
            self.wanted[name] = forked(folder, content)
            after = forked(folder, _look, "", {})[0]
            self.allowed[name] = {table: {before[table], after[table]} for table in before}
        self.metrics = (folder / "metrics.json").read_bytes()

    @staticmethod
    def _publish_another() -> None:
        asked = "SELECT max(run_id) FROM runs WHERE method = 'finetune'"
        other = str(open_store("store").sql(asked).fetchall()[0][0])
        publish_run("store", other, PUBLISHED)

    def stage(self, name: str) -> Row:
        """Kill one stage, and compare what comes of it."""
        row = Row(name)
        while row.kills < self.kills or row.runs == 0:
            folder = self._fresh(f"before-{name}")
            stop = folder / "stop"
            readers = [start(folder, read, stop, name, self.allowed[name]) for _ in range(2)]
            while True:
                process, pipe = start(folder, STAGES[name])
                if row.kills < self.kills:
                    process.join(self.random.uniform(0, 1.3 * self.seconds[name]))
                    if process.is_alive():
                        os.kill(process.pid, signal.SIGKILL)
                        process.join()
                        row.kills += 1
                        continue
                finish(process, pipe)
                break
            stop.touch()
            for reader in readers:
                row.add(finish(*reader))
            row.left += forked(folder, left)
            row.compare(self.wanted[name], forked(folder, content), forked(folder, sound))
        for later in list(STAGES)[list(STAGES).index(name) + 1 :]:
            if later != "publish":
                forked(folder, STAGES[later])
        row.metrics = "equal" if (folder / "metrics.json").read_bytes() == self.metrics else "OTHER"
        return row

    def parts(self) -> Row:
        """Kill any of eight writers that work on parts of one store, and start it again."""
        row = Row(f"extract, {PARTS} shards at once")
        both = params(DATASET, MORE)
        one = self.scratch / "one-writer"
        shutil.copytree(self.scratch / "before-extract", one)
        started = time.monotonic()
        forked(one, extract, both, "store")
        pause = 4 * (time.monotonic() - started) / self.kills
        while row.kills < self.kills or row.runs == 0:
            folder = self._fresh("before-extract")
            stop = folder / "stop"
            readers = [start(folder, read, stop, "shards", {}) for _ in range(2)]
            self._kill_parts(folder, both, row, pause)
            stop.touch()
            for reader in readers:
                row.add(finish(*reader))
            row.left += forked(folder, left)
            row.compare(forked(one, keys), forked(folder, keys), forked(folder, sound))
            row.far = max(row.far, far(forked(one, vectors), forked(folder, vectors)))
            before = forked(folder, version)
            forked(folder, extract, both, "store")
            if forked(folder, version) != before:
                row.notes.append("extract without --shard found something to do")
        return row

    def _kill_parts(self, folder: Path, asked: Params, row: Row, pause: float) -> None:
        def begin(number: int) -> tuple[Any, Any]:
            return start(folder, extract, asked, "store", None, Part(number, PARTS))

        running = {number: begin(number) for number in range(1, PARTS + 1)}
        while running:
            time.sleep(self.random.uniform(0, pause))
            for number in [number for number, (process, _) in running.items() if not process.is_alive()]:
                finish(*running.pop(number))
            if running and row.kills < self.kills:
                number = self.random.choice(sorted(running))
                process, _ = running[number]
                if process.is_alive():
                    os.kill(process.pid, signal.SIGKILL)
                    process.join()
                    row.kills += 1
                    running[number] = begin(number)

    def _fresh(self, state: str) -> Path:
        folder = self.scratch / "storm"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.scratch / state, folder)
        return folder


def main() -> None:
    """Run the storms that are asked for and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=[*STORMED, "shards"], default=[*STORMED, "shards"])
    parser.add_argument("--folder", type=Path, help="where to work; by default a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as place:
        storm = Storm(Path(place).resolve(), given.kills, given.seed)
        print(", ".join(f"{name} {seconds:.1f} s" for name, seconds in storm.seconds.items()), flush=True)
        print(f"| {' | '.join(TITLES)} |\n| --- |{' ---: |' * (len(TITLES) - 2)} --- |")
        failed = False
        for name in given.only:
            row = storm.parts() if name == "shards" else storm.stage(name)
            print(row, flush=True)
            if row.far:
                print(f"vectors differ by {row.far:.1e} at most: they were run in other batches")
            for note in row.notes:
                print(note, file=sys.stderr)
            failed |= bool(row.notes) or row.metrics == "OTHER"
    sys.exit(failed)


if __name__ == "__main__":
    main()
