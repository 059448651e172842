"""Figure 4 of the paper: the tenth of lowest value held out, and interpolation beside it."""

from pathlib import Path

from core.params import Params
from evaluation.experiments.frames import compare, points_of, scores_of
from evaluation.experiments.results import Result
from evaluation.experiments.workspace import Workspace

NAME = "extrapolation"


def run(params: Params, store_root: Path, _out: Path) -> Result:
    """Train and fit on both kinds of split; the points of the first seed are kept for the figure."""
    section = params.experiments.extrapolation
    workspace = Workspace(NAME, params, section, store_root)
    runs = workspace.all_runs()
    looks = workspace.score(runs)
    table = compare(looks, ["dataset", "property", "scheme"], params.evaluate.bootstrap, params.evaluate.seed)
    metrics: dict = {}
    for row in table.to_dict("records"):
        place = metrics.setdefault(row["dataset"], {}).setdefault(row["property"], {})
        place[row["scheme"]] = {name: row[name] for name in ("base", "scratch", "transfer")}
    first = looks[looks["seed"] == min(section.seeds)]
    return Result(
        NAME,
        {"table": table, "points": points_of(first), "scores": scores_of(looks)},
        metrics=metrics,
        settings=section.model_dump(mode="json"),
        provenance=workspace.provenance(runs),
        notes=tuple(workspace.notes),
    )
