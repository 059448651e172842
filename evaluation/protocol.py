"""The protocol: methods compete on the validation part, and what was chosen looks at the test part once.

Per target and split the chosen transfer model (the lowest validation MAE among heads and fine-tuned
networks), the scratch model, the forest by composition and Base are scored on the test part, and nothing
else (Gupta et al. 2024, Results; composition is ours). Methods that do not predict the same entries are
compared on those that all of them predict (rows.py). `fit` and `finetune` never receive test targets. They
are read here, by `look` (of classes by `classes.look_at_classes`), which makes the choice itself: there is no
call that takes any run and gives its test error. Every look leaves a row in `store/looks`
(featurestore/audit.py), written before the targets are read. Of runs that `evaluate` has scored, and of no
others, looked.py reads the errors behind the score once more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from core.errors import StrataError
from core.params import Evaluate
from evaluation import statistics
from evaluation.rows import TARGET_KEY, CommonRows, common_rows
from evaluation.seen import SeenLabels
from featurestore import audit
from featurestore.query.store import FeatureStore

BASE, CHOSEN, SCRATCH, COMPOSITION = "base", "chosen", "scratch", "composition"
ROLE_OF = {  # method → role
    "base": BASE,
    "composition": COMPOSITION,
    "features": CHOSEN,
    "committee": CHOSEN,
    "finetune": CHOSEN,
    "scratch": SCRATCH,
}
ROLES = (CHOSEN, SCRATCH, COMPOSITION, BASE)


@dataclass(frozen=True, slots=True)
class TestScore:
    """How well predictions meet targets; errors in the target's unit.

    `mae_low` and `mae_high` bound the 95 % bootstrap interval of `mae`. What is undefined is None:
    the interval of fewer than two values, R² of a constant target, Spearman's ρ of a constant side.
    """

    mae: float
    mae_low: float | None
    mae_high: float | None
    r2: float | None
    spearman: float | None
    n: int

    __test__ = False  # pytest: not a test class


@dataclass(frozen=True, slots=True)
class Scored:
    """One run of those that look at the test part of a target and split, with its score there."""

    run_id: str
    dataset: str
    property: str
    unit: str
    scheme: str
    seed: int
    fold: int
    role: str
    among: str  # what it was chosen among, where a split has several choices
    method: str
    head: str
    feature_set: str | None
    source_model: str | None
    label: str | None
    n_train: int
    n_val: int
    val_mae: float
    fit_seconds: float | None
    score: TestScore
    mad: float  # of the test targets about their mean
    split: str  # its name
    predictions: pd.DataFrame  # entry_id, actual, predicted
    left_out: int = 0  # test rows that not all methods predict
    seen: tuple[str, ...] = ()  # source models it reads that were trained on this target's values
    log_mae: float | None = None  # MAE of log10, of a property that is learned as its logarithm


def score(actual: np.ndarray, predicted: np.ndarray, resamples: int = 1000, seed: int = 0) -> TestScore:
    """Score `predicted` (n,) against `actual` (n,), both in the target's unit.

    The interval is the percentile bootstrap of the mean absolute error over entries, with a fixed
    seed; it says how the choice of test entries moves the MAE, not how another training would.

    >>> score(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 6.0]), resamples=0)
    TestScore(mae=1.0, mae_low=None, mae_high=None, r2=-3.5, spearman=1.0, n=3)
    """
    actual = np.asarray(actual, dtype=np.float64)
    predicted = np.asarray(predicted, dtype=np.float64)
    if actual.shape != predicted.shape or actual.ndim != 1 or actual.size == 0:
        raise StrataError(f"cannot score {predicted.shape} predictions against {actual.shape} targets")
    for name, values in (("target", actual), ("prediction", predicted)):
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise StrataError(f"{name} {bad[0]} of {values.size} is {values[bad[0]]}: not a finite number")
    errors = np.abs(actual - predicted)
    low = high = None
    if resamples and errors.size > 1:
        interval = stats.bootstrap(
            (errors,),
            np.mean,
            n_resamples=resamples,
            batch=100,  # bounds the memory: 100 resamples at a time
            method="percentile",
            random_state=np.random.default_rng(seed),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return TestScore(
        statistics.mae(actual, predicted),
        low,
        high,
        statistics.r2(actual, predicted),
        statistics.spearman(actual, predicted),
        int(errors.size),
    )


def choose(runs: pd.DataFrame, within: Sequence[str] = (), by: str = "val_mae") -> pd.DataFrame:
    """Pick the rows of `runs` that may be scored: one of each role for every target and split.

    `runs` has the columns of the `runs` table; the result has one more, `role`. Each is the run with the
    lowest validation MAE of its role, ties by run_id; of runs that were cross-validated the committee alone
    takes part, or the one with the lowest error by folds. Scratch, composition and Base are what the chosen
    one is compared with, so they take part in no choice. `within` names further columns whose values each
    have a choice of their own. by: the column that is compared, of classes `val_log_loss`.

    Raises `StrataError` for a table that holds test scores: they must not lie where a choice is made.

    >>> runs = pd.DataFrame({"run_id": ["a", "b", "c"], "method": ["base", "features", "finetune"],
    ...                      "val_mae": [3.0, 2.0, 1.0]})
    >>> runs[["dataset", "property", "scheme", "seed", "fold"]] = ["d", "p", "random", 0, 0]
    >>> choose(runs)[["run_id", "role"]].values.tolist()
    [['c', 'chosen'], ['a', 'base']]
    """
    seen = [name for name in runs.columns if name.startswith("test_") or "_test_" in name]
    if seen:
        raise StrataError(f"a choice is made by validation MAE; leave out test scores: {', '.join(seen)}")
    key = [*TARGET_KEY, *within]
    able = runs[runs[by].notna()]
    able = _finalists(able.assign(role=able["method"].map(ROLE_OF)), [*key, "role"])
    picked = able.sort_values([by, "run_id"], kind="stable").drop_duplicates([*key, "role"])
    order = picked["role"].map(ROLES.index)
    return (
        picked.assign(_order=order)
        .sort_values([*key, "_order"])
        .drop(columns="_order")
        .reset_index(drop=True)
    )


def _finalists(runs: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """Leave of the runs that were cross-validated one alone, to meet those that were not.

    Folds of train and validation tell them apart better than the validation part does. That one is the
    committee, where there is one: its error is by weights that did not see the row, while the least error of
    its many members is that of the luckiest.
    """
    if "cv_mae" not in runs:
        return runs
    runs = runs.reset_index(drop=True)  # those of several datasets may have the same labels
    folded = runs[runs["cv_mae"].notna()]
    folded = folded.assign(_alone=folded["method"] != "committee")
    best = folded.sort_values(["_alone", "cv_mae", "run_id"], kind="stable").drop_duplicates(list(key))
    return runs.drop(index=folded.index.difference(best.index))


def split_label(scheme: str, seed: int, fold: int) -> str:
    """Name one drawn split.

    >>> split_label("random", 0, 0), split_label("kfold", 0, 3)
    ('random-0', 'kfold-0-3')
    """
    return f"{scheme}-{seed}-{fold}" if fold else f"{scheme}-{seed}"


def look(
    store: FeatureStore,
    runs: pd.DataFrame,
    settings: Evaluate,
    stage: str,
    within: Sequence[str] = (),
) -> list[Scored]:
    """Choose among `runs` (see `choose`), and score what was chosen on the test part.

    Both on the entries that all runs of a target and split predict; a run that lacks more than half of them
    takes no part. stage: who looks, for the audit. A run that looked already is scored again to the same
    numbers, and leaves no second row.

    Raises `StrataError` where predictions or targets are missing or are no numbers.
    """
    shared = common_rows(store, runs)
    picked = choose(_on_common_rows(store, runs, shared), within).to_dict("records")
    seen = SeenLabels()
    for run in picked:
        run["among"] = ", ".join(str(run[name]) for name in within)
        run["stage"] = stage
        run["seen"] = seen.by(_text(run["source_model"]), run["dataset"], run["property"])
        run["common"] = shared.get(tuple(run[name] for name in TARGET_KEY))
    audit.record(store, [{**run, "n": _n_scored(run)} for run in picked])
    return [_score(store, run, settings) for run in picked]


def _on_common_rows(
    store: FeatureStore, runs: pd.DataFrame, shared: Mapping[tuple[Any, ...], CommonRows]
) -> pd.DataFrame:
    """Leave out runs that lack too much, and take validation MAEs over the entries that all predict."""
    runs = runs[~runs["run_id"].isin([run_id for rows in shared.values() for run_id in rows.without])].copy()
    places = pd.MultiIndex.from_frame(runs[TARGET_KEY])
    for place, rows in shared.items():
        if not rows.entries:
            continue
        here = (places == place) & runs["val_mae"].notna()
        pairs = store.sql(
            "SELECT p.run_id, abs(p.prediction - t.value) AS error "
            "FROM predictions p JOIN targets t USING (dataset, property, entry_id) "
            "WHERE p.part = 'val' AND p.run_id IN (SELECT unnest(?::VARCHAR[])) "
            "AND p.entry_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY p.run_id, p.entry_id",
            [sorted(set(runs.loc[here, "run_id"])), sorted(rows.entries["val"])],
        ).df()
        maes = pairs.groupby("run_id")["error"].mean()
        runs.loc[here, "val_mae"] = runs.loc[here, "run_id"].map(maes)
    return runs


def _n_scored(run: Mapping[str, Any]) -> int:
    rows = run["common"]
    return len(rows.entries["test"]) if rows is not None and rows.entries else int(run["n_test"])


def _score(store: FeatureStore, run: dict[str, Any], settings: Evaluate) -> Scored:
    """Read one chosen run's test predictions beside their targets: the only such reading there is."""
    rows = run["common"]
    some = "" if rows is None or not rows.entries else "AND p.entry_id IN (SELECT unnest(?::VARCHAR[])) "
    pairs = store.sql(
        "SELECT p.entry_id, t.value AS actual, p.prediction AS predicted "  # noqa: S608 - a fixed piece
        "FROM predictions p JOIN targets t USING (dataset, property, entry_id) "
        f"WHERE p.run_id = ? AND p.part = 'test' {some}ORDER BY p.entry_id",
        [run["run_id"], *([sorted(rows.entries["test"])] if some else [])],
    ).df()
    head = _text(run["head"]) or run["method"]
    name = f"run {run['run_id']} ({head} on {run['dataset']}/{run['property']})"
    if len(pairs) != _n_scored(run):
        raise StrataError(
            f"{name}: {_n_scored(run)} test entries were predicted, and {len(pairs)} of them have a target; "
            f"the targets have changed since: run strata fit {run['dataset']} again"
        )
    try:
        result = score(pairs["actual"], pairs["predicted"], settings.bootstrap, settings.seed)
    except StrataError as error:
        raise StrataError(f"{name}: {error}") from None
    seconds = run.get("fit_seconds")
    return Scored(
        run_id=run["run_id"],
        dataset=run["dataset"],
        property=run["property"],
        unit=run["unit"],
        scheme=run["scheme"],
        seed=int(run["seed"]),
        fold=int(run["fold"]),
        role=run["role"],
        among=run["among"],
        n_train=int(run["n_train"]),
        n_val=int(run["n_val"]),
        split=split_label(run["scheme"], int(run["seed"]), int(run["fold"])),
        method=run["method"],
        head=head,
        feature_set=_text(run["feature_set"]),
        source_model=_text(run["source_model"]),
        label=_text(run["label"]),
        val_mae=run["val_mae"],
        fit_seconds=None if seconds is None or pd.isna(seconds) else float(seconds),
        score=result,
        mad=statistics.mad(pairs["actual"]),
        predictions=pairs,
        left_out=rows.left_out("test") if rows is not None else 0,
        seen=run["seen"],
        log_mae=_log_mae(store, run, pairs),
    )


def _log_mae(store: FeatureStore, run: Mapping[str, Any], pairs: pd.DataFrame) -> float | None:
    """Return the MAE of decimal logarithms; None where a property is not learned so.

    None, too, where a prediction is not positive: a network of the target's own learns in the unit.
    """
    facts = store.facts(run["dataset"]).properties.get(run["property"])
    if facts is None or facts.transform is None or not (pairs[["actual", "predicted"]] > 0).all(axis=None):
        return None
    return statistics.mae(np.log10(pairs["actual"]), np.log10(pairs["predicted"]))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
