"""Test errors of runs that `evaluate` has scored, read once more: to explain a score, never to choose.

`protocol.look` and `classes.look_at_classes` choose a run, leave a row in `looks` and score it. Whoever wants
to know afterwards where its error comes from reads it here. What is read is what was read then: the same run,
the same entries, an error whose mean is the stored score. That is checked, so that no run gets a look by this
way that it had not, and no second row is left.
"""

from typing import Any

import numpy as np
import pandas as pd

from core.errors import StrataError
from evaluation.current_runs import current_runs
from evaluation.rows import TARGET_KEY, common_rows
from featurestore.query.store import FeatureStore

_SAME = 1e-9  # relative: the order of a sum may move its last digits


def errors_on_test(store: FeatureStore, run_id: str) -> pd.Series:
    """Return the errors (n,) of a run on the test entries that it was scored on, by entry_id.

    |prediction − target| in the run's unit, whose mean is the test MAE; of a property of classes 0 where the
    most probable class is the right one and 1 where it is not, whose mean is 1 − accuracy.

    Raises `StrataError` for a run without a row in `scores`, and where predictions or targets are others than
    it was scored on.
    """
    scored = store.sql(
        "SELECT r.*, s.mae, s.accuracy, s.n FROM scores s JOIN runs r USING (run_id) "
        "WHERE s.run_id = ? AND s.part = 'test'",
        [run_id],
    ).df()
    if scored.empty:
        raise StrataError(
            f"run {run_id} was not scored on the test part, and nobody looks at its test errors: `strata "
            "evaluate` chooses what is scored"
        )
    run = scored.iloc[0]
    errors = (_of_numbers if pd.notna(run["mae"]) else _of_classes)(store, run)
    if len(errors) != run["n"]:
        errors = errors[errors.index.isin(_compared(store, run))]
    mean = run["mae"] if pd.notna(run["mae"]) else 1 - run["accuracy"]
    if len(errors) != run["n"] or not np.isclose(errors.mean(), mean, rtol=_SAME, atol=_SAME * abs(mean)):
        raise StrataError(
            f"run {run_id} ({run['dataset']}/{run['property']}): runs or targets have changed since it was "
            "scored; run: strata evaluate"
        )
    return errors


def _of_numbers(store: FeatureStore, run: Any) -> pd.Series:
    rows = store.sql(
        "SELECT p.entry_id, abs(p.prediction - t.value) AS error "
        "FROM predictions p JOIN targets t USING (dataset, property, entry_id) "
        "WHERE p.run_id = ? AND p.part = 'test' ORDER BY p.entry_id",
        [run["run_id"]],
    ).df()
    return rows.set_index("entry_id")["error"]


def _of_classes(store: FeatureStore, run: Any) -> pd.Series:
    classes = list(store.facts(run["dataset"]).properties[run["property"]].classes)
    rows = store.sql(
        "SELECT p.entry_id, t.value AS code, p.label, p.prediction "
        "FROM predictions p JOIN targets t USING (dataset, property, entry_id) "
        "WHERE p.run_id = ? AND p.part = 'test'",
        [run["run_id"]],
    ).df()
    chances = rows.pivot(index="entry_id", columns="label", values="prediction")[classes]
    codes = rows.groupby("entry_id")["code"].first().loc[chances.index]
    wrong = chances.to_numpy().argmax(axis=1) != codes.to_numpy().astype(int)
    return pd.Series(wrong.astype(float), chances.index)


def _compared(store: FeatureStore, run: Any) -> set[str]:
    """Return the test entries on which the methods of a target and split were compared."""
    runs = current_runs(store, store.path, run["dataset"])
    here = runs[(runs[TARGET_KEY] == run[TARGET_KEY]).all(axis=1)]
    if pd.notna(run["mae"]):
        return {name for rows in common_rows(store, here).values() for name in rows.entries.get("test", ())}
    ids = sorted(set(here.loc[here["val_log_loss"].notna(), "run_id"]))
    shared = store.sql(
        "SELECT entry_id FROM predictions WHERE part = 'test' AND run_id IN (SELECT unnest(?::VARCHAR[])) "
        "GROUP BY entry_id HAVING count(DISTINCT run_id) = ?",
        [ids, len(ids)],
    ).fetchall()
    return {name for (name,) in shared}
