"""Supplementary table 11 of the paper: one network for several properties against one network each.

Where one of the properties holds an entry back for its test part, a joint network does not learn from the
others' values of it either, so that a joint network has fewer rows; the table says how many.
"""

import json
from pathlib import Path

import pandas as pd

from core.errors import StrataError
from core.params import Params
from evaluation.experiments.base import Experiment, Shown
from evaluation.experiments.frames import SIDES, TARGET, compare, nested, scores_of
from evaluation.experiments.results import Result
from evaluation.experiments.settings import Comparison
from evaluation.experiments.workspace import Workspace
from evaluation.protocol import BASE, COMPOSITION
from zoo.training.finetune import train_all
from zoo.training.run import Ask

NAME = "multi_property"
SINGLE, JOINT = "single", "joint"


class Settings(Comparison):
    """Networks alone: `trained` is not read."""

    heads: tuple[str, ...] = ()


def run(asked: Settings, params: Params, store_root: Path, _out: Path) -> Result:
    """Train every property alone and all together, from scratch and fine-tuned; each looks once."""
    for dataset, names in asked.targets.items():
        if len(names) < 2:
            raise StrataError(
                f"params.yaml, experiments.multi_property: {dataset} names {len(names)} properties; "
                "joint training takes two or more"
            )
    if not asked.targets:
        raise StrataError("params.yaml, experiments.multi_property: name a dataset and two of its properties")
    workspace = Workspace(NAME, params, asked, store_root)
    networks = _train(workspace)
    base = workspace.heads()
    base = base[base["method"].isin([BASE, COMPOSITION])]
    networks = networks.assign(training=networks["settings"].map(_training))
    runs = pd.concat([networks, *(base.assign(training=kind) for kind in (SINGLE, JOINT))], ignore_index=True)
    looks = workspace.score(runs, within=["training"]).rename(columns={"among": "training"})
    by = ["dataset", "property", "scheme", "training"]
    table = compare(looks, by, params.evaluate.bootstrap, params.evaluate.seed)
    return Result(
        NAME,
        {"table": table, "scores": scores_of(looks)},
        metrics=nested(table, by, ("scratch", "transfer")),
        provenance=workspace.provenance(runs),
        notes=tuple(workspace.notes),
    )


def _train(workspace: Workspace) -> pd.DataFrame:
    source = workspace.params.extract.default
    settings = workspace.finetune()
    found = []
    for dataset, names in workspace.targets.items():
        workspace.draw(dataset)
        store = workspace.store
        drawn = [set(store.splits(dataset, name)) for name in names]
        asks = [
            Ask(dataset, tuple(group), split, source if method == "finetune" else None, source, settings)
            for split in sorted(set.intersection(*drawn))
            for group in (*((name,) for name in names), names)
            for method in workspace.plan.methods
        ]
        done = train_all(store, dataset, asks, lenders=workspace.lenders)
        found.append(workspace.runs(dataset, [run.run_id for run in done]))
    return pd.concat(found, ignore_index=True)


def _training(settings: str) -> str:
    return JOINT if len(json.loads(settings)["properties"]) > 1 else SINGLE


EXPERIMENT = Experiment(
    name=NAME,
    title="Several properties at once",
    question="Does one network for several properties beat one network each?",
    paper="supplementary table 11",
    settings=Settings,
    run=run,
    tables={"table": Shown((*TARGET, "training", "n_train", *SIDES, "label", "splits"))},
    is_training=True,
    order=7,
)
