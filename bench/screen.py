"""How long screening takes, and how much memory: all structures of a dataset, by the model of a property.

    python bench/screen.py PROJECT [MODEL [DATASET]]

PROJECT is a folder with params.yaml and a store that has the model's scores (`strata evaluate`) and vectors
of every structure of the dataset (`strata extract`); by default the model is dielectric_constant/n and the
dataset megnet. Each measurement is a process of its own, begun three times; the median counts. Writes
bench/results/screen.md.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNS = 3
WINDOW = (1.5, 2.0)
TOP = 50


def main() -> None:
    """Measure, and write the page."""
    project = Path(sys.argv[1]).resolve()
    model, dataset = [*sys.argv[2:], *("dielectric_constant/n", "megnet")[len(sys.argv) - 2 :]]
    runs = [once(project, model, dataset) for _ in range(RUNS)]
    for run in runs:
        print(run)
    write(runs, model, dataset)


def once(project: Path, model: str, dataset: str) -> dict:
    """Run one process; seconds by the wall and by its cores, GiB at most, and what it says of its parts."""
    busy = os.getloadavg()[0]
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-P", __file__, "--inside", model, dataset],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    told = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the screening ended with {status}")
    return json.loads(told) | {
        "wall": time.perf_counter() - started,
        "user": used.ru_utime,
        "system": used.ru_stime,
        "memory": used.ru_maxrss / 2**20,
        "load": busy,
    }


def inside(name: str, dataset: str) -> None:
    """Screen in this process, and tell the seconds of each part: by the wall, and by the cores."""
    from featurestore.query.store import open_store
    from zoo.candidates import Candidates
    from zoo.load import load
    from zoo.screen import Wanted, rank

    clock = {"import": (time.perf_counter(), time.process_time())}
    model = load(name)
    clock["load"] = (time.perf_counter(), time.process_time())
    with open_store("store", files=False) as store:
        candidates = Candidates.of(model, store, [dataset])
        found = rank(candidates, Wanted(*WINDOW))
        clock["rank"] = (time.perf_counter(), time.process_time())
        best = found.frame(TOP)
    clock["best"] = (time.perf_counter(), time.process_time())
    seconds = {
        part: [now[i] - before[i] for i in range(2)] for (_, before), (part, now) in pairwise(clock.items())
    }
    width = sum(reads.width for reads in model.sources.values())
    facts = {"structures": len(candidates), "ranked": len(found), "best": len(best), "width": width}
    facts |= {"members": len(model.members), "inside": found.predicted["domain"].to_pylist().count("inside")}
    print(json.dumps(facts | {"seconds": seconds}))


def write(runs: list[dict], model: str, dataset: str) -> None:
    """bench/results/screen.md."""
    first = runs[0]

    def middle(of) -> float:
        return statistics.median(of(run) for run in runs)

    parts = {
        "load the model (its domain and intervals are made from the store)": "load",
        f"predict, place and rank {first['ranked']:,} structures": "rank",
        f"answer in full for the best {TOP}": "best",
    }
    loads = ", ".join(f"{run['load']:.1f}" for run in runs)
    lines = [
        "# Screening",
        "",
        f"`python bench/screen.py PROJECT`: the model of {model}, which has {first['members']} members and",
        f"reads {first['width']:,} numbers of each structure, over the {first['structures']:,} structures of",
        f"{dataset}; window {WINDOW[0]:g} to {WINDOW[1]:g}. Median of {RUNS} processes on {os.cpu_count()}",
        "cores; other work that waited for the same cores when they began (load of the machine, 0 is idle):",
        f"{loads}.",
        "",
        "| | wall, s | cores, s |",
        "| --- | ---: | ---: |",
    ]
    for words, part in parts.items():
        wall, cores = (middle(lambda run, i=i, part=part: run["seconds"][part][i]) for i in range(2))
        lines.append(f"| {words} | {wall:.1f} | {cores:.1f} |")
    wall, cores = middle(lambda run: run["wall"]), middle(lambda run: run["user"] + run["system"])
    memory = middle(lambda run: run["memory"])
    lines += [
        f"| the whole process, with imports | {wall:.1f} | {cores:.1f} |",
        "",
        f"Peak memory of the process: {memory:.2f} GiB. {first['inside']:,} of the structures lie inside the",
        "model's domain. Seconds of the cores are those of the user and the system together.",
    ]
    (ROOT / "bench/results/screen.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        inside(*sys.argv[2:])
    else:
        main()
