"""Figure 4 of the paper: the tenth of lowest value held out, and interpolation beside it."""

from collections.abc import Iterable
from pathlib import Path

from core.params import Params
from core.text import number
from evaluation.experiments.base import Experiment, Shown
from evaluation.experiments.figures import Figure, in_unit
from evaluation.experiments.frames import SIDES, TARGET, compare, nested, points_of, records, scores_of
from evaluation.experiments.results import Result
from evaluation.experiments.settings import Comparison
from evaluation.experiments.workspace import Workspace
from evaluation.report.drawings import Chart, Mark, Series

NAME = "extrapolation"
_POINTS = 150  # a series of the figure: the largest errors


class Settings(Comparison):
    """The hard split, and the one beside it."""

    splits: tuple[str, ...] = ("extrapolation", "random")


def run(asked: Settings, params: Params, store_root: Path, _out: Path) -> Result:
    """Train and fit on both kinds of split; the points of the first seed are kept for the figure."""
    workspace = Workspace(NAME, params, asked, store_root)
    runs = workspace.all_runs()
    looks = workspace.score(runs)
    by = ["dataset", "property", "scheme"]
    table = compare(looks, by, params.evaluate.bootstrap, params.evaluate.seed)
    first = looks[looks["seed"] == min(asked.seeds)]
    return Result(
        NAME,
        {"table": table, "points": points_of(first), "scores": scores_of(looks)},
        metrics=nested(table, by, ("base", "scratch", "transfer")),
        provenance=workspace.provenance(runs),
        notes=tuple(workspace.notes),
    )


def figures(result: Result) -> Iterable[Figure]:
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
                    for row in records(rows.loc[order])
                )
                series.append(Series(f"{name}, {part}", marks, line=False))
        title = f"{dataset}, {prop}"
        x, y = f"actual ({in_unit(unit)})", f"predicted − actual ({in_unit(unit)})"
        chart = Chart(title, x, y, tuple(series), zero=True, width=520)
        yield Figure(f"extrapolation-{dataset}-{prop}", title, chart, (str(dataset), str(prop)))


EXPERIMENT = Experiment(
    name=NAME,
    title="Extrapolation",
    question="What becomes of the errors where values lie below all that were learned from?",
    paper="figure 4",
    settings=Settings,
    run=run,
    tables={"table": Shown((*TARGET, "n_train", *SIDES, "method", "label", "splits"))},
    figures=figures,
    order=4,
)
