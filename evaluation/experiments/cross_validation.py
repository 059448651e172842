"""Supplementary table 10 of the paper: nine folds, and the corrected resampled t-test between two methods."""

from pathlib import Path

import pandas as pd

from core.params import Params
from evaluation.experiments.base import Experiment, Shown
from evaluation.experiments.frames import KEY, TARGET, nested, scores_of
from evaluation.experiments.results import Result
from evaluation.experiments.settings import Comparison
from evaluation.experiments.workspace import Workspace
from evaluation.protocol import BASE, CHOSEN, COMPOSITION, SCRATCH
from evaluation.statistics import corrected_t_test, quartiles

NAME = "cross_validation"


class Settings(Comparison):
    """Nine folds a seed."""

    splits: tuple[str, ...] = ("kfold",)
    seeds: tuple[int, ...] = (0,)


def run(asked: Settings, params: Params, store_root: Path, _out: Path) -> Result:
    """Train and fit on every fold, look, and test the differences of the folds."""
    workspace = Workspace(NAME, params, asked, store_root)
    runs = workspace.all_runs()
    looks = workspace.score(runs)
    table = tests(looks)
    headline = ("mean", "transfer", "difference", "low", "high", "p_value")
    return Result(
        NAME,
        {"table": table, "scores": scores_of(looks)},
        metrics=nested(table, ["dataset", "property", "scheme", "against"], headline),
        provenance=workspace.provenance(runs),
        notes=tuple(workspace.notes),
    )


def tests(looks: pd.DataFrame) -> pd.DataFrame:
    """Test transfer minus each other method, over the folds of each target and seed's draw.

    Several seeds make repeated cross-validation: all folds of all seeds count, under the same correction.
    """
    rows = []
    for place, group in looks.groupby(["dataset", "property", "scheme"], sort=True):
        chosen = group[group["role"] == CHOSEN]
        for role in (SCRATCH, COMPOSITION, BASE):
            other = group[group["role"] == role]
            both = other.merge(chosen, on=KEY, suffixes=("", "_t"))
            if both.empty:
                continue
            d = both["test_mae_t"] - both["test_mae"]
            done = corrected_t_test(d, both["n_train"].mean(), both["n_test"].mean())
            before, after = quartiles(both["test_mae"]), quartiles(both["test_mae_t"])
            rows.append(
                dict(zip(("dataset", "property", "scheme"), place, strict=True))
                | {
                    "unit": both["unit"].iloc[0],
                    "against": role,
                    "folds": done.n,
                    "mean": before.mean,
                    "mean_sd": before.sd,
                    "transfer": after.mean,
                    "transfer_sd": after.sd,
                    "difference": done.mean,
                    "low": done.low,
                    "high": done.high,
                    "t": done.statistic,
                    "p_value": done.p_value,
                    "better": int((d < 0).sum()),
                    "method": ", ".join(sorted(set(_names(both)))),
                    "seen": ", ".join(sorted(set(both["seen_t"].dropna()))) or None,
                    "label": ", ".join(sorted({*both["label"].dropna(), *both["label_t"].dropna()})) or None,
                }
            )
    return pd.DataFrame(rows)


def _names(both: pd.DataFrame) -> pd.Series:
    return both["method_t"].where(both["method_t"] != "features", both["head_t"])


EXPERIMENT = Experiment(
    name=NAME,
    title="Cross-validation",
    question="Does the difference outlast another choice of parts?",
    paper="supplementary table 10",
    settings=Settings,
    run=run,
    tables={
        "table": Shown(
            (
                *(*TARGET, "against", "folds", "mean", "transfer", "difference", "t", "p_value", "better"),
                *("method", "label"),
            ),
            titles={
                "p_value": "p (two-sided)",
                "better": "Folds won",
            },
            intervals={"difference": ("low", "high")},
        )
    },
    order=5,
)
