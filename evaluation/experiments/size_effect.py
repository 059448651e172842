"""Supplementary figures 2 and 3 of the paper: the % change against the number of rows, and its histogram."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from core.errors import StrataError
from core.params import Params, Section
from core.text import number
from evaluation.experiments.base import Experiment, Shown
from evaluation.experiments.figures import Figure
from evaluation.experiments.frames import nested, records, unseen
from evaluation.experiments.results import Result
from evaluation.experiments.transfer import transferred
from evaluation.report.drawings import Chart, Histogram, Mark, Series, Step
from evaluation.statistics import quartiles, spearman

NAME = "size_effect"


class Settings(Section):
    """How the gain of transfer depends on the number of rows."""

    bins: int = Field(12, ge=2, description="of the histogram")


def run(asked: Settings, params: Params, store_root: Path, out: Path) -> Result:
    """Summarise the changes that `transfer` found, against scratch, Base and composition."""
    source = transferred(params, store_root, out)
    table, left_out = unseen(source.tables["table"])
    if table.empty:
        raise StrataError("experiment size_effect: a source model was trained on the labels of every target")
    points = changes(table)
    summary, bars = summaries(points), histogram(points, asked.bins)
    levels = ["scheme", "against"]
    facts = [name for name in summary.columns if name not in levels]
    return Result(
        NAME,
        {"table": summary, "points": points, "histogram": bars},
        nested(summary, levels, facts),
        provenance=source.provenance,
        notes=tuple(left_out),
    )


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per target, way of splitting and reference: rows and % change with its interval."""
    pieces = []
    for against, prefix in (("scratch", ""), ("base", "base_"), ("composition", "composition_")):
        if f"{prefix}change" not in table:
            continue
        own = table[table[f"{prefix}change"].notna()]
        piece = own[["group", "dataset", "property", "scheme", "rows", "method", "label"]].assign(
            against=against
        )
        for name in ("change", "change_low", "change_high"):
            piece[name] = own[f"{prefix}{name}"]
        pieces.append(piece)
    return pd.concat(pieces, ignore_index=True)


def summaries(points: pd.DataFrame) -> pd.DataFrame:
    """Return mean, sd, quartiles and extremes of the changes, and Spearman's ρ of change and rows."""
    rows = []
    for (scheme, against), own in points.groupby(["scheme", "against"], sort=True):
        rho = spearman(own["rows"], own["change"]) if len(own) > 2 else None
        facts = asdict(quartiles(own["change"])) | {"rho_rows": rho}
        rows.append({"scheme": scheme, "against": against} | facts)
    return pd.DataFrame(rows)


def histogram(points: pd.DataFrame, bins: int) -> pd.DataFrame:
    """Count the changes in equal steps of per cent."""
    rows = []
    for (scheme, against), own in points.groupby(["scheme", "against"], sort=True):
        counts, edges = np.histogram(own["change"], bins=bins)
        rows += [
            {"scheme": scheme, "against": against, "start": float(a), "stop": float(b), "count": int(n)}
            for n, a, b in zip(counts, edges[:-1], edges[1:], strict=True)
        ]
    return pd.DataFrame(rows)


def figures(result: Result) -> Iterable[Figure]:
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
                    for row in records(rows)
                ),
                line=False,
            )
            for method, rows in own.assign(by=own["method"].str.partition(",")[0]).groupby("by", sort=True)
        ]
        title = f"{scheme}, against {against}"
        chart = Chart(
            title,
            "rows (count)",
            "change of test MAE (%, negative is better)",
            tuple(series),
            "log",
            zero=True,
        )
        yield Figure(f"size-effect-{scheme}-{against}", title, chart)
        steps = bars[(bars["scheme"] == scheme) & (bars["against"] == against)]
        drawn = [Step(row["start"], row["stop"], int(row["count"])) for row in records(steps)]
        counted = Histogram(title, "change of test MAE (%, negative is better)", tuple(drawn))
        yield Figure(f"size-histogram-{scheme}-{against}", f"{title}: how the changes are spread", counted)


EXPERIMENT = Experiment(
    name=NAME,
    title="Size of the dataset",
    question="Is the gain larger where there are fewer rows?",
    paper="supplementary figures 2 and 3",
    settings=Settings,
    run=run,
    tables={
        "table": Shown(
            (
                *("scheme", "against", "n", "mean", "sd", "minimum", "q1", "median", "q3", "maximum"),
                "rho_rows",
            ),
            titles={
                "n": "Targets",
                "sd": "sd",
                "q1": "1st quartile",
                "q3": "3rd quartile",
                "rho_rows": "ρ with rows",
            },
        )
    },
    figures=figures,
    order=8,
)
