"""Every network beside the others: speed, memory, and what each of its layers lets one fixed head predict.

    export STRATA_RAW=/path/to/raw/files
    python bench/networks.py [FOLDER] [--sources alignn_mp_eform chgnet magpie alignn_ff]

Makes a store of `dielectric_constant`, `piezoelectric_tensor` and `jarvis_3d` in FOLDER (kept, and gone on
with), extracts it by each source model in a process of its own, and fits one support vector regression per
checkpoint on the frozen list of 20 targets, splits `random` 0 to 4. Errors are those of the validation part,
over Base's: no test part is read. Labels that a source model was trained on are marked, and energies are left
out of the means. Writes bench/results/networks.md.
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from core.executor import Processes, count
from core.progress import progress
from featurestore.query.store import FeatureStore, open_store
from zoo.hub import has_seen, load_card

ROOT = Path(__file__).parents[1]
TARGETS = {
    "dielectric_constant": ("band_gap", "e_total_max", "n", "poly_electronic", "poly_total"),
    "piezoelectric_tensor": ("eij_max", "piezoelectric_norm"),
    "jarvis_3d": (
        "formation_energy", "total_energy", "energy_above_hull", "bulk_modulus", "shear_modulus",
        "superconducting_tc", "heat_capacity", "max_electric_field_gradient", "epsilon_x", "epsilon_x_mbj",
        "seebeck_n", "power_factor_n", "spillage",
    ),
}  # fmt: skip
ENERGIES = (
    "formation_energy",
    "total_energy",
    "energy_above_hull",
)  # shown apart: sources have seen such labels
SEEDS = range(5)
GAMMA, C, EPSILON, CUT = 0.2, 10.0, 0.02, 8.0  # of the one fixed head; gamma over the width

WHAT = f"""`python bench/networks.py`: whole processes of `strata extract` on two cores over the structures
of `dielectric_constant`, `piezoelectric_tensor` and `jarvis_3d`, the start of Python and of the libraries
included; one SVR (RBF, gamma {GAMMA} over the width, C {C:g}, epsilon {EPSILON} of the deviation) per
checkpoint, `random` splits 0 to 4. Errors are validation MAE over Base's; no test part was read. Means are
geometric, over the 17 targets that are no energies."""


@dataclass(frozen=True, slots=True)
class Task:
    """One checkpoint (or set) of one source model on one target."""

    store: Path
    source: str
    name: str
    dataset: str
    property: str


@cache
def opened(root: Path) -> FeatureStore:
    """Open a store once per process."""
    return open_store(root)


def ratio(task: Task) -> float:
    """Validation MAE over that of Base, the mean of the training values, in the mean over the seeds."""
    store = opened(task.store)
    found = []
    for seed in SEEDS:
        where = (task.dataset, task.property, f"{task.source}/{task.name}")
        data = store.matrix(*where, split=f"random:{seed}", parts=("train", "val"))
        train = np.asarray(data.part) == "train"
        scaler = StandardScaler().fit(data.X[train])
        X = np.clip(scaler.transform(data.X), -CUT, CUT)
        y, mean, deviation = data.y, data.y[train].mean(), data.y[train].std()
        head = SVR(gamma=GAMMA / X.shape[1], C=C, epsilon=EPSILON)
        head.fit(X[train], (y[train] - mean) / deviation)
        errors = np.abs(head.predict(X[~train]) * deviation + mean - y[~train])
        found.append(errors.mean() / np.abs(mean - y[~train]).mean())
    return float(np.mean(found))


def strata(folder: Path, *words: str) -> tuple[float, float]:
    """Run a command in a process of its own; returns seconds and the largest resident set in GiB."""
    began = time.perf_counter()
    command = [sys.executable, "-c", "from strata import main; main()", *words]
    process = subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)})
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"strata {' '.join(words)} failed")
    return time.perf_counter() - began, usage.ru_maxrss / 2**20


def prepare(folder: Path, sources: list[str]) -> dict[str, tuple[float, float]]:
    """Ingest, extract and split what is not there yet; returns structures per second and memory by source."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "datasets": list(TARGETS),
        "extract": {"source_models": sources},
        "split": {"schemes": ["random"], "seeds": list(SEEDS)},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    for dataset in TARGETS:
        strata(folder, "ingest", dataset)
    question = "SELECT count(DISTINCT structure_id) FROM entries"
    structures = open_store(folder / "store").sql(question).fetchall()[0][0]
    speed = {}
    for source in sources:
        seconds, memory = strata(folder, "extract", source)
        speed[source] = (structures / seconds, memory)
    for dataset in TARGETS:
        strata(folder, "split", dataset)
    return speed


def main() -> None:
    """Measure and write the tables."""
    asked = argparse.ArgumentParser()
    asked.add_argument("folder", nargs="?", type=Path, default=Path("networks"))
    asked.add_argument("--sources", nargs="+", default=["alignn_mp_eform", "chgnet", "magpie", "alignn_ff"])
    arguments = asked.parse_args()
    speed = prepare(arguments.folder, arguments.sources)
    root = arguments.folder / "store"
    store = open_store(root)
    tasks = [
        Task(root, source, name, dataset, prop)
        for source in arguments.sources
        for name in (*(c.name for c in store.sources[source].checkpoints), "last", "all")
        for dataset, properties in TARGETS.items()
        for prop in properties
    ]
    executor = Processes(count(-1, len(tasks), 1))
    ratios = dict(zip(progress(tasks, "SVR"), executor.ordered(ratio, tasks), strict=True))
    (ROOT / "bench/results/networks.md").write_text(
        report(arguments.sources, speed, ratios), encoding="utf-8"
    )


def report(sources: list[str], speed: dict[str, tuple[float, float]], ratios: dict[Task, float]) -> str:
    """Return the page."""
    cards = {source: load_card(source) for source in sources}
    lines = [
        "# Networks side by side",
        "",
        WHAT,
        "",
        "| source model | structures/s | memory, GiB | `last` | `all` | best checkpoint |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    names = {source: list(dict.fromkeys(t.name for t in ratios if t.source == source)) for source in sources}
    for source in sources:
        means = {name: mean(ratios, source, name) for name in names[source]}
        single = min((n for n in means if n not in ("last", "all")), key=means.__getitem__)
        rate, memory = speed[source]
        lines.append(
            f"| `{source}` | {rate:.0f} | {memory:.2f} | {means['last']:.3f} | {means['all']:.3f} | "
            f"`{single}` {means[single]:.3f} |"
        )
    for source in sources:
        lines += ["", f"## {source}, by checkpoint", ""]
        lines += ["| checkpoint | mean error over Base's |", "| --- | ---: |"]
        lines += [f"| `{name}` | {mean(ratios, source, name):.3f} |" for name in names[source]]
    lines += ["", "## By target, `all`", "", f"| target | {' | '.join(f'`{s}`' for s in sources)} |"]
    lines.append("| --- |" + " ---: |" * len(sources))
    for dataset, properties in TARGETS.items():
        for prop in properties:
            cells = []
            for source in sources:
                (value,) = (
                    v for t, v in ratios.items()
                    if (t.source, t.name, t.dataset, t.property) == (source, "all", dataset, prop)
                )  # fmt: skip
                cells.append(f"{value:.3f}{' (seen)' if has_seen(cards[source], dataset, prop) else ''}")
            lines.append(f"| {dataset} {prop} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def mean(ratios: dict[Task, float], source: str, name: str) -> float:
    """Geometric mean over the targets that count."""
    mine = {t: v for t, v in ratios.items() if (t.source, t.name) == (source, name)}
    values = [v for t, v in mine.items() if t.property not in ENERGIES]
    return float(np.exp(np.mean(np.log(values))))


if __name__ == "__main__":
    main()
