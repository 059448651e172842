"""The stage `evaluate`: the test part is read once (protocol.py), and kept as scores and metrics."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pyarrow as pa

import featurestore
from core.params import Params
from evaluation.classes import ClassScored, look_at_classes
from evaluation.current_runs import current_runs
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
    """Say which rows and methods are left out of the comparison of the current runs (see `rows.notes_of`).

    And which networks that were trained by hand take no part any more.
    """
    store = featurestore.open(store_root)
    runs = pd.concat([current_runs(store, store_root, name) for name in params.datasets])
    by_hand = [line for name in params.datasets for line in _left_by_hand(Path(store_root), name)]
    return [*notes_of(store, runs), *lacking(store, sorted(set(runs["run_id"]))), *by_hand]


def _left_by_hand(store_root: Path, dataset: str) -> list[str]:
    """Name the networks that `strata train` made, and that the stage finetune has since left out."""
    table = StoreLayout(store_root).trained("runs", dataset)
    wanted = current.read(table)
    asked = current.read_by_hand(table)
    out = {run: ask for run, ask in asked.items() if wanted is not None and run not in wanted}
    return [
        f"{dataset}/{', '.join(ask['properties'])}, {'-'.join(map(str, ask['split']))}: a network trained by "
        f"hand (run {run}) is left out, since what it learned from has changed; strata train trains another"
        for run, ask in out.items()
    ]


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
