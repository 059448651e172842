"""Is `strata predict` on many files held up by anything but the networks?

    python bench/predict.py STORE DATASET/PROPERTY FOLDER [COUNT]

FOLDER has CIF files, of which COUNT are predicted, and a fifth of them before for the memory. Beside it, in
the same process, the source models that the model reads run one after the other over the same structures,
read beforehand, as `strata extract` runs them. Writes bench/results/predict.md.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from core.params import load as load_params
from core.structure_files import read_structures
from zoo.extraction import run_tasks
from zoo.load import load
from zoo.model import Model
from zoo.predict import expand, predict_files

ROOT = Path(__file__).parents[1]
OUT = ROOT / "bench/results/predict.md"
TASK = 32


def main(store: str, name: str, folder: str, count: int) -> None:
    """Measure both, and write the page."""
    model = load(name, store=store, params=load_params(ROOT / "params.yaml"))
    files = expand([folder])[:count]
    few_seconds, few_memory = watched(lambda: predicted(model, files[: count // 5]))
    seconds, memory = watched(lambda: predicted(model, files))
    structures = [structure for file in files for _, structure in read_structures(file)]
    tasks = [structures[i : i + TASK] for i in range(0, len(structures), TASK)]
    each = {}
    for source in model.sources:
        each[source], _ = watched(lambda source=source: extracted(model, source, tasks))
    networks = sum(each.values())
    rows = [
        ("`strata predict`, files to table", seconds, count / seconds, memory),
        (f"the same, {count // 5:,} files", few_seconds, count // 5 / few_seconds, few_memory),
        *(
            (f"`{source}` alone, structures in memory", value, count / value, None)
            for source, value in each.items()
        ),
        ("networks, one after the other", networks, count / networks, None),
    ]
    lines = [
        "# Predictions of many files",
        "",
        f"`python bench/predict.py STORE {name} FOLDER {count}`: {count:,} CIF files of `megnet`,",
        f"{os.cpu_count()} cores; workers start within the time. Memory: of all processes together, at most.",
        "",
        "| what | s | structures/s | GiB |",
        "| --- | ---: | ---: | ---: |",
        *[
            f"| {what} | {s:.1f} | {rate:.0f} | {'' if gib is None else f'{gib:.2f}'} |"
            for what, s, rate, gib in rows
        ],
        "",
        f"`strata predict` reaches {networks / seconds:.0%} of the networks' rate.",
    ]
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def predicted(model: Model, files: list[Path]) -> None:
    """Predict, and keep nothing."""
    done = sum(int((frame["error"] == "").sum()) for frame in predict_files(model, files))
    print(f"{done:,} of {len(files):,} predicted", flush=True)


def extracted(model: Model, source: str, tasks: list[list]) -> None:
    """Run one source model, and keep nothing."""
    for _ in run_tasks(source, tasks, model.settings, sum(map(len, tasks))):
        pass


def watched(work: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds that something takes, and the memory of this process and its children in GiB."""
    most, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            most[0] = max(most[0], memory_of(os.getpid()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    ended.set()
    watcher.join()
    return seconds, most[0]


def memory_of(pid: int) -> float:
    """Return the resident memory of a process and its children, in GiB."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30 + sum(memory_of(int(child)) for child in children)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 10_000)
