"""The stage `evaluate`: the test part is read once (protocol.py), and kept as scores and metrics."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pyarrow as pa

import featurestore
from core.errors import StrataError, check_name
from core.params import Params
from evaluation.classes import ClassScored, look_at_classes
from evaluation.intervals import lacking, placed_runs, write_intervals
from evaluation.learning import FILE as LEARNING
from evaluation.learning import Rung, rungs_of
from evaluation.metrics import write_summaries
from evaluation.neighbours import FILE as NEIGHBOURS
from evaluation.neighbours import Neighbour, neighbours_of
from evaluation.protocol import Scored, look
from evaluation.rows import notes_of
from evaluation.rows_file import write_rows
from featurestore import current
from featurestore.query.store import FeatureStore
from featurestore.tables.layout import StoreLayout
from featurestore.tables.maintenance import require_sound
from featurestore.tables.schema import SCORES, widest
from featurestore.tables.shards import Chunk
from featurestore.tables.writer import TableWriter


def runs_of(store: FeatureStore, dataset: str) -> pd.DataFrame:
    """Read every run of a dataset, without its test scores: the table that a choice is made among."""
    return store.sql(
        "SELECT DISTINCT run_id, method, head, feature_set, dataset, property, unit, scheme, seed, fold, "
        "extraction_id, source_model, n_train, n_val, n_test, train_mae, val_mae, fit_seconds, label, "
        "settings, versions, model_path, created_at, cv_mae, train_log_loss, val_log_loss "
        "FROM runs WHERE dataset = ? ORDER BY run_id",
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


def evaluate(
    params: Params, store_root: str | Path = "store", out: str | Path = "."
) -> list[Scored | ClassScored]:
    """Score the chosen run of every target of `params.datasets`, and those beside it, on the test part.

    Replaces the tables `store/scores` and `store/intervals`, and writes `metrics.json` and the files of
    `plots` (parity.csv, scores.csv, neighbours.csv, learning.csv) under `out`. The same runs give the same
    bytes.

    Raises `StrataError` where runs, predictions or targets are missing.
    """
    for dataset in params.datasets:
        require_sound(store_root, ("targets", "runs", "predictions"), dataset)  # DVC does not look
    store = featurestore.open(store_root)
    runs = pd.concat([current_runs(store, store_root, dataset) for dataset in params.datasets])
    scored: list[Scored | ClassScored] = [*look(store, runs, params.evaluate, "evaluate")]
    scored += look_at_classes(store, runs, params.evaluate, "evaluate")
    _write_scores(store_root, scored)
    write_summaries(scored, Path(out))
    _write_placed(store, [one for one in scored if isinstance(one, Scored)], params, Path(out) / "plots")
    return scored


def _write_placed(store: FeatureStore, scored: Sequence[Scored], params: Params, plots: Path) -> None:
    """Write what is known of where the test part lies among the rows that were learned from."""
    tables: list[pa.Table] = []
    near: list[Neighbour] = []
    rungs: list[Rung] = []
    for one, placed in placed_runs(store, scored, params.evaluate.level):
        tables.append(placed.rows)
        near += neighbours_of(one, placed)
        rungs += rungs_of(one, placed)
    write_intervals(store, scored, params.evaluate.level, tables)
    write_rows(plots / NEIGHBOURS, Neighbour, near)
    write_rows(plots / LEARNING, Rung, rungs)


def notes(params: Params, store_root: str | Path = "store") -> list[str]:
    """Say which rows and methods are left out of the comparison of the current runs (see `rows.notes_of`)."""
    store = featurestore.open(store_root)
    runs = pd.concat([current_runs(store, store_root, name) for name in params.datasets])
    return [*notes_of(store, runs), *lacking(store, sorted(set(runs["run_id"])))]


def _write_scores(store_root: str | Path, scored: Sequence[Scored | ClassScored]) -> None:
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
    layout = StoreLayout(Path(store_root))
    schema = widest("scores") if any(isinstance(s, ClassScored) for s in scored) else SCORES
    table = pa.Table.from_pylist(rows, schema=schema)
    key = "scores-" + hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:32]
    with TableWriter(layout.scores, schema, "evaluate") as writer:
        writer.replace({key: Chunk(table)})
