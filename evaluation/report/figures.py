"""The figures of each experiment, from its tables."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from core.text import number
from evaluation.experiments.results import Result
from evaluation.report.axes import Spec
from evaluation.report.charts import Chart, Mark, Series, Step, chart_spec, histogram_spec
from evaluation.report.ranks import ranks_spec

_SIDES = (("transfer", "transfer"), ("scratch", "scratch"), ("base", "Base"))
_POINTS = 150  # a series of one scatter plot: the largest errors, and the first of the others


@dataclass(frozen=True, slots=True)
class Figure:
    """A Vega-Lite specification, the file it is called, and what it shows."""

    name: str
    caption: str
    spec: Spec
    target: tuple[str, str] | None = None  # dataset, property


def _targets(table: pd.DataFrame) -> Iterable[tuple[str, str, str, str, pd.DataFrame]]:
    by = ["dataset", "property", "unit", "scheme"]
    for (dataset, prop, unit, scheme), own in table.groupby(by, sort=True):
        yield str(dataset), str(prop), str(unit), str(scheme), own


def _in(unit: str) -> str:
    return unit or "no unit"


def _sides(own: pd.DataFrame, x: str, unit: str, where: str) -> tuple[Series, ...]:
    found = []
    for column, name in _SIDES:
        rows = own[own[column].notna()] if column in own else own.iloc[:0]
        marks = tuple(
            Mark(
                float(row[x]),
                float(row[column]),
                f"{name}, {number(row[x])} {where}: {number(row[column])} {unit} "
                f"({_interval(row, column)}){_by(row) if column == 'transfer' else ''}",
                row[f"{column}_low"],
                row[f"{column}_high"],
            )
            for row in _records(rows.sort_values(x))
        )
        if marks:
            found.append(Series(name, marks))
    return tuple(found)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _interval(row: dict[str, Any], column: str) -> str:
    return f"95 % {number(row[f'{column}_low'], 3)} to {number(row[f'{column}_high'], 3)}"


def _by(row: dict[str, Any]) -> str:
    return f", by {row['method']}" if row.get("method") else ""


def checkpoints(result: Result) -> Iterable[Figure]:
    """Draw validation MAE against depth, a line a kind."""
    for dataset, prop, unit, scheme, own in _targets(result.tables["validation"]):
        series = []
        for kind, rows in own.groupby("kind", sort=True):
            if str(kind).endswith("_last"):
                continue
            marks = [
                Mark(
                    float(row["feature_set"].rpartition("_")[2]),
                    row["val_mae"],
                    f"{row['feature_set']}: {number(row['val_mae'])} {unit}",
                    row["val_mae_low"],
                    row["val_mae_high"],
                )
                for row in _records(rows)
            ]
            series.append(Series(str(kind), tuple(sorted(marks, key=lambda mark: mark.x))))
        title = f"{dataset}, {prop}, {scheme}"
        spec = chart_spec(Chart(title, "depth (layer)", f"validation MAE ({_in(unit)})", tuple(series)))
        yield Figure(f"checkpoints-{dataset}-{prop}-{scheme}", title, spec, (dataset, prop))


def learning_curve(result: Result) -> Iterable[Figure]:
    """Draw figure 3: test MAE against training rows, both logarithmic."""
    for dataset, prop, unit, scheme, own in _targets(result.tables["table"]):
        title = f"{dataset}, {prop}, {scheme}"
        chart = Chart(
            title,
            "training rows (count)",
            f"test MAE ({_in(unit)})",
            _sides(own, "n_train", unit, "rows"),
            "log",
            "log",
        )
        yield Figure(f"learning-curve-{dataset}-{prop}-{scheme}", title, chart_spec(chart), (dataset, prop))


def extrapolation(result: Result) -> Iterable[Figure]:
    """Draw figure 4: errors of test entries against their values, for both kinds of test part."""
    points = result.tables["points"]
    for (dataset, prop, unit), own in points.groupby(["dataset", "property", "unit"], sort=True):
        series = []
        for role, name in (("chosen", "transfer"), ("scratch", "scratch")):
            for scheme, part in (("extrapolation", "extrapolation"), ("random", "interpolation")):
                rows = own[(own["role"] == role) & (own["scheme"] == scheme)]
                error = rows["predicted"] - rows["actual"]
                order = error.abs().sort_values(ascending=False, kind="stable").index[:_POINTS]
                marks = tuple(
                    Mark(
                        row["actual"],
                        row["predicted"] - row["actual"],
                        f"{row['entry_id']}, {name}, {part}: actual {number(row['actual'])}, "
                        f"error {number(row['predicted'] - row['actual'])} {unit}",
                    )
                    for row in _records(rows.loc[order])
                )
                series.append(Series(f"{name}, {part}", marks, line=False))
        title = f"{dataset}, {prop}"
        x, y = f"actual ({_in(unit)})", f"predicted − actual ({_in(unit)})"
        chart = Chart(title, x, y, tuple(series), zero=True, width=520)
        yield Figure(f"extrapolation-{dataset}-{prop}", title, chart_spec(chart), (str(dataset), str(prop)))


def size_effect(result: Result) -> Iterable[Figure]:
    """Draw supplementary figures 2 and 3: change against rows, a series a winner, and the histogram."""
    bars = result.tables["histogram"]
    for (scheme, against), own in result.tables["points"].groupby(["scheme", "against"], sort=True):
        series = [
            Series(
                str(method),
                tuple(
                    Mark(
                        row["rows"],
                        row["change"],
                        f"{row['dataset']} {row['property']}, {row['rows']} rows: "
                        f"{number(row['change'], 3)} % "
                        f"({number(row['change_low'], 3)} to {number(row['change_high'], 3)})",
                        row["change_low"],
                        row["change_high"],
                    )
                    for row in _records(rows)
                ),
                line=False,
            )
            for method, rows in own.assign(by=own["method"].str.partition(",")[0]).groupby("by", sort=True)
        ]
        title = f"{scheme}, against {against}"
        chart = Chart(title, "rows (count)", "change of test MAE (%)", tuple(series), "log", zero=True)
        yield Figure(f"size-effect-{scheme}-{against}", title, chart_spec(chart))
        steps = bars[(bars["scheme"] == scheme) & (bars["against"] == against)]
        drawn = [Step(row["start"], row["stop"], int(row["count"])) for row in _records(steps)]
        spec = histogram_spec(title, "change of test MAE (%)", drawn)
        yield Figure(f"size-histogram-{scheme}-{against}", f"{title}: how the changes are spread", spec)


def significance(result: Result) -> Iterable[Figure]:
    """Draw the critical-difference diagrams."""
    if "ranks" not in result.tables:
        return
    for (scheme, part, over), own in result.tables["ranks"].groupby(["scheme", "part", "over"], sort=True):
        rows = _records(own.sort_values("rank", kind="stable"))
        numbers = sorted({int(i) for row in rows for i in str(row["groups"] or "").split()})
        groups = [
            [row["method"] for row in rows if str(i) in str(row["groups"] or "").split()] for i in numbers
        ]
        ranks = [(row["method"], row["rank"]) for row in rows]
        spec = ranks_spec(f"{scheme}, {part}", ranks, rows[0]["distance"], groups)
        caption = (
            f"{scheme}, by {part} MAE over {over} ({rows[0]['targets']}); a bar joins what cannot "
            f"be told apart at {number(rows[0]['alpha'])}"
        )
        yield Figure(f"ranks-{scheme}-{part}-{str(over).replace(' ', '-')}", caption, spec)


FIGURES: dict[str, Callable[[Result], Iterable[Figure]]] = {
    "checkpoints": checkpoints,
    "learning_curve": learning_curve,
    "extrapolation": extrapolation,
    "size_effect": size_effect,
    "significance": significance,
}
