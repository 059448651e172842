"""Figure 3 of the paper: ever smaller training parts beside one fixed test part."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from core.params import Params
from core.text import number
from evaluation.experiments.base import Experiment, Shown
from evaluation.experiments.figures import Figure, by_target, in_unit
from evaluation.experiments.frames import SIDES, TARGET, compare, nested, records, scores_of
from evaluation.experiments.results import Result
from evaluation.experiments.settings import Comparison
from evaluation.experiments.workspace import Workspace
from evaluation.report.drawings import Chart, Mark, Series

NAME = "learning_curve"
_LINES = {  # column → name
    "transfer": "transfer",
    "scratch": "scratch",
    "base": "Base",
    "composition": "composition",
}


class Settings(Comparison):
    """Ever smaller training parts."""

    splits: tuple[str, ...] = ("ladder",)


def run(asked: Settings, params: Params, store_root: Path, _out: Path) -> Result:
    """Train and fit on every rung of the ladder; each rung has its own choice and its own look."""
    workspace = Workspace(NAME, params, asked, store_root)
    runs = workspace.all_runs()
    looks = workspace.score(runs)
    by = ["dataset", "property", "scheme", "fold"]
    table = compare(looks, by, params.evaluate.bootstrap, params.evaluate.seed)
    table = table.rename(columns={"fold": "rung"}).sort_values(
        ["dataset", "property", "scheme", "n_train"], ignore_index=True
    )
    levels = ["dataset", "property", "scheme", "n_train"]
    return Result(
        NAME,
        {"table": table, "scores": scores_of(looks)},
        metrics=nested(table, levels, ("base", "scratch", "transfer")),
        provenance=workspace.provenance(runs),
        notes=tuple(workspace.notes),
    )


def figures(result: Result) -> Iterable[Figure]:
    """Draw figure 3: test MAE against training rows, both logarithmic."""
    for dataset, prop, unit, scheme, own in by_target(result.tables["table"]):
        title = f"{dataset}, {prop}, {scheme}"
        x, y = "training rows (count)", f"test MAE ({in_unit(unit)})"
        chart = Chart(title, x, y, tuple(_lines(own, unit)), "log", "log")
        yield Figure(f"learning-curve-{dataset}-{prop}-{scheme}", title, chart, (dataset, prop))


def _lines(own: pd.DataFrame, unit: str) -> Iterable[Series]:
    for column, name in _LINES.items():
        rows = own[own[column].notna()] if column in own else own.iloc[:0]
        if len(rows):
            yield Series(
                name, tuple(_mark(row, column, name, unit) for row in records(rows.sort_values("n_train")))
            )


def _mark(row: Mapping[str, Any], column: str, name: str, unit: str) -> Mark:
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    tip = (
        f"{name}, {number(row['n_train'])} rows: {number(row[column])} {unit} "
        f"(95 % {number(low, 3)} to {number(high, 3)})"
    )
    by = f", by {row['method']}" if column == "transfer" and row.get("method") else ""
    return Mark(float(row["n_train"]), float(row[column]), tip + by, low, high)


EXPERIMENT = Experiment(
    name=NAME,
    title="Learning curve",
    question="How many rows does each method need?",
    paper="figure 3",
    settings=Settings,
    run=run,
    tables={"table": Shown((*TARGET, "n_train", *SIDES, "method", "label", "splits"))},
    figures=figures,
    order=3,
)
