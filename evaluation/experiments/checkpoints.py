"""Table 1 of the paper: one head on each feature set.

All sets compete on the validation part. Of each kind of features (those that differ by depth alone) the best
one looks at the test part, once; so does Base.
"""

import re
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
from evaluation.protocol import BASE, COMPOSITION
from evaluation.report.drawings import Chart, Mark, Series
from evaluation.statistics import corrected_t_test
from featurestore.query.feature_sets import named_sets
from featurestore.query.store import open_store

NAME = "checkpoints"
_DEPTH = re.compile(r"_(\d+)(?=\+|$)")


class Settings(Comparison):
    """One head, so that the feature sets alone differ; `feature_sets` and `trained` are not read."""

    heads: tuple[str, ...] = ("ridge",)


def kind_of(feature_set: str) -> str:
    """Return the kind of a feature set: its name without the depth.

    >>> kind_of("site_edge_3"), kind_of("last"), kind_of("site_3+edge_12")
    ('site_edge', 'last', 'site+edge')
    """
    return _DEPTH.sub("", feature_set)


def kinds_of(feature_sets: Iterable[str]) -> list[str]:
    """Return the kinds of these sets, each once, in the order of the sets."""
    return list(dict.fromkeys(map(kind_of, feature_sets)))


def depth_of(feature_set: str) -> int | None:
    """Return the depth that a feature set is read at; None of a set that has none or several.

    >>> depth_of("site_edge_3"), depth_of("last")
    (3, None)
    """
    depths = set(_DEPTH.findall(feature_set))
    return int(depths.pop()) if len(depths) == 1 else None


def run(asked: Settings, params: Params, store_root: Path, _out: Path) -> Result:
    """Fit, choose by kind, look, and bring together over seeds; kinds stand in the order of the sets."""
    source = open_store(store_root).need_source(params.extract.default)
    feature_sets = tuple(named_sets(source.checkpoints))
    plan = asked.model_copy(update={"feature_sets": feature_sets, "trained": {}})
    kinds = kinds_of(feature_sets)
    workspace = Workspace(NAME, params, plan, store_root)
    runs = workspace.heads()
    # Base has no features, and composition its own: they stand once beside each kind
    is_base = runs["method"].isin([BASE, COMPOSITION])
    heads = runs[~is_base].assign(kind=runs.loc[~is_base, "feature_set"].map(kind_of))
    bases = pd.concat([runs[is_base].assign(kind=kind) for kind in kinds])
    looks = workspace.score(pd.concat([heads, bases], ignore_index=True), within=["kind"])
    looks = looks.rename(columns={"among": "kind"})
    by = ["dataset", "property", "scheme", "kind"]
    table = compare(looks, by, params.evaluate.bootstrap, params.evaluate.seed)
    chosen = looks[looks["role"] == "chosen"].groupby(by)["feature_set"].agg(_most_often)
    table = table.merge(chosen.rename("feature_set"), left_on=by, right_index=True)
    table["kind"] = pd.Categorical(table["kind"], kinds, ordered=True)
    table = table.sort_values(by).astype({"kind": str}).drop(columns=["winner", "method"])
    table = table[[name for name in table.columns if not name.startswith("scratch")]]
    return Result(
        NAME,
        {"table": table, "validation": validation(heads), "scores": scores_of(looks)},
        metrics=nested(table, by, "transfer"),
        provenance=workspace.provenance(runs),
        notes=tuple(workspace.notes),
    )


def validation(heads: pd.DataFrame) -> pd.DataFrame:
    """Return the validation MAE of every feature set over the seeds, with its interval."""
    rows = []
    by = ["dataset", "property", "unit", "scheme", "kind", "feature_set"]
    for values, group in heads.groupby(by, sort=True):
        best = group.groupby(["seed", "fold"])["val_mae"].min()
        mean = corrected_t_test(best, group["n_train"].mean(), group["n_val"].mean())
        facts = {"val_mae": mean.mean, "val_mae_low": mean.low, "val_mae_high": mean.high, "splits": mean.n}
        rows.append({**dict(zip(by, values, strict=True)), **facts})
    return pd.DataFrame(rows)


def _most_often(names: pd.Series) -> str:
    counts = names.value_counts().sort_index(kind="stable")
    return str(counts.idxmax())


def figures(result: Result) -> Iterable[Figure]:
    """Draw validation MAE against depth, one line per kind."""
    for dataset, prop, unit, scheme, own in by_target(result.tables["validation"]):
        deep = own.assign(depth=own["feature_set"].map(depth_of)).dropna(subset="depth")
        series = [
            Series(str(kind), tuple(_mark(row, unit) for row in records(rows.sort_values("depth"))))
            for kind, rows in deep.groupby("kind", sort=True)
        ]
        title = f"{dataset}, {prop}, {scheme}"
        chart = Chart(title, "depth (layer)", f"validation MAE ({in_unit(unit)})", tuple(series))
        yield Figure(f"checkpoints-{dataset}-{prop}-{scheme}", title, chart, (dataset, prop))


def _mark(row: Mapping[str, Any], unit: str) -> Mark:
    tip = f"{row['feature_set']}: {number(row['val_mae'])} {unit}"
    return Mark(float(row["depth"]), row["val_mae"], tip, row["val_mae_low"], row["val_mae_high"])


EXPERIMENT = Experiment(
    name=NAME,
    title="Checkpoints",
    question="Which of the feature sets serves a head best?",
    paper="table 1",
    settings=Settings,
    run=run,
    tables={
        "table": Shown((*TARGET, "kind", "feature_set", *SIDES, "splits")),
        "validation": Shown(
            (*TARGET, "feature_set", "val_mae", "splits"),
            "Validation MAE of every feature set; no test part in it.",
        ),
    },
    figures=figures,
    order=1,
)
