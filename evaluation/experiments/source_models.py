"""Beyond the paper: the same heads on the vectors of several source models, side by side."""

from pathlib import Path

import pandas as pd
from pydantic import Field

from core.params import Params
from evaluation.experiments.base import Experiment, Shown
from evaluation.experiments.frames import FIT, SIDES, TARGET, compare, nested, scores_of
from evaluation.experiments.results import Result
from evaluation.experiments.settings import Comparison
from evaluation.experiments.workspace import Workspace

NAME = "source_models"


class Settings(Comparison):
    """The same heads on the vectors of several source models; `trained` is not read."""

    source_models: tuple[str, ...] = Field((), description="none: all of extract.source_models")


def run(asked: Settings, params: Params, store_root: Path, _out: Path) -> Result:
    """Fit on each model's vectors; of each model's runs the one of lowest validation MAE looks."""
    names = asked.source_models or params.extract.source_models
    plan = asked.model_copy(update={"trained": {}})
    workspace = Workspace(NAME, params, plan, store_root)
    pieces = [workspace.heads(name).assign(source=name) for name in names]  # Base stands beside each
    runs = pd.concat(pieces, ignore_index=True)
    looks = workspace.score(runs, within=["source"]).rename(columns={"among": "source"})
    by = ["dataset", "property", "scheme", "source"]
    table = compare(looks, by, params.evaluate.bootstrap, params.evaluate.seed)
    table = table[[name for name in table.columns if not name.startswith("scratch")]]
    notes = list(dict.fromkeys(workspace.notes))
    if len(names) == 1:
        notes.append(
            "One source model: name a second under experiments.source_models.source_models, and extract its "
            "vectors with strata extract."
        )
    return Result(
        NAME,
        {"table": table, "scores": scores_of(looks)},
        metrics=nested(table, by, "transfer"),
        provenance=workspace.provenance(runs),
        notes=tuple(notes),
    )


EXPERIMENT = Experiment(
    name=NAME,
    title="Source models",
    question="Whose vectors serve best?",
    paper="beyond the paper",
    settings=Settings,
    run=run,
    tables={
        "table": Shown((*TARGET, "source", *SIDES, "method", *FIT, "splits")),
    },
    order=9,
)
