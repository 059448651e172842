"""Table 1 of the paper: one head on each of the 38 feature sets.

All sets compete on the validation part. Of each kind of features (atom, bond, angle, and their combinations)
the best one looks at the test part, once; so does Base.
"""

from pathlib import Path

import pandas as pd

from core.params import Params
from evaluation.experiments.frames import compare, scores_of
from evaluation.experiments.results import Result
from evaluation.experiments.workspace import Workspace
from evaluation.statistics import corrected_t_test
from featurestore.query.feature_sets import FEATURE_SETS

NAME = "checkpoints"
KINDS = ("atom", "bond", "angle", "atom_bond", "atom_bond_angle", "atom_bond_angle_last")


def kind_of(feature_set: str) -> str:
    """Return the kind of a feature set: its name without the depth.

    >>> kind_of("atom_bond_3"), kind_of("atom_bond_angle_last")
    ('atom_bond', 'atom_bond_angle_last')
    """
    return feature_set if feature_set.endswith("_last") else feature_set.rpartition("_")[0]


def run(params: Params, store_root: Path, _out: Path) -> Result:
    """Fit, choose by kind, look, and bring together over seeds."""
    section = params.experiments.checkpoints
    plan = section.model_copy(update={"feature_sets": tuple(FEATURE_SETS), "trained": {}})
    workspace = Workspace(NAME, params, plan, store_root)
    runs = workspace.heads()
    is_base = runs["method"] == "base"
    # Base has no features: it stands once beside each kind
    heads = runs[~is_base].assign(kind=runs.loc[~is_base, "feature_set"].map(kind_of))
    bases = pd.concat([runs[is_base].assign(kind=kind) for kind in KINDS])
    looks = workspace.score(pd.concat([heads, bases], ignore_index=True), within=["kind"])
    looks = looks.rename(columns={"among": "kind"})
    by = ["dataset", "property", "scheme", "kind"]
    table = compare(looks, by, params.evaluate.bootstrap, params.evaluate.seed)
    chosen = looks[looks["role"] == "chosen"].groupby(by)["feature_set"].agg(_most_often)
    table = table.merge(chosen.rename("feature_set"), left_on=by, right_index=True)
    table["kind"] = pd.Categorical(table["kind"], KINDS, ordered=True)
    table = table.sort_values(by).astype({"kind": str}).drop(columns=["winner", "method"])
    table = table[[name for name in table.columns if not name.startswith("scratch")]]
    return Result(
        NAME,
        {"table": table, "validation": validation(heads), "scores": scores_of(looks)},
        metrics=_metrics(table),
        settings=section.model_dump(mode="json"),
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


def _metrics(table: pd.DataFrame) -> dict:
    found: dict = {}
    for row in table.to_dict("records"):
        place = found.setdefault(row["dataset"], {}).setdefault(row["property"], {})
        place.setdefault(row["scheme"], {})[row["kind"]] = row["transfer"]
    return found
