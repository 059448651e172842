"""Beyond the paper: the same heads on the vectors of several source models, side by side."""

from pathlib import Path
from typing import Any

import pandas as pd

from core.params import Params
from evaluation.experiments.frames import compare, scores_of
from evaluation.experiments.results import Result
from evaluation.experiments.workspace import Workspace

NAME = "source_models"


def run(params: Params, store_root: Path, _out: Path) -> Result:
    """Fit on each model's vectors; of each model's runs the one of lowest validation MAE looks."""
    section = params.experiments.source_models
    names = section.source_models or (params.extract.default,)
    plan = section.model_copy(update={"trained": {}})
    workspace = Workspace(NAME, params, plan, store_root)
    pieces = [workspace.heads(name).assign(source=name) for name in names]  # Base stands beside each
    runs = pd.concat(pieces, ignore_index=True)
    looks = workspace.score(runs, within=["source"]).rename(columns={"among": "source"})
    by = ["dataset", "property", "scheme", "source"]
    table = compare(looks, by, params.evaluate.bootstrap, params.evaluate.seed)
    table = table[[name for name in table.columns if not name.startswith("scratch")]]
    metrics: dict[str, Any] = {}
    for row in table.to_dict("records"):
        place = metrics.setdefault(row["dataset"], {}).setdefault(row["property"], {})
        place.setdefault(row["scheme"], {})[row["source"]] = row["transfer"]
    notes = list(dict.fromkeys(workspace.notes))
    if len(names) == 1:
        notes.append(
            "One source model: name a second under experiments.source_models.source_models, and extract its "
            "vectors with strata extract."
        )
    return Result(
        NAME,
        {"table": table, "scores": scores_of(looks)},
        metrics=metrics,
        settings=section.model_dump(mode="json"),
        provenance=workspace.provenance(runs),
        notes=tuple(notes),
    )
