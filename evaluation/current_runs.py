"""The runs that the last `fit` and `finetune` asked for, among all that a store keeps."""

from pathlib import Path

import pandas as pd

from core.errors import StrataError, check_name
from featurestore import current
from featurestore.query.store import FeatureStore
from featurestore.tables.layout import StoreLayout


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
