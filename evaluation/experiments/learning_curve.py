"""Figure 3 of the paper: ever smaller training parts beside one fixed test part."""

from pathlib import Path

from core.params import Params
from evaluation.experiments.frames import compare, scores_of
from evaluation.experiments.results import Result
from evaluation.experiments.workspace import Workspace

NAME = "learning_curve"


def run(params: Params, store_root: Path, _out: Path) -> Result:
    """Train and fit on every rung of the ladder; each rung has its own choice and its own look."""
    section = params.experiments.learning_curve
    workspace = Workspace(NAME, params, section, store_root)
    runs = workspace.all_runs()
    looks = workspace.score(runs)
    by = ["dataset", "property", "scheme", "fold"]
    table = compare(looks, by, params.evaluate.bootstrap, params.evaluate.seed)
    table = table.rename(columns={"fold": "rung"}).sort_values(
        ["dataset", "property", "scheme", "n_train"], ignore_index=True
    )
    metrics: dict = {}
    for row in table.to_dict("records"):
        place = metrics.setdefault(row["dataset"], {}).setdefault(row["property"], {})
        place.setdefault(row["scheme"], {})[str(row["n_train"])] = {
            name: row[name] for name in ("base", "scratch", "transfer")
        }
    return Result(
        NAME,
        {"table": table, "scores": scores_of(looks)},
        metrics=metrics,
        settings=section.model_dump(mode="json"),
        provenance=workspace.provenance(runs),
        notes=tuple(workspace.notes),
    )
