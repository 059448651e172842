"""The stage `evaluate`: the test part is read once (protocol.py), and kept as scores and metrics."""

import csv
import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

import featurestore
from core.errors import StrataError, check_name
from core.params import Params
from evaluation.protocol import BASE, CHOSEN, COMPOSITION, SCRATCH, Scored, look
from evaluation.rows import notes_of
from evaluation.statistics import percent_change
from featurestore import current
from featurestore.query.store import FeatureStore
from featurestore.tables.layout import StoreLayout
from featurestore.tables.maintenance import require_sound
from featurestore.tables.schema import SCORES
from featurestore.tables.shards import Chunk
from featurestore.tables.writer import TableWriter


def runs_of(store: FeatureStore, dataset: str) -> pd.DataFrame:
    """Read every run of a dataset, without its test scores: the table that a choice is made among."""
    return store.sql(
        "SELECT DISTINCT run_id, method, head, feature_set, dataset, property, unit, scheme, seed, fold, "
        "extraction_id, source_model, n_train, n_val, n_test, train_mae, val_mae, fit_seconds, label, "
        "settings, versions, model_path, created_at, cv_mae FROM runs WHERE dataset = ? ORDER BY run_id",
        [dataset],
    ).df()


def current_runs(store: FeatureStore, store_root: str | Path, dataset: str) -> pd.DataFrame:
    """Read the runs that the last `fit` and `finetune` of `dataset` asked for (all where they left no list).

    Raises `StrataError` where there is none, or where a run that was asked for is not there.
    """
    layout = StoreLayout(Path(store_root))
    check_name(dataset, "dataset")
    runs = runs_of(store, dataset)
    tables = {
        "fit": layout.runs(dataset),
        "finetune": layout.trained("runs", dataset),
    }
    trained = runs["method"].isin(["scratch", "finetune"])
    parts = []
    for stage, of_stage in (("fit", runs[~trained]), ("finetune", runs[trained])):
        parts.append(_asked_for(of_stage, tables[stage], stage, dataset))
    runs = pd.concat(parts).sort_values("run_id", ignore_index=True)
    if runs.empty:
        raise StrataError(f"no runs of {dataset} in {store_root}; make them with: strata fit {dataset}")
    return runs


def _asked_for(runs: pd.DataFrame, table: Path, stage: str, dataset: str) -> pd.DataFrame:
    wanted = current.read(table)
    if wanted is None:
        return runs
    lost = sorted(wanted - set(runs["run_id"]))
    if lost:
        raise StrataError(
            f"{table.parent / current.FILE} asks for {len(wanted)} runs of {dataset}, and {len(lost)} "
            f"are not in the store (first: {lost[0]}); finish them with: strata {stage} {dataset}"
        )
    return runs[runs["run_id"].isin(wanted)]


def evaluate(params: Params, store_root: str | Path = "store", out: str | Path = ".") -> list[Scored]:
    """Score the chosen run of every target of `params.datasets`, and those beside it, on the test part.

    Replaces the table `store/scores`, and writes `metrics.json`, `plots/parity.csv` and
    `plots/scores.csv` under `out`. The same runs give the same bytes.

    Raises `StrataError` where runs, predictions or targets are missing.
    """
    for dataset in params.datasets:
        require_sound(store_root, ("targets", "runs", "predictions"), dataset)  # DVC does not look
    store = featurestore.open(store_root)
    runs = pd.concat([current_runs(store, store_root, dataset) for dataset in params.datasets])
    scored = look(store, runs, params.evaluate, "evaluate")
    _write_scores(store_root, scored)
    write_summaries(scored, Path(out))
    return scored


def notes(params: Params, store_root: str | Path = "store") -> list[str]:
    """Say which rows and methods are left out of the comparison of the current runs (see `rows.notes_of`)."""
    store = featurestore.open(store_root)
    return notes_of(store, pd.concat([current_runs(store, store_root, name) for name in params.datasets]))


def _write_scores(store_root: str | Path, scored: Iterable[Scored]) -> None:
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
        writer.replace({key: Chunk(table)})


def write_summaries(scored: Iterable[Scored], out: Path) -> None:
    """Write what `dvc metrics` and `dvc plots` read: metrics.json and plots/*.csv under `out`."""
    found = {(s.dataset, s.property, s.split, s.role): s for s in scored}
    metrics: dict[str, Any] = {}
    parity, bars = [], []
    for (dataset, prop, split, role), s in found.items():
        if role != CHOSEN:
            continue
        base = found.get((dataset, prop, split, BASE))
        composition = found.get((dataset, prop, split, COMPOSITION))
        ratio = _ratio(s, base)
        against: dict[str, float | None] = {}
        for beside, change in ((SCRATCH, "change"), (COMPOSITION, "composition_change")):
            if other := found.get((dataset, prop, split, beside)):
                against |= {
                    f"{beside}_mae": significant(other.score.mae),
                    change: significant(percent_change(other.score.mae, s.score.mae)),
                }
        metrics.setdefault(dataset, {}).setdefault(prop, {})[split] = {
            "mae": significant(s.score.mae),
            "mae_low": significant(s.score.mae_low),
            "mae_high": significant(s.score.mae_high),
            "base_mae": significant(base.score.mae) if base else None,
            "ratio": significant(ratio),
            **against,
            "val_mae": significant(s.val_mae),
            "mad": significant(s.mad),
            "r2": significant(s.score.r2),
            "spearman": significant(s.score.spearman),
            "n": s.score.n,
            "rows_left_out": s.left_out,
            "seen": bool(s.seen),
            "unit": s.unit,
            "method": s.method,
            "head": s.head,
            "label": s.label,
            "feature_set": s.feature_set,
        }
        over_base = significant(_ratio(composition, base)) if composition else None
        bars.append((dataset, prop, split, f"{dataset} {prop}", significant(ratio), over_base))
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
    _write_csv(plots / "scores.csv", (*head, "target", "ratio", "composition"), bars)


def _ratio(one: Scored, base: Scored | None) -> float | None:
    if base is None or base.score.mae == 0:
        return None
    return one.score.mae / base.score.mae


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
