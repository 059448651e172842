"""The one look at the test part: for every target the chosen run and Base, and no other run.

Heads compete on validation MAE only; the run with the lowest is chosen, and it alone and Base are
scored on the test part (the paper's protocol). `fit` never receives test targets: they are read
here, by `test_predictions`, and each reading leaves a row in `store/scores`.
"""

import csv
import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import featurestore
from etl.errors import StrataError, check_name
from etl.params import Evaluate, Params
from featurestore.layout import StoreLayout
from featurestore.schema import SCORES
from featurestore.store import FeatureStore
from featurestore.writer import TableWriter

BASE = "base"
CHOSEN = "chosen"
SPLIT_KEY = ["scheme", "seed", "fold"]
TARGET_KEY = ["dataset", "property", *SPLIT_KEY]


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
    """The chosen run (or Base) of one target and split with its score on the test part."""

    run_id: str
    dataset: str
    property: str
    unit: str
    split: str
    role: str
    head: str
    feature_set: str | None
    label: str | None
    val_mae: float
    score: TestScore
    predictions: pd.DataFrame  # entry_id, actual, predicted


def score(actual: np.ndarray, predicted: np.ndarray, resamples: int = 1000, seed: int = 0) -> TestScore:
    """Score `predicted` (n,) against `actual` (n,), both in the target's unit.

    The interval is the percentile bootstrap of the mean absolute error over entries, with a fixed
    seed; it says how the choice of test entries moves the MAE, not how another training would.

    >>> score(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 6.0]), resamples=0)
    TestScore(mae=1.0, mae_low=None, mae_high=None, r2=-3.5, spearman=1.0, n=3)
    """
    from scipy import stats

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
    r2 = rho = None
    spread = np.sum((actual - actual.mean()) ** 2)
    if np.ptp(actual) > 0 and spread > 0:  # squares of tiny differences may all be 0
        r2 = float(1 - np.sum(errors**2) / spread)
    if np.ptp(actual) > 0 and np.ptp(predicted) > 0:
        rho = float(stats.spearmanr(actual, predicted).statistic)
    return TestScore(float(errors.mean()), low, high, r2, rho, int(errors.size))


def choose(runs: pd.DataFrame) -> pd.DataFrame:
    """Pick the rows of `runs` that may be scored: chosen and Base of every target and split.

    `runs` has the columns of the `runs` table; the result has one more, `role`. Chosen is the run
    with the lowest validation MAE, ties by run_id. Base is what it is compared with, so it takes
    part in no choice.

    >>> runs = pd.DataFrame({"run_id": ["a", "b", "c"], "method": ["base", "features", "features"],
    ...                      "val_mae": [3.0, 2.0, 1.0]})
    >>> runs[["dataset", "property", "scheme", "seed", "fold"]] = ["d", "p", "random", 0, 0]
    >>> choose(runs)[["run_id", "role"]].values.tolist()
    [['c', 'chosen'], ['a', 'base']]
    """
    best = runs[runs["val_mae"].notna()].sort_values(["val_mae", "run_id"], kind="stable")
    is_base = best["method"] == BASE
    picked = [
        rows.drop_duplicates(TARGET_KEY).assign(role=role)
        for rows, role in ((best[~is_base], CHOSEN), (best[is_base], BASE))
    ]
    both = pd.concat(picked)
    return both.sort_values([*TARGET_KEY, "role"], ascending=[True] * len(TARGET_KEY) + [False]).reset_index(
        drop=True
    )


def split_label(scheme: str, seed: int, fold: int) -> str:
    """Name one drawn split.

    >>> split_label("random", 0, 0), split_label("kfold", 0, 3)
    ('random-0', 'kfold-0-3')
    """
    return f"{scheme}-{seed}-{fold}" if fold else f"{scheme}-{seed}"


def current_runs(store: FeatureStore, store_root: str | Path, dataset: str) -> pd.DataFrame:
    """Read the runs that the last `fit` of `dataset` asked for (all runs where it left no list).

    Raises `StrataError` where there is none, or where a run that was asked for is not there.
    """
    listing = StoreLayout(Path(store_root)).runs(check_name(dataset, "dataset")).parent / "current.json"
    runs = store.sql(
        "SELECT DISTINCT run_id, method, head, feature_set, dataset, property, unit, scheme, seed, fold, "
        "extraction_id, source_model, n_train, n_val, n_test, train_mae, val_mae, fit_seconds, label, "
        "settings, versions, model_path, created_at FROM runs WHERE dataset = ? ORDER BY run_id",
        [dataset],
    ).df()
    if listing.exists():
        wanted = set(json.loads(listing.read_text(encoding="utf-8")))
        lost = sorted(wanted - set(runs["run_id"]))
        if lost:
            raise StrataError(
                f"{listing} asks for {len(wanted)} runs of {dataset}, and {len(lost)} are not in the store "
                f"(first: {lost[0]}); finish them with: strata fit {dataset}"
            )
        runs = runs[runs["run_id"].isin(wanted)].reset_index(drop=True)
    if runs.empty:
        raise StrataError(f"no runs of {dataset} in {store_root}; make them with: strata fit {dataset}")
    return runs


def test_predictions(store: FeatureStore, run_id: str) -> pd.DataFrame:
    """Read one run's test predictions beside their targets: entry_id, actual, predicted.

    The only reading of test targets in the project.
    """
    return store.sql(
        "SELECT p.entry_id, t.value AS actual, p.prediction AS predicted "
        "FROM predictions p JOIN targets t USING (dataset, property, entry_id) "
        "WHERE p.run_id = ? AND p.part = 'test' ORDER BY p.entry_id",
        [run_id],
    ).df()


test_predictions.__test__ = False  # type: ignore[attr-defined]  # pytest: not a test


def evaluate(params: Params, store_root: str | Path = "store", out: str | Path = ".") -> list[Scored]:
    """Score the chosen run and Base of every target of `params.datasets` on the test part.

    Replaces the table `store/scores`, and writes `metrics.json`, `plots/parity.csv` and
    `plots/scores.csv` under `out`. The same runs give the same bytes.

    Raises `StrataError` where runs, predictions or targets are missing.
    """
    store = featurestore.open(store_root)
    scored = [
        _look(store, run, params.evaluate)
        for dataset in params.datasets
        for run in choose(current_runs(store, store_root, dataset)).to_dict("records")
    ]
    _write_scores(store_root, scored)
    write_summaries(scored, Path(out))
    return scored


def _look(store: FeatureStore, run: dict[str, Any], settings: Evaluate) -> Scored:
    pairs = test_predictions(store, run["run_id"])
    name = f"run {run['run_id']} ({run['head']} on {run['dataset']}/{run['property']})"
    if len(pairs) != run["n_test"]:
        raise StrataError(
            f"{name}: {run['n_test']} test entries were predicted, and {len(pairs)} of them have a target; "
            f"the targets have changed since: run strata fit {run['dataset']} again"
        )
    try:
        result = score(pairs["actual"], pairs["predicted"], settings.bootstrap, settings.seed)
    except StrataError as error:
        raise StrataError(f"{name}: {error}") from None
    return Scored(
        run_id=run["run_id"],
        dataset=run["dataset"],
        property=run["property"],
        unit=run["unit"],
        split=split_label(run["scheme"], run["seed"], run["fold"]),
        role=run["role"],
        head=run["head"],
        feature_set=_text(run["feature_set"]),
        label=_text(run["label"]),
        val_mae=run["val_mae"],
        score=result,
        predictions=pairs,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _write_scores(store_root: str | Path, scored: Iterable[Scored]) -> None:
    import pyarrow as pa

    rows = [
        {
            "run_id": s.run_id,
            "dataset": s.dataset,
            "property": s.property,
            "part": "test",
            "role": s.role,
            **asdict(s.score),
        }
        for s in scored
    ]
    table = pa.Table.from_pylist(rows, schema=SCORES)
    key = "scores-" + hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:32]
    with TableWriter(StoreLayout(Path(store_root)).scores, SCORES, "evaluate") as writer:
        writer.commit(key, table)
        writer.retain([key])


def write_summaries(scored: Iterable[Scored], out: Path) -> None:
    """Write what `dvc metrics` and `dvc plots` read: metrics.json and plots/*.csv under `out`."""
    found = {(s.dataset, s.property, s.split, s.role): s for s in scored}
    metrics: dict[str, Any] = {}
    parity, bars = [], []
    for (dataset, prop, split, role), s in found.items():
        if role != CHOSEN:
            continue
        base = found.get((dataset, prop, split, BASE))
        ratio = _ratio(s, base)
        metrics.setdefault(dataset, {}).setdefault(prop, {})[split] = {
            "mae": significant(s.score.mae),
            "mae_low": significant(s.score.mae_low),
            "mae_high": significant(s.score.mae_high),
            "base_mae": significant(base.score.mae) if base else None,
            "ratio": significant(ratio),
            "val_mae": significant(s.val_mae),
            "r2": significant(s.score.r2),
            "spearman": significant(s.score.spearman),
            "n": s.score.n,
            "unit": s.unit,
            "head": s.head,
            "label": s.label,
            "feature_set": s.feature_set,
        }
        bars.append((dataset, prop, split, f"{dataset} {prop}", significant(ratio)))
        parity += [
            (dataset, prop, split, row.entry_id, significant(row.actual, 8), significant(row.predicted, 8))
            for row in s.predictions.itertuples()
        ]
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(metrics, indent=2, sort_keys=True, ensure_ascii=False)
    (out / "metrics.json").write_text(text + "\n", encoding="utf-8")
    plots = out / "plots"
    plots.mkdir(exist_ok=True)
    head = ("dataset", "property", "split")
    _write_csv(plots / "parity.csv", (*head, "entry_id", "actual", "predicted"), parity)
    _write_csv(plots / "scores.csv", (*head, "target", "ratio"), bars)


def _ratio(chosen: Scored, base: Scored | None) -> float | None:
    if base is None or base.score.mae == 0:
        return None
    return chosen.score.mae / base.score.mae


def significant(value: float | None, digits: int = 6) -> float | None:
    """Round to `digits` significant digits, so that the last bits of a float do not change a file.

    >>> significant(123.456789), significant(1.23456789e-7), significant(None)
    (123.457, 1.23457e-07, None)
    """
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")


def _write_csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
