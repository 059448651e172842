"""How large is the page of 115 properties, and how long does it take to draw?

    python bench/report.py FOLDER

Makes a store of made-up values in FOLDER, the properties of the datasets of the paper under their own names:
3,000 structures a dataset and 1,500 values a property, with Base, a forest, 14 models, their committee,
intervals, neighbours and learning curves, and results of two experiments. Then draws the page three times,
each in a process of its own, and writes bench/results/report.md.
"""

import os
import platform
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

import featurestore
from core.params import parse
from core.structure import SYMBOLS
from etl.cards import load_card
from evaluation.evaluate import evaluate
from evaluation.experiments.results import Result, write
from evaluation.intervals import write_intervals
from evaluation.learning import FILE as LEARNING
from evaluation.learning import Rung
from evaluation.neighbours import FILE as NEIGHBOURS
from evaluation.neighbours import Neighbour
from evaluation.rows_file import write_rows
from featurestore import StoreLayout, TableWriter
from featurestore.tables.schema import ENTRIES, INTERVALS, PREDICTIONS, RUNS, SPLITS, STRUCTURES, TARGETS

ROOT = Path(__file__).parents[1]
OUT = ROOT / "bench/results/report.md"
DATASETS = ("jarvis_3d", "jarvis_2d", "hopv", "dielectric_constant", "flla", "piezoelectric_tensor", "megnet",
            "expt_formation_enthalpy")  # fmt: skip
PROPERTIES, STRUCTURES_EACH, VALUES = 115, 3000, 1500
PARTS = np.repeat(["train", "val", "test"], [1200, 150, 150])
MODELS = [(head, name) for head in ("svr", "mlp") for name in (
    "alignn_mp_eform/last", "alignn_mp_eform/all", "chgnet/last", "chgnet/all", "magpie/all",
    "alignn_mp_eform/last+chgnet/last+magpie/all", "alignn_mp_eform/all+chgnet/all+magpie/all")]  # fmt: skip
DRAW = "from strata import main; main()"


def make(folder: Path) -> None:
    """Write the store and everything that `report` reads beside it."""
    rng = np.random.default_rng(0)
    names = [(d, p) for d in DATASETS for p, item in load_card(d).properties.items() if item.unit != "class"]
    chosen = list(islice(names, PROPERTIES))
    layout = StoreLayout(folder / "store")
    for dataset in dict.fromkeys(d for d, _ in chosen):
        ids = add_structures(layout, dataset, rng)
        for _, prop in (pair for pair in chosen if pair[0] == dataset):
            add_property(layout, dataset, prop, ids, rng)
    datasets = list(dict.fromkeys(d for d, _ in chosen))
    (folder / "params.yaml").write_text(f"datasets: [{', '.join(datasets)}]\n", encoding="utf-8")
    params = parse({"datasets": datasets, "evaluate": {"bootstrap": 200}})
    scored = evaluate(params, folder / "store", folder)
    store = featurestore.open(folder / "store")
    ours = [one for one in scored if one.role == "chosen"]
    write_intervals(store, scored, 0.9, [intervals(one, rng) for one in ours])
    near = [
        Neighbour(one.dataset, one.property, one.split, entry, f"e{i:05d}", "LiFePO4", 1.234, 0.5 + 0.1 * i)
        for one in ours
        for entry in worst(one.predictions)
        for i in range(3)
    ]
    write_rows(folder / "plots" / NEIGHBOURS, Neighbour, near)
    rungs = [
        Rung(one.dataset, one.property, one.split, n, one.score.mae * (1080 / n) ** 0.3)
        for one in ours
        for n in (135, 270, 540, 1080)
    ]
    write_rows(folder / "plots" / LEARNING, Rung, rungs)
    experiments(folder / "results", chosen, rng)


def add_structures(layout: StoreLayout, dataset: str, rng: np.random.Generator) -> list[str]:
    """Write structures of two to four elements; returns their ids."""
    number = DATASETS.index(dataset) * STRUCTURES_EACH
    ids = [f"{number + i:064x}" for i in range(STRUCTURES_EACH)]
    rows = []
    for name in ids:
        numbers = np.sort(rng.choice(np.arange(1, 84), rng.integers(2, 5), replace=False))
        numbers = np.repeat(numbers, rng.integers(1, 6, len(numbers)))
        counts = pd.Series(numbers).value_counts(sort=False)
        rows.append(
            {
                "structure_id": name,
                "formula": "".join(f"{SYMBOLS[z]}{n}" for z, n in counts.items()),
                "n_atoms": len(numbers),
                "volume": 15.0 * len(numbers),
                "lattice": (np.eye(3) * 5).ravel().tolist(),
                "numbers": numbers.tolist(),
                "frac_coords": rng.random(3 * len(numbers)).tolist(),
            }
        )
    put(layout.structures(dataset), STRUCTURES, rows)
    put(
        layout.entries(dataset),
        ENTRIES,
        [
            {"dataset": dataset, "entry_id": entry(i), "structure_id": name, "position": i}
            for i, name in enumerate(ids)
        ],
    )
    return ids


def add_property(
    layout: StoreLayout, dataset: str, prop: str, ids: list[str], rng: np.random.Generator
) -> None:
    """Write values, a split, and what Base, a forest, 14 models and a committee say."""
    rows = rng.choice(len(ids), VALUES, replace=False)
    values = np.exp(rng.normal(0, 1, VALUES))
    where = {"dataset": dataset, "property": prop}
    unit = load_card(dataset).properties[prop].unit
    put(
        layout.targets(dataset),
        TARGETS,
        [
            {**where, "entry_id": entry(i), "structure_id": ids[i], "value": float(v), "unit": unit}
            for i, v in zip(rows, values, strict=True)
        ],
        prop,
    )
    place = {"scheme": "random", "seed": 0, "fold": 0}
    put(
        layout.splits(dataset),
        SPLITS,
        [{**place, **where, "entry_id": entry(i), "part": str(p)} for i, p in zip(rows, PARTS, strict=True)],
        prop,
    )
    runs, predictions = [], []
    models = [("base", "mean", None), ("composition", "forest", "magpie/all")]
    models += [("features", head, name) for head, name in MODELS] + [("committee", "committee", None)]
    for k, (method, head, name) in enumerate(models):
        noise = {"base": 1.0, "composition": 0.6}.get(method, 0.3 + 0.02 * k)
        error = rng.normal(0, noise, VALUES) * (0.5 + rng.random(VALUES))
        said = np.full(VALUES, values[:1200].mean()) if method == "base" else values + error
        run_id = f"{dataset}-{prop}-{k}"
        mae = float(np.abs(said - values)[PARTS == "val"].mean())
        cv = {"cv_mae": 0.25 if method == "committee" else mae} if method in ("features", "committee") else {}
        source = {"committee": "alignn_mp_eform+chgnet+magpie"}.get(method)
        source = source or ("+".join(one.split("/")[0] for one in name.split("+")) if name else None)
        extraction = "+".join(["f" * 16] * len(source.split("+"))) if source else None
        reads = name if name is None or "+" in name else name.split("/")[1]
        run = {"run_id": run_id, "method": method, "head": head, "unit": unit, "feature_set": reads}
        run |= {"source_model": source, "extraction_id": extraction, "train_mae": 0.1, "val_mae": mae}
        run |= {"n_train": 1200, "n_val": 150, "n_test": 150, "fit_seconds": 1.5, "label": None}
        run |= {"settings": '{"members": []}', "versions": '{"numpy": "2.0"}', "model_path": None}
        runs.append({**run, **where, **place, **cv, "created_at": datetime(2024, 1, 1, tzinfo=UTC)})
        held = PARTS != "train"
        predictions += [
            {"run_id": run_id, **where, "entry_id": entry(i), "part": str(part), "prediction": float(value)}
            for i, part, value in zip(rows[held], PARTS[held], said[held], strict=True)
        ]
    put(layout.runs(dataset), RUNS, runs, prop)
    put(layout.predictions(dataset), PREDICTIONS, predictions, prop)


def entry(i: int) -> str:
    """Return an id as long as providers' are."""
    return f"JVASP-{100000 + int(i)}"


def put(folder: Path, schema: pa.Schema, rows: list[dict], key: str = "all") -> None:
    """Commit rows to one table."""
    with TableWriter(folder, schema, "bench") as writer:
        writer.commit(key, pa.Table.from_pylist(rows, schema=schema))


def worst(predictions: pd.DataFrame) -> list[str]:
    """Return the ten entries that are furthest off."""
    errors = (predictions["predicted"] - predictions["actual"]).abs()
    return predictions["entry_id"].loc[errors.nlargest(10).index].tolist()


def intervals(one, rng: np.random.Generator) -> pa.Table:
    """Return intervals of a chosen run, of which nine in ten hold."""
    rows, n = one.predictions, len(one.predictions)
    expected = 0.3 + 0.3 * rng.random(n)
    percentile = 100 * rng.random(n)
    domain = np.select([percentile < 75, percentile < 95], ["inside", "edge"], "outside")
    return pa.table(
        {
            "run_id": [one.run_id] * n,
            "dataset": [one.dataset] * n,
            "property": [one.property] * n,
            "entry_id": rows["entry_id"].tolist(),
            "part": ["test"] * n,
            "low": rows["predicted"] - 2 * expected,
            "high": rows["predicted"] + 2 * expected,
            "level": np.full(n, 0.9),
            "expected_error": expected,
            "percentile": percentile,
            "domain": domain.tolist(),
        },
        schema=INTERVALS,
    )


def experiments(folder: Path, chosen: list[tuple[str, str]], rng: np.random.Generator) -> None:
    """Write results of `transfer` and of `learning_curve` on all properties."""
    settings = {"splits": ["random"], "seeds": [0], "heads": ["svr"], "trained": {}, "training": {}}
    table = pd.DataFrame([{"dataset": d, "property": p, "unit": "eV", "rows": VALUES} for d, p in chosen])
    table = table.assign(scheme="random", splits=3, method="svr", label="", group="3D", winner="features")
    table = table.assign(base=1.0, scratch=0.6, transfer=0.3 + 0.3 * rng.random(len(table)), n_train=1200)
    table = with_intervals(table)
    write(Result("transfer", {"table": table}, {}, settings, {}, ()), folder)
    rungs = [table.assign(n_train=1200 // 2**k, transfer=table["transfer"] * 1.3**k) for k in range(4)]
    curve = with_intervals(pd.concat(rungs))
    write(Result("learning_curve", {"table": curve}, {}, settings, {}, ()), folder)


def with_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Add changes, and intervals of everything."""
    table = table.copy()
    table["change"] = 100 * (table["transfer"] / table["scratch"] - 1)
    table["base_change"] = 100 * (table["transfer"] / table["base"] - 1)
    for name in ("base", "scratch", "transfer", "change", "base_change"):
        table[f"{name}_low"], table[f"{name}_high"] = table[name] * 0.9, table[name] * 1.1
    return table.assign(mad_mae=3.0, r2=0.5, spearman=0.5, interval="splits")


def draw(folder: Path, results: str) -> tuple[list[float], list[float], int]:
    """Draw the page three times; returns seconds of each process, those of the processor, and bytes."""
    seconds, busy = [], []
    out = folder / f"report-{results}.html"
    for _ in range(3):
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-P", "-c", DRAW, "report", "--results", results, "-o", str(out)]
        subprocess.run(command, cwd=folder, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        seconds.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return sorted(seconds), sorted(busy), out.stat().st_size


def main(folder: Path) -> None:
    """Make the store where it is not there yet, draw, and write the result."""
    if not (folder / "results").exists():
        make(folder)
    rows = []
    for results, what in (
        ("none", "properties alone"),
        ("results", "with the experiments transfer, learning_curve"),
    ):
        seconds, busy, size = draw(folder, results)
        wall, cpu = (", ".join(f"{one:.1f}" for one in several) for several in (seconds, busy))
        times = f"{seconds[1]:.1f} s ({wall}) | {busy[1]:.1f} s ({cpu})"
        rows.append(f"| {PROPERTIES}, {what} | {times} | 20 s | {size / 1e6:.2f} MB | 5 MB |")
        print(rows[-1], flush=True)
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    text = f"""# The page

`OMP_NUM_THREADS=1 python bench/report.py FOLDER`: {PROPERTIES} properties of {len(DATASETS)} datasets, made
up; of each {VALUES:,} values of {STRUCTURES_EACH:,} structures, 150 test entries, 17 runs, intervals,
neighbours, a learning curve. Seconds are those of the whole command in a process of its own: imports,
reading, drawing, writing; the median of three, and all of them in brackets. AMD EPYC, 2 cores, **shared with
other work** (load averages {load}); Python {platform.python_version()}.

| properties | time | of the processor | bar | size | bar |
| --- | --- | --- | ---: | --- | ---: |
{chr(10).join(rows)}
"""
    OUT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
